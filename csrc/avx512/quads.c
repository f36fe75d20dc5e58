/* Products with forms over two bits (gf2p8affineqb), 64 columns and 16 rows at a time: the idea is in quads.h. */
#include "quads.h"

#ifdef BL_X86_64

/* Bit planes of a count: words of the depth stay below 1024, so a count below 65536. */
#define PLANES 16

#include "quad_count.h"

/* What is written: the types of BL_DOTS, or bits. */
enum { INT16, INT32, FLOAT32, BITS };

/* 32 values as int16, from int32. */
BL_TARGET_QUADS BL_INLINE __m512i narrow(const int32_t *values)
{
    __m256i low = _mm512_cvtepi32_epi16(_mm512_loadu_si512(values));
    __m256i high = _mm512_cvtepi32_epi16(_mm512_loadu_si512(values + 16));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* Finish 32 columns of a row, of which `width` are wanted; `few` says that counts are below 4096, so that dots fit int16.
   Returns their bits, where these are wanted. */
BL_TARGET_QUADS BL_INLINE uint32_t finish_half(const bl_xnor_result *result, int form, int full, int few, intptr_t row,
                                      intptr_t column, intptr_t width, const int32_t *base, __m512i counts)
{
    if (few)
        counts = _mm512_sub_epi16(narrow(base), _mm512_add_epi16(counts, counts));
    intptr_t at = row * result->columns + column;
    if (form == INT16 && full && few) {
        _mm512_storeu_si512((int16_t *)result->out + at, counts);
        return 0;
    }
    uint32_t bits = 0;
    for (int q = 0; q < 2; q++) {
        __m256i half = q ? _mm512_extracti64x4_epi64(counts, 1) : _mm512_castsi512_si256(counts);
        __m512i dots = few ? _mm512_cvtepi16_epi32(half)
                           : _mm512_sub_epi32(_mm512_loadu_si512(base + 16 * q),
                                              _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 1));
        intptr_t left = width - 16 * q;
        __mmask16 in = full || left >= 16 ? 0xffff : left <= 0 ? 0 : (__mmask16)((1u << left) - 1);
        if (form == BITS) {
            __m512i threshold = _mm512_maskz_loadu_epi32(in, result->threshold + column + 16 * q);
            bits |= (uint32_t)_mm512_mask_cmpge_epi32_mask(in, dots, threshold) << (16 * q);
        } else if (form == INT16)
            _mm512_mask_cvtepi32_storeu_epi16((int16_t *)result->out + at + 16 * q, in, dots);
        else {
            __m512i value = form == FLOAT32 ? _mm512_castps_si512(_mm512_cvtepi32_ps(dots)) : dots;
            if (full)
                _mm512_storeu_si512((int32_t *)result->out + at + 16 * q, value);
            else
                _mm512_mask_storeu_epi32((int32_t *)result->out + at + 16 * q, in, value);
        }
    }
    return bits;
}

/* Finish up to 8 rows and 64 columns. */
BL_TARGET_QUADS BL_INLINE void finish(const bl_xnor_result *result, int form, int full, int few, const __m512i planes[PLANES],
                             intptr_t row, intptr_t rows, intptr_t column, intptr_t width, const int32_t *bases,
                             intptr_t bases_stride)
{
    __m512i low[8], high[8], four[8];
    for (int i = 0; i < 8; i++)
        four[i] = few && i >= 4 ? _mm512_setzero_si512() : planes[8 + i];
    transpose(planes, low);
    transpose(four, high);
    for (int r = 0; r < 8 && r < rows; r++) {
        const int32_t *base = bases + (row + r) * bases_stride;
        uint64_t bits = finish_half(result, form, full, few, row + r, column, width, base,
                                    _mm512_unpacklo_epi8(low[r], high[r]));
        if (full || width > 32)
            bits |= (uint64_t)finish_half(result, form, full, few, row + r, column + 32, width - 32, base + 32,
                                          _mm512_unpackhi_epi8(low[r], high[r]))
                    << 32;
        if (form == BITS)
            ((uint64_t *)result->out)[(row + r) * bl_words(result->columns) + column / 64] = bits;
    }
}

BL_TARGET_QUADS BL_INLINE void quad_tile(int groups, int form, int full, const uint8_t *rows, const uint8_t *columns,
                                         intptr_t row, intptr_t left, intptr_t words, intptr_t column, intptr_t width,
                                         const int32_t *bases, intptr_t bases_stride, const bl_xnor_result *result)
{
    __m512i planes[GROUPS][PLANES];
    const uint8_t *first = rows + row / 8 * bl_quads_of_rows(words);
    intptr_t size = form == INT16 ? 2 : 4;
    const char *out = form == BITS ? NULL : (const char *)result->out + (row * result->columns + column) * size;
    count_quads(groups, 0, first, groups > 1 ? first + bl_quads_of_rows(words) : first, columns, words, out,
                result->columns * size, form == BITS || !full ? 0 : bl_min(left, 8 * groups), 64 * (int)size, PLANES,
                planes[0]);
    for (int r = 0; r < groups; r++)
        if (words < 64)
            finish(result, form, full, 1, planes[r], row + 8 * r, left - 8 * r, column, width, bases, bases_stride);
        else
            finish(result, form, full, 0, planes[r], row + 8 * r, left - 8 * r, column, width, bases, bases_stride);
}

BL_TARGET_QUADS BL_INLINE void all_rows(int form, int full, const uint8_t *rows, const uint8_t *columns, intptr_t m,
                               intptr_t words, intptr_t column, intptr_t width, const int32_t *bases,
                               intptr_t bases_stride, const bl_xnor_result *result)
{
    intptr_t i = 0;
    for (; m - i > 8; i += 16)
        quad_tile(2, form, full, rows, columns, i, m - i, words, column, width, bases, bases_stride, result);
    if (i < m)
        quad_tile(1, form, full, rows, columns, i, m - i, words, column, width, bases, bases_stride, result);
}

/* See bl_quads. */
BL_TARGET_QUADS static void quad_block(const uint8_t *rows, const uint8_t *columns, intptr_t m, intptr_t words,
                                       intptr_t column, intptr_t width, const int32_t *bases, intptr_t bases_stride,
                                       const bl_xnor_result *result)
{
    int form = result->kind == BL_SIGNS ? BITS
               : result->out_type == BL_INT16 ? INT16
               : result->out_type == BL_INT32 ? INT32
                                              : FLOAT32;
#define ALL_ROWS(form, full) all_rows(form, full, rows, columns, m, words, column, width, bases, bases_stride, result)
    if (width < BL_QUAD_PANEL)
        ALL_ROWS(form, 0);
    else if (form == INT16)
        ALL_ROWS(INT16, 1);
    else if (form == INT32)
        ALL_ROWS(INT32, 1);
    else if (form == FLOAT32)
        ALL_ROWS(FLOAT32, 1);
    else
        ALL_ROWS(BITS, 1);
}

static void product(const uint64_t *a, const uint8_t *columns, intptr_t m, intptr_t k, intptr_t words, int64_t n,
                    const bl_xnor_result *result, uint8_t *scratch)
{
    intptr_t step = bl_quads_step(words);
    bl_xnor_result part = *result;
    int32_t base[BL_QUAD_PANEL];
    for (int c = 0; c < BL_QUAD_PANEL; c++)
        base[c] = (int32_t)n;
    for (intptr_t i = 0; i < m; i += step) {
        intptr_t rows = bl_min(step, m - i);
        if (result->kind == BL_SIGNS)
            part.out = (uint64_t *)result->out + i * bl_words(k);
        else
            part.out = (char *)result->out + i * k * (result->out_type == BL_INT16 ? 2 : 4);
        bl_recode_rows(a + i * words, rows, words, scratch);
        const uint8_t *panel = columns;
        for (intptr_t j = 0; j < k; j += BL_QUAD_PANEL, panel += bl_quads_of_columns(1, words))
            quad_block(scratch, panel, rows, words, j, bl_min(BL_QUAD_PANEL, k - j), base, 0, &part);
    }
}

void bl_xnor_matmul_recoded_avx512(const uint64_t *a, const uint8_t *columns, intptr_t m, intptr_t k, intptr_t words,
                                 int64_t n, void *out, int out_type, uint8_t *scratch)
{
    bl_xnor_result result = {.kind = BL_DOTS, .out_type = out_type, .out = out, .columns = k};
    product(a, columns, m, k, words, n, &result, scratch);
}

void bl_xnor_matmul_sign_recoded_avx512(const uint64_t *a, const uint8_t *columns, intptr_t m, intptr_t k, intptr_t words,
                                      int64_t n, const int32_t *threshold, uint64_t *out, uint8_t *scratch)
{
    bl_xnor_result result = {.kind = BL_SIGNS, .threshold = threshold, .out = out, .columns = k};
    product(a, columns, m, k, words, n, &result, scratch);
}

void bl_xnor_conv2d_recoded_avx512(const uint64_t *x, const uint64_t *panels, const uint8_t *columns,
                                 const bl_conv2d *shape, void *out, int out_type, uint8_t *scratch)
{
    bl_quads quads = {columns, scratch, bl_recode_rows, quad_block};
    bl_xnor_result result = {.kind = BL_DOTS, .out_type = out_type, .out = out, .columns = shape->out_channels};
    bl_conv2d_quads_blocked(&quads, x, panels, shape, &result);
}

void bl_xnor_conv2d_sign_recoded_avx512(const uint64_t *x, const uint64_t *panels, const uint8_t *columns,
                                      const bl_conv2d *shape, const int32_t *threshold, uint64_t *out,
                                      uint8_t *scratch)
{
    bl_quads quads = {columns, scratch, bl_recode_rows, quad_block};
    bl_xnor_result result = {
        .kind = BL_SIGNS, .threshold = threshold, .out = out, .columns = shape->out_channels};
    bl_conv2d_quads_blocked(&quads, x, panels, shape, &result);
}

#endif
