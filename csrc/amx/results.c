/* What becomes of the sums of bit products: 32 columns of a row at a time. */
#include "engine.h"

#ifdef BL_TILES

enum { INT16, INT32, FLOAT32, BITS };

/* `full` says that all 32 columns are wanted; form and full are constants where it is inlined. */
BL_TARGET_AMX BL_INLINE void finish_row(const bl_xnor_result *result, int form, int full, intptr_t row, intptr_t column,
                                        __mmask32 in, const int32_t *terms, const int32_t *sums)
{
    intptr_t at = row * result->columns + column;
    uint32_t bits = 0;
    __m512i dots[2];
    for (int q = 0; q < 2; q++) {
        __mmask16 half = (__mmask16)(in >> (16 * q));
        __m512i sum = _mm512_load_si512(sums + 16 * q), term = _mm512_loadu_si512(terms + 16 * q);
        dots[q] = result->kind == BL_MISMATCHES ? _mm512_sub_epi32(term, sum)
                                                : _mm512_add_epi32(term, _mm512_slli_epi32(sum, 1));
        if (form == BITS) {
            __m512i threshold = _mm512_maskz_loadu_epi32(half, result->threshold + column + 16 * q);
            bits |= (uint32_t)_mm512_mask_cmpge_epi32_mask(half, dots[q], threshold) << (16 * q);
        } else if (form != INT16) {
            __m512i value = form == FLOAT32 ? _mm512_castps_si512(_mm512_cvtepi32_ps(dots[q])) : dots[q];
            if (full)
                _mm512_storeu_si512((int32_t *)result->out + at + 16 * q, value);
            else
                _mm512_mask_storeu_epi32((int32_t *)result->out + at + 16 * q, half, value);
        }
    }
    if (form == INT16) {
        __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(dots[0])),
                                          _mm512_cvtepi32_epi16(dots[1]), 1);
        if (full)
            _mm512_storeu_si512((int16_t *)result->out + at, both);
        else
            _mm512_mask_storeu_epi16((int16_t *)result->out + at, in, both);
    }
    if (form == BITS) {
        uint64_t *word = (uint64_t *)result->out + row * bl_words(result->columns) + column / 64;
        /* A strip is half a word; the last one may be the only half. */
        if (column % 64 == 0 && column + BL_STRIP >= result->columns)
            *word = bits;
        else
            memcpy((uint32_t *)(void *)word + column / BL_STRIP % 2, &bits, sizeof bits);
    }
}

BL_TARGET_AMX void bl_finish_strip(const bl_xnor_result *result, intptr_t row, intptr_t rows, intptr_t column,
                                   const int32_t *const *terms, const int32_t *sums)
{
    intptr_t left = result->columns - column;
    __mmask32 in = left >= BL_STRIP ? ~(__mmask32)0 : ((__mmask32)1 << left) - 1;
#define ALL_ROWS(form, full)                                                                                           \
    for (intptr_t r = 0; r < rows; r++)                                                                                \
    finish_row(result, form, full, row + r, column, in, terms[r], sums + r * BL_STRIP)
    if (result->kind == BL_SIGNS)
        ALL_ROWS(BITS, 0);
    else if (result->out_type == BL_INT16 && left >= BL_STRIP)
        ALL_ROWS(INT16, 1);
    else if (result->out_type == BL_INT16)
        ALL_ROWS(INT16, 0);
    else if (result->out_type == BL_INT32 && left >= BL_STRIP)
        ALL_ROWS(INT32, 1);
    else if (result->out_type == BL_INT32)
        ALL_ROWS(INT32, 0);
    else if (left >= BL_STRIP)
        ALL_ROWS(FLOAT32, 1);
    else
        ALL_ROWS(FLOAT32, 0);
}

#endif
