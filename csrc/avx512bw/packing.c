/* To bits with compare-to-mask, 64 bytes an instruction, and back with blends by mask. */
#include "avx512bw.h"

#include "../packing.h"

#ifdef BL_X86_64

/* Lanes whose float16 in x is at least the one in t. */
BL_TARGET_AVX512BW BL_INLINE __mmask32 half_cmpge(__m512i x, __m512i t)
{
    const __m512i magnitude = _mm512_set1_epi16(BL_HALF_MAGNITUDE), infinity = _mm512_set1_epi16(BL_HALF_INFINITY);
    __m512i size = _mm512_and_si512(x, magnitude), sign = _mm512_srai_epi16(x, 15);
    __m512i limit_size = _mm512_and_si512(t, magnitude), limit_sign = _mm512_srai_epi16(t, 15);
    __m512i key = _mm512_sub_epi16(_mm512_xor_si512(size, sign), sign);
    __m512i limit = _mm512_sub_epi16(_mm512_xor_si512(limit_size, limit_sign), limit_sign);
    __mmask32 numbers = _mm512_cmple_epi16_mask(size, infinity) & _mm512_cmple_epi16_mask(limit_size, infinity);
    return _mm512_mask_cmpge_epi16_mask(numbers, key, limit);
}

#define FLOAT_CMPGE(x, t) _mm512_cmp_ps_mask(x, t, _CMP_GE_OQ)
#define DOUBLE_CMPGE(x, t) _mm512_cmp_pd_mask(x, t, _CMP_GE_OQ)
#define SET8(x) _mm512_set1_epi8((char)(x))
#define SET16(x) _mm512_set1_epi16((short)(x))
#define SET32(x) _mm512_set1_epi32((int)(x))
#define SET64(x) _mm512_set1_epi64((long long)(x))

/* rows_<name> for a type of which a vector has so many lanes. Masked loads, which read nothing past the end, for the
   last values of a row alone: they cost more. */
#define ROWS(name, type, lanes, vector, load, masked_load, set, compare)                                               \
    BL_TARGET_AVX512BW BL_INLINE void rows_##name(const char *x, intptr_t row_stride, const type *threshold, int each, \
                                                intptr_t rows, intptr_t n, uint64_t *out, intptr_t out_stride)         \
    {                                                                                                                  \
        const vector all = set(each ? 0 : *threshold);                                                                 \
        for (intptr_t i = 0; i < rows; i++, x += row_stride, out += out_stride) {                                      \
            const type *row = (const type *)(const void *)x;                                                           \
            intptr_t j = 0;                                                                                            \
            for (; j + 64 <= n; j += 64) {                                                                             \
                uint64_t word = 0;                                                                                     \
                for (int v = 0; v < 64; v += lanes)                                                                    \
                    word |= (uint64_t)compare(load(row + j + v), each ? load(threshold + j + v) : all) << v;           \
                out[j / 64] = word;                                                                                    \
            }                                                                                                          \
            if (j == n)                                                                                                \
                continue;                                                                                              \
            uint64_t word = 0, in = bl_tail_mask(n);                                                                   \
            for (int v = 0; v < n - j; v += lanes) {                                                                   \
                __mmask##lanes some = (__mmask##lanes)(in >> v);                                                       \
                vector limits = each ? masked_load(some, threshold + j + v) : all;                                     \
                word |= (uint64_t)compare(masked_load(some, row + j + v), limits) << v;                                \
            }                                                                                                          \
            out[j / 64] = word & in;                                                                                   \
        }                                                                                                              \
    }
#define INTEGERS(bits, lanes)                                                                                          \
    ROWS(int##bits, int##bits##_t, lanes, __m512i, _mm512_loadu_si512, _mm512_maskz_loadu_epi##bits, SET##bits,        \
         _mm512_cmpge_epi##bits##_mask)                                                                                \
    ROWS(uint##bits, uint##bits##_t, lanes, __m512i, _mm512_loadu_si512, _mm512_maskz_loadu_epi##bits, SET##bits,      \
         _mm512_cmpge_epu##bits##_mask)
INTEGERS(8, 64)
INTEGERS(16, 32)
INTEGERS(32, 16)
INTEGERS(64, 8)
ROWS(float16, int16_t, 32, __m512i, _mm512_loadu_si512, _mm512_maskz_loadu_epi16, SET16, half_cmpge)
ROWS(float32, float, 16, __m512, _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_set1_ps, FLOAT_CMPGE)
ROWS(float64, double, 8, __m512d, _mm512_loadu_pd, _mm512_maskz_loadu_pd, _mm512_set1_pd, DOUBLE_CMPGE)

BL_TARGET_AVX512BW static void pack_rows(const char *x, int x_type, intptr_t row_stride, const void *threshold,
                                         int each, intptr_t rows, intptr_t n, uint64_t *out, intptr_t out_stride)
{
    switch (x_type) {
        BL_PACK_TYPES(BL_CASE_OF_TYPE)
    }
}

/* Words to -1 and +1 of so many bits. */
#define UNPACK(bits, lanes)                                                                                            \
    BL_TARGET_AVX512BW static void unpack##bits(const uint64_t *words, intptr_t rows, intptr_t n, bl_signs signs,      \
                                              uint##bits##_t *out)                                                     \
    {                                                                                                                  \
        const __m512i minus = SET##bits(signs.minus), plus = SET##bits(signs.plus);                                    \
        for (intptr_t i = 0; i < rows; i++) {                                                                          \
            intptr_t left = n;                                                                                         \
            for (; left >= 64; left -= 64, out += 64) {                                                                \
                uint64_t word = *words++;                                                                              \
                for (int v = 0; v < 64; v += lanes) {                                                                  \
                    __mmask##lanes set = (__mmask##lanes)(word >> v);                                                  \
                    _mm512_storeu_si512(out + v, _mm512_mask_blend_epi##bits(set, minus, plus));                       \
                }                                                                                                      \
            }                                                                                                          \
            if (left == 0)                                                                                             \
                continue;                                                                                              \
            uint64_t word = *words++, in = bl_tail_mask(n);                                                            \
            for (int v = 0; v < left; v += lanes) {                                                                    \
                __m512i values = _mm512_mask_blend_epi##bits((__mmask##lanes)(word >> v), minus, plus);                \
                _mm512_mask_storeu_epi##bits(out + v, (__mmask##lanes)(in >> v), values);                              \
            }                                                                                                          \
            out += left;                                                                                               \
        }                                                                                                              \
    }
UNPACK(8, 64)
UNPACK(16, 32)
UNPACK(32, 16)
UNPACK(64, 8)
BL_DEFINE_UNPACK(avx512bw)

/* --- The transpose ---------------------------------------------------------------------------------------------- */

/* Swap the off-diagonal squares of side `half` in the pairs (v[i], v[i + step]) of eight registers, eight 64 by 64 bit
   matrices side by side (Hacker's Delight, 7-3). */
#define SWAP(v, step, half, low)                                                                                       \
    for (int i = 0; i < 8; i++)                                                                                        \
        if (!(i & step)) {                                                                                             \
            const __m512i keep = _mm512_set1_epi64((long long)low);                                                    \
            __m512i upper = _mm512_slli_epi64(v[i + step], half), lower = _mm512_srli_epi64(v[i], half);               \
            v[i] = _mm512_ternarylogic_epi64(keep, v[i], upper, 0xca); /* keep ? v[i] : upper */                       \
            v[i + step] = _mm512_ternarylogic_epi64(keep, lower, v[i + step], 0xca);                                   \
        }

/* One row of 64 by 64 blocks more than eight words: the rows of a tile would else share cache sets. */
typedef uint64_t tile[64 + 1][8];

/* Transpose eight blocks side by side: `height` rows of as many words as the mask has bits, zeros past them. */
BL_TARGET_AVX512BW static void transpose_blocks(const uint64_t *x, intptr_t x_stride, intptr_t height, __mmask8 in,
                                                tile to)
{
    for (int r = 0; r < 8; r++) {
        __m512i v[8];
        for (int i = 0; i < 8; i++)
            v[i] = r + 8 * i < height ? _mm512_maskz_loadu_epi64(in, x + (r + 8 * i) * x_stride)
                                      : _mm512_setzero_si512();
        SWAP(v, 4, 32, UINT64_C(0x00000000ffffffff))
        SWAP(v, 2, 16, UINT64_C(0x0000ffff0000ffff))
        SWAP(v, 1, 8, UINT64_C(0x00ff00ff00ff00ff))
        for (int i = 0; i < 8; i++)
            _mm512_store_si512(to[r + 8 * i], v[i]);
    }
    for (int r = 0; r < 64; r += 8) {
        __m512i v[8];
        for (int i = 0; i < 8; i++)
            v[i] = _mm512_load_si512(to[r + i]);
        SWAP(v, 4, 4, UINT64_C(0x0f0f0f0f0f0f0f0f))
        SWAP(v, 2, 2, UINT64_C(0x3333333333333333))
        SWAP(v, 1, 1, UINT64_C(0x5555555555555555))
        for (int i = 0; i < 8; i++)
            _mm512_store_si512(to[r + i], v[i]);
    }
}

/* Transpose eight by eight words: word q of v[i] goes to word i of v[q]. */
BL_TARGET_AVX512BW BL_INLINE void transpose_words(__m512i v[8])
{
    __m512i pair[8], four[8];
    for (int i = 0; i < 8; i += 2) {
        pair[i] = _mm512_unpacklo_epi64(v[i], v[i + 1]);     /* words 0 2 4 6 of both */
        pair[i + 1] = _mm512_unpackhi_epi64(v[i], v[i + 1]); /* words 1 3 5 7 */
    }
    for (int i = 0; i < 8; i += 4)
        for (int odd = 0; odd < 2; odd++) {
            four[i + odd] = _mm512_shuffle_i64x2(pair[i + odd], pair[i + 2 + odd], 0x88);     /* words 0 4, or 1 5 */
            four[i + 2 + odd] = _mm512_shuffle_i64x2(pair[i + odd], pair[i + 2 + odd], 0xdd); /* words 2 6, or 3 7 */
        }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm512_shuffle_i64x2(four[i], four[i + 4], 0x88);
        v[i + 4] = _mm512_shuffle_i64x2(four[i], four[i + 4], 0xdd);
    }
}

/* By tiles of 512 by 512 bits: whole cache lines are read and written. */
BL_TARGET_AVX512BW void bl_transpose_avx512bw(const uint64_t *x, intptr_t x_stride, intptr_t m, intptr_t n,
                                              uint64_t *out, intptr_t out_stride)
{
    __m512i aligned[8 * sizeof(tile) / sizeof(__m512i)];
    tile *tiles = (tile *)(void *)aligned;
    for (intptr_t i = 0; i < bl_words(m); i += 8)
        for (intptr_t j = 0; j < bl_words(n); j += 8) {
            intptr_t blocks = bl_min(8, bl_words(m) - i), columns = bl_min(512, n - 64 * j);
            __mmask8 in = (__mmask8)(0xff >> (8 - bl_min(8, bl_words(n) - j)));
            __mmask8 to = (__mmask8)(0xff >> (8 - blocks));
            for (intptr_t b = 0; b < blocks; b++)
                transpose_blocks(x + 64 * (i + b) * x_stride + j, x_stride, bl_min(64, m - 64 * (i + b)), in, tiles[b]);
            for (intptr_t c = 0; c < bl_min(64, columns); c++) {
                __m512i v[8];
                for (int b = 0; b < 8; b++)
                    v[b] = b < blocks ? _mm512_load_si512(tiles[b][c]) : _mm512_setzero_si512();
                transpose_words(v);
                uint64_t *line = out + (64 * j + c) * out_stride + i;
                for (int q = 0; q < 8; q++)
                    if (64 * q + c < columns)
                        _mm512_mask_storeu_epi64(line + 64 * q * out_stride, to, v[q]);
            }
        }
}

void bl_transpose_bits_avx512bw(const uint64_t *x, intptr_t m, int64_t n, uint64_t *out)
{
    bl_transpose_avx512bw(x, bl_words(n), m, (intptr_t)n, out, bl_words(m));
}

void bl_pack_avx512bw(const void *x, int x_type, intptr_t outer, intptr_t rows, int64_t n, intptr_t outer_stride,
                      intptr_t row_stride, intptr_t value_stride, const void *threshold, int each, uint64_t *out)
{
    bl_pack_blocked(pack_rows, bl_transpose_avx512bw, x, x_type, outer, rows, n, outer_stride, row_stride, value_stride, threshold,
                    each, out);
}

#endif
