/* Words as bits on AVX2: counts from a table of the counts of half bytes, and four transposes side by side. */
#include "avx2.h"

#include "../packing.h"

#ifdef BL_X86_64

/* The counts of the bytes. */
BL_TARGET_AVX2 BL_INLINE __m256i count_bytes(__m256i x)
{
    const __m256i table = _mm256_setr_epi8(BL_NIBBLE_COUNTS, BL_NIBBLE_COUNTS);
    const __m256i half = _mm256_set1_epi8(15);
    __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, half));
    return _mm256_add_epi8(low, _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), half)));
}

#define LOAD(x) _mm256_loadu_si256((const __m256i *)(const void *)(x))

BL_TARGET_AVX2 static int64_t count_row(const uint64_t *x, intptr_t words)
{
    __m256i total = _mm256_setzero_si256();
    intptr_t p = 0;
    while (p + 16 <= words) {
        __m256i bytes[4];
        for (int v = 0; v < 4; v++)
            bytes[v] = _mm256_setzero_si256();
        /* 31 * 8 = 248 fits a byte. */
        for (intptr_t stop = p + 31 * 16; p + 16 <= words && p < stop; p += 16)
            for (int v = 0; v < 4; v++)
                bytes[v] = _mm256_add_epi8(bytes[v], count_bytes(LOAD(x + p + 4 * v)));
        for (int v = 0; v < 4; v++)
            total = _mm256_add_epi64(total, _mm256_sad_epu8(bytes[v], _mm256_setzero_si256()));
    }
    for (; p + 4 <= words; p += 4)
        total = _mm256_add_epi64(total, _mm256_sad_epu8(count_bytes(LOAD(x + p)), _mm256_setzero_si256()));
    int64_t parts[4], sum = 0;
    _mm256_storeu_si256((__m256i *)(void *)parts, total);
    for (; p < words; p++)
        sum += popcount64(x[p]);
    return sum + parts[0] + parts[1] + parts[2] + parts[3];
}

BL_TARGET_AVX2 static void add_counts(const uint64_t *x, intptr_t stride, intptr_t lines, intptr_t columns,
                                      int64_t *out)
{
    intptr_t c = 0;
    for (; c + 4 <= columns; c += 4) {
        __m256i total = LOAD(out + c);
        for (intptr_t l = 0; l < lines; l++)
            total = _mm256_add_epi64(total,
                                     _mm256_sad_epu8(count_bytes(LOAD(x + l * stride + c)), _mm256_setzero_si256()));
        _mm256_storeu_si256((__m256i *)(void *)(out + c), total);
    }
    for (; c < columns; c++)
        for (intptr_t l = 0; l < lines; l++)
            out[c] += popcount64(x[l * stride + c]);
}

void bl_popcount_avx2(const uint64_t *x, intptr_t outer, intptr_t rows, intptr_t words, intptr_t outer_stride,
                      intptr_t row_stride, intptr_t word_stride, int64_t *out)
{
    bl_popcount_blocked(count_row, add_counts, x, outer, rows, words, outer_stride, row_stride, word_stride, out);
}

/* Swap the off-diagonal squares of side `half` in the pairs (v[i], v[i + step]) of eight registers, four 64 by 64 bit
   matrices side by side (Hacker's Delight, 7-3). */
#define SWAP(v, step, half, low)                                                                                       \
    for (int i = 0; i < 8; i++)                                                                                        \
        if (!(i & step)) {                                                                                             \
            const __m256i keep = _mm256_set1_epi64x((long long)low);                                                   \
            __m256i swap = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi64(v[i], half), v[i + step]), keep);       \
            v[i] = _mm256_xor_si256(v[i], _mm256_slli_epi64(swap, half));                                              \
            v[i + step] = _mm256_xor_si256(v[i + step], swap);                                                         \
        }

/* One row more than a block has: the rows of a tile would else share cache sets. */
typedef uint64_t tile[64 + 1][4];

/* Transpose four blocks side by side: `height` rows of `words` words, zeros past them. */
BL_TARGET_AVX2 static void transpose_blocks(const uint64_t *x, intptr_t x_stride, intptr_t height, intptr_t words,
                                            tile to)
{
    for (int r = 0; r < 64 && words < 4; r++)
        for (int c = 0; c < 4; c++)
            to[r][c] = r < height && c < words ? x[r * x_stride + c] : 0;
    for (int r = 0; r < 8; r++) {
        __m256i v[8];
        for (int i = 0; i < 8; i++)
            v[i] = words < 4              ? LOAD(to[r + 8 * i])
                   : r + 8 * i < height ? LOAD(x + (r + 8 * i) * x_stride)
                                        : _mm256_setzero_si256();
        SWAP(v, 4, 32, UINT64_C(0x00000000ffffffff))
        SWAP(v, 2, 16, UINT64_C(0x0000ffff0000ffff))
        SWAP(v, 1, 8, UINT64_C(0x00ff00ff00ff00ff))
        for (int i = 0; i < 8; i++)
            _mm256_storeu_si256((__m256i *)(void *)to[r + 8 * i], v[i]);
    }
    for (int r = 0; r < 64; r += 8) {
        __m256i v[8];
        for (int i = 0; i < 8; i++)
            v[i] = LOAD(to[r + i]);
        SWAP(v, 4, 4, UINT64_C(0x0f0f0f0f0f0f0f0f))
        SWAP(v, 2, 2, UINT64_C(0x3333333333333333))
        SWAP(v, 1, 1, UINT64_C(0x5555555555555555))
        for (int i = 0; i < 8; i++)
            _mm256_storeu_si256((__m256i *)(void *)to[r + i], v[i]);
    }
}

/* Transpose `blocks` by `words` blocks, at most four by four, of which m rows and n columns are in use. */
BL_TARGET_AVX2 static void transpose_tile(const uint64_t *x, intptr_t x_stride, intptr_t m, intptr_t n, uint64_t *out,
                                          intptr_t out_stride)
{
    tile tiles[4];
    intptr_t blocks = bl_words(m);
    for (intptr_t b = 0; b < blocks; b++)
        transpose_blocks(x + 64 * b * x_stride, x_stride, bl_min(64, m - 64 * b), bl_words(n), tiles[b]);
    for (intptr_t c = 0; c < bl_min(64, n); c++) {
        if (blocks < 4) {
            for (intptr_t q = 0; 64 * q + c < n; q++)
                for (intptr_t b = 0; b < blocks; b++)
                    out[(64 * q + c) * out_stride + b] = tiles[b][c][q];
            continue;
        }
        __m256i low01 = _mm256_unpacklo_epi64(LOAD(tiles[0][c]), LOAD(tiles[1][c])); /* words 0 and 2 of both */
        __m256i high01 = _mm256_unpackhi_epi64(LOAD(tiles[0][c]), LOAD(tiles[1][c]));
        __m256i low23 = _mm256_unpacklo_epi64(LOAD(tiles[2][c]), LOAD(tiles[3][c]));
        __m256i high23 = _mm256_unpackhi_epi64(LOAD(tiles[2][c]), LOAD(tiles[3][c]));
        const __m256i v[4] = {_mm256_permute2x128_si256(low01, low23, 0x20),
                              _mm256_permute2x128_si256(high01, high23, 0x20),
                              _mm256_permute2x128_si256(low01, low23, 0x31),
                              _mm256_permute2x128_si256(high01, high23, 0x31)};
        for (int q = 0; q < 4 && 64 * q + c < n; q++)
            _mm256_storeu_si256((__m256i *)(void *)(out + (64 * q + c) * out_stride), v[q]);
    }
}

/* By tiles of 256 by 256 bits, four of them before the next ones: whole cache lines are read and written. */
void bl_transpose_avx2(const uint64_t *x, intptr_t x_stride, intptr_t m, intptr_t n, uint64_t *out,
                       intptr_t out_stride)
{
    for (intptr_t i0 = 0; i0 < m; i0 += 512)
        for (intptr_t j0 = 0; j0 < n; j0 += 512)
            for (intptr_t i = i0; i < bl_min(i0 + 512, m); i += 256)
                for (intptr_t j = j0; j < bl_min(j0 + 512, n); j += 256)
                    transpose_tile(x + i * x_stride + j / 64, x_stride, bl_min(256, m - i), bl_min(256, n - j),
                                   out + j * out_stride + i / 64, out_stride);
}

void bl_transpose_bits_avx2(const uint64_t *x, intptr_t m, int64_t n, uint64_t *out)
{
    bl_transpose_avx2(x, bl_words(n), m, (intptr_t)n, out, bl_words(m));
}

#endif
