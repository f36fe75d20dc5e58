/* Products of bits with bits: counts of nibbles looked up by pshufb and summed by psadbw, dots of 2 rows with 4
   columns. */
#include "avx2.h"

#ifdef BL_X86_64

/* The sums of four vectors of 64-bit counts, as four 32-bit ones. */
BL_TARGET_AVX2 static inline __m128i reduce4(const __m256i v[4])
{
    __m256i v01 = _mm256_add_epi64(_mm256_unpacklo_epi64(v[0], v[1]), _mm256_unpackhi_epi64(v[0], v[1]));
    __m256i v23 = _mm256_add_epi64(_mm256_unpacklo_epi64(v[2], v[3]), _mm256_unpackhi_epi64(v[2], v[3]));
    __m128i s01 = _mm_add_epi64(_mm256_castsi256_si128(v01), _mm256_extracti128_si256(v01, 1));
    __m128i s23 = _mm_add_epi64(_mm256_castsi256_si128(v23), _mm256_extracti128_si256(v23, 1));
    return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(s01), _mm_castsi128_ps(s23), _MM_SHUFFLE(2, 0, 2, 0)));
}

/* The number of set bits in each 64-bit lane. */
BL_TARGET_AVX2 BL_INLINE __m256i popcount(__m256i x)
{
    const __m256i nibble = _mm256_set1_epi8(0x0f);
    const __m256i table = _mm256_setr_epi8(BL_NIBBLE_COUNTS, BL_NIBBLE_COUNTS);
    __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, nibble));
    __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi64(x, 4), nibble));
    return _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
}

/* Words [p, p + 4), or the ones whose lane of `in` is negative: a masked load reads nothing else. */
BL_TARGET_AVX2 BL_INLINE __m256i load(const uint64_t *x, intptr_t p, const __m256i *in)
{
    return in ? _mm256_maskload_epi64((const long long *)(x + p), *in)
              : _mm256_loadu_si256((const __m256i *)(x + p));
}

/* acc[r][c] += popcount((a[r] ^ b[c]) & valid[r]) of four words, or of those in `in`. */
BL_TARGET_AVX2 BL_INLINE void step(const uint64_t *const *a, const uint64_t *const *valid,
                                   const uint64_t *const b[4], intptr_t p, const __m256i *in, __m256i acc[2][4])
{
    __m256i row[2], counted[2];
    for (int r = 0; r < 2; r++) {
        row[r] = load(a[r], p, in);
        counted[r] = valid ? load(valid[r], p, in) : _mm256_setzero_si256();
    }
    for (int c = 0; c < 4; c++) {
        __m256i column = load(b[c], p, in);
        for (int r = 0; r < 2; r++) {
            __m256i differ = _mm256_xor_si256(row[r], column);
            if (valid)
                differ = _mm256_and_si256(differ, counted[r]);
            acc[r][c] = _mm256_add_epi64(acc[r][c], popcount(differ));
        }
    }
}

BL_TARGET_AVX2 BL_INLINE void dot_tile(const uint64_t *const *a, const uint64_t *const *valid,
                                       const uint64_t *const b[4], intptr_t words, int32_t (*counts)[BL_COLUMNS],
                                       intptr_t c)
{
    __m256i acc[2][4];
    intptr_t p = 0;
    for (int r = 0; r < 2; r++)
        for (int q = 0; q < 4; q++)
            acc[r][q] = _mm256_setzero_si256();
    for (; p + 4 <= words; p += 4)
        step(a, valid, b, p, NULL, acc);
    if (p < words) {
        __m256i in = _mm256_cmpgt_epi64(_mm256_set1_epi64x(words - p), _mm256_setr_epi64x(0, 1, 2, 3));
        step(a, valid, b, p, &in, acc);
    }
    for (int r = 0; r < 2; r++) {
        __m128i *to = (__m128i *)(counts[r] + c);
        _mm_storeu_si128(to, _mm_add_epi32(_mm_loadu_si128(to), reduce4(acc[r])));
    }
}

BL_TARGET_AVX2 static void xnor_block(const uint64_t *const a[BL_ROWS], const uint64_t *const valid[BL_ROWS],
                                      const uint64_t *b, intptr_t b_stride, intptr_t columns, intptr_t words,
                                      int32_t counts[BL_ROWS][BL_COLUMNS])
{
    for (intptr_t c = 0; c < columns; c += 4) {
        const uint64_t *four[4];
        for (int q = 0; q < 4; q++)
            four[q] = b + bl_min(c + q, columns - 1) * b_stride;
        for (int r = 0; r < BL_ROWS; r += 2)
            if (valid)
                dot_tile(a + r, valid + r, four, words, counts + r, c);
            else
                dot_tile(a + r, NULL, four, words, counts + r, c);
    }
}

/* Products with column panels on AVX2: 4 rows and 8 columns of byte counts in registers, from a table of the counts of
   half bytes; psadbw sums the bytes of a word, so a count is never reduced across columns. */

BL_TARGET_AVX2 static void panel_tile(const uint64_t *const a[BL_ROWS], const uint64_t *panel, intptr_t stride,
                                      intptr_t words, int32_t *counts)
{
    const __m256i table = _mm256_setr_epi8(BL_NIBBLE_COUNTS, BL_NIBBLE_COUNTS);
    const __m256i half = _mm256_set1_epi8(15);
    __m256i total[BL_ROWS][2];
    for (int r = 0; r < BL_ROWS; r++)
        total[r][0] = total[r][1] = _mm256_setzero_si256();
    for (intptr_t from = 0; from < words; from += 31) {
        intptr_t to = bl_min(from + 31, words); /* 31 * 8 = 248 fits a byte */
        __m256i bytes[BL_ROWS][2];
        for (int r = 0; r < BL_ROWS; r++)
            bytes[r][0] = bytes[r][1] = _mm256_setzero_si256();
        for (intptr_t p = from; p < to; p++)
            for (int q = 0; q < 2; q++) {
                __m256i column = _mm256_loadu_si256((const __m256i *)(panel + p * stride + 4 * q));
                for (int r = 0; r < BL_ROWS; r++) {
                    __m256i x = _mm256_xor_si256(_mm256_set1_epi64x((long long)a[r][p]), column);
                    __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, half));
                    __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), half));
                    bytes[r][q] = _mm256_add_epi8(bytes[r][q], _mm256_add_epi8(low, high));
                }
            }
        for (int r = 0; r < BL_ROWS; r++)
            for (int q = 0; q < 2; q++)
                total[r][q] = _mm256_add_epi64(total[r][q], _mm256_sad_epu8(bytes[r][q], _mm256_setzero_si256()));
    }
    for (int r = 0; r < BL_ROWS; r++) {
        /* The low halves of the sums, 0 1 4 5 2 3 6 7. */
        __m256 low = _mm256_shuffle_ps(_mm256_castsi256_ps(total[r][0]), _mm256_castsi256_ps(total[r][1]),
                                       _MM_SHUFFLE(2, 0, 2, 0));
        __m256i sums = _mm256_permute4x64_epi64(_mm256_castps_si256(low), _MM_SHUFFLE(3, 1, 2, 0));
        _mm256_storeu_si256((__m256i *)(counts + r * BL_PANEL), sums);
    }
}

static void panel_block(const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words, intptr_t column,
                        intptr_t width, const int32_t *bases, intptr_t bases_stride, const bl_xnor_result *result)
{
    bl_panel_block_of_tiles(panel_tile, a, panel, m, words, column, width, bases, bases_stride, result);
}

static const bl_product_blocks blocks = {.words = xnor_block, .panel = panel_block,
                                         .rows = bl_differing_rows_avx2};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_avx2 parameters { bl_##name##_blocked(&blocks, BL_UNWRAP arguments); }
BL_XNOR_KERNELS(KERNEL)

#endif
