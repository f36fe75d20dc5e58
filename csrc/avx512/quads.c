/* Products with forms over two bits (gf2p8affineqb), 64 columns and 16 rows at a time: the idea is in quads.h. */
#include "quads.h"

#ifdef BL_X86_64

/* Bit planes of a count: words of the depth stay below 1024, so a count below 65536. */
#define PLANES 16

#include "quad_count.h"

/* 32 values as int16, from int32. */
BL_TARGET_QUADS BL_INLINE __m512i narrow(const int32_t *values)
{
    __m256i low = _mm512_cvtepi32_epi16(_mm512_loadu_si512(values));
    __m256i high = _mm512_cvtepi32_epi16(_mm512_loadu_si512(values + 16));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* Finish 32 columns of a row, of which `width` are wanted; `few` says that counts are below 4096, so that dots fit int16.
   Returns their bits, where these are wanted. */
BL_TARGET_QUADS BL_INLINE uint32_t finish_half(const bl_xnor_result *result, int form, int mismatches, int full, int few,
                                               intptr_t row, intptr_t column, intptr_t width, const int32_t *base,
                                               __m512i narrow_base, __m512i counts)
{
    if (few && !mismatches)
        counts = _mm512_sub_epi16(narrow_base, _mm512_add_epi16(counts, counts));
    if (form == BL_AS_INT16 && full && few) {
        _mm512_storeu_si512((int16_t *)result->out + (row * result->columns + column), counts);
        return 0;
    }
    const intptr_t at = row * result->columns + column;
    uint32_t bits = 0;
    for (int q = 0; q < 2; q++) {
        __m256i half = q ? _mm512_extracti64x4_epi64(counts, 1) : _mm512_castsi512_si256(counts);
        __m512i sums = mismatches ? _mm512_cvtepu16_epi32(half)
                       : few      ? _mm512_cvtepi16_epi32(half)
                                  : _mm512_sub_epi32(_mm512_loadu_si512(base + 16 * q),
                                                     _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 1));
        const intptr_t left = width - 16 * q;
        const __mmask16 in = full || left >= 16 ? 0xffff : left <= 0 ? 0 : (__mmask16)((1u << left) - 1);
        bits |= bl_finish16(result, form, full, at + 16 * q, column + 16 * q, in, sums) << (16 * q);
    }
    return bits;
}

/* Finish up to 8 rows and 64 columns. */
BL_TARGET_QUADS BL_INLINE void finish(const bl_xnor_result *result, int form, int mismatches, int full, int few,
                                      const __m512i planes[PLANES], intptr_t row, intptr_t rows, intptr_t column,
                                      intptr_t width, const int32_t *bases, intptr_t bases_stride)
{
    __m512i low[8], high[8], four[8], first = _mm512_setzero_si512(), second = first;
    for (int i = 0; i < 8; i++)
        four[i] = few && i >= 4 ? _mm512_setzero_si512() : planes[8 + i];
    transpose(planes, low);
    transpose(four, high);
    for (int r = 0; r < 8 && r < rows; r++) {
        const int32_t *base = bases + (row + r) * bases_stride;
        if (few && (r == 0 || bases_stride)) {
            first = narrow(base);
            second = narrow(base + 32);
        }
        uint64_t bits = finish_half(result, form, mismatches, full, few, row + r, column, width, base, first,
                                    _mm512_unpacklo_epi8(low[r], high[r]));
        if (full || width > 32)
            bits |= (uint64_t)finish_half(result, form, mismatches, full, few, row + r, column + 32, width - 32,
                                          base + 32, second, _mm512_unpackhi_epi8(low[r], high[r]))
                    << 32;
        if (form == BL_AS_BITS)
            ((uint64_t *)result->out)[(row + r) * bl_words(result->columns) + column / 64] = bits;
    }
}

BL_TARGET_QUADS BL_INLINE void quad_tile(int groups, int form, int mismatches, int full, const uint8_t *rows,
                                         const uint8_t *columns, intptr_t row, intptr_t left, intptr_t words,
                                         intptr_t column, intptr_t width, const int32_t *bases, intptr_t bases_stride,
                                         const bl_xnor_result *result)
{
    __m512i planes[GROUPS][PLANES];
    const uint8_t *first = rows + row / 8 * bl_quads_of_rows(words);
    intptr_t size = form == BL_AS_INT16 ? 2 : 4;
    const char *out = form == BL_AS_BITS ? NULL : (const char *)result->out + (row * result->columns + column) * size;
    count_quads(groups, 0, first, groups > 1 ? first + bl_quads_of_rows(words) : first, columns, words, out,
                result->columns * size, form == BL_AS_BITS || !full ? 0 : bl_min(left, 8 * groups), 64 * (int)size, PLANES,
                planes[0]);
#define FINISH(few)                                                                                                    \
    finish(result, form, mismatches, full, few, planes[r], row + 8 * r, left - 8 * r, column, width, bases, bases_stride)
    for (int r = 0; r < groups; r++)
        if (words < 64)
            FINISH(1);
        else
            FINISH(0);
}

BL_TARGET_QUADS BL_INLINE void all_rows(int form, int mismatches, int full, const uint8_t *rows, const uint8_t *columns,
                                        intptr_t m, intptr_t words, intptr_t column, intptr_t width,
                                        const int32_t *bases, intptr_t bases_stride, const bl_xnor_result *result)
{
#define TILE(groups)                                                                                                   \
    quad_tile(groups, form, mismatches, full, rows, columns, i, m - i, words, column, width, bases, bases_stride, result)
    intptr_t i = 0;
    for (; m - i > 8; i += 16)
        TILE(2);
    if (i < m)
        TILE(1);
}

/* A bl_quad_block. */
BL_TARGET_QUADS void bl_multiply_quads(const uint8_t *rows, const uint8_t *columns, intptr_t m, intptr_t words,
                                       intptr_t column, intptr_t width, const int32_t *bases, intptr_t bases_stride,
                                       const bl_xnor_result *result)
{
#define ALL_ROWS(form, mismatches, full)                                                                               \
    all_rows(form, mismatches, full, rows, columns, m, words, column, width, bases, bases_stride, result)
    if (result->mismatches)
        ALL_ROWS(result->form, 1, 0);
    else if (width < BL_QUAD_PANEL)
        ALL_ROWS(result->form, 0, 0);
    else if (result->form == BL_AS_INT16)
        ALL_ROWS(BL_AS_INT16, 0, 1);
    else if (result->form == BL_AS_INT32)
        ALL_ROWS(BL_AS_INT32, 0, 1);
    else if (result->form == BL_AS_FLOAT32)
        ALL_ROWS(BL_AS_FLOAT32, 0, 1);
    else
        ALL_ROWS(BL_AS_BITS, 0, 1);
}

#endif
