/* What becomes of the sums of bit products: 32 columns of a row at a time. */
#include "engine.h"

#ifdef BL_TILES

/* `full` says that all 32 columns are wanted; form and full are constants where it is inlined. */
BL_TARGET_AMX BL_INLINE void finish_row(const bl_xnor_result *result, int form, int full, intptr_t row, intptr_t column,
                                        __mmask32 in, const int32_t *terms, const int32_t *sums)
{
    const intptr_t at = row * result->columns + column;
    uint32_t bits = 0;
    for (int q = 0; q < 2; q++) {
        __m512i sum = _mm512_load_si512(sums + 16 * q), term = _mm512_loadu_si512(terms + 16 * q);
        __m512i value = result->mismatches ? _mm512_sub_epi32(term, sum)
                                                     : _mm512_add_epi32(term, _mm512_slli_epi32(sum, 1));
        bits |= bl_finish16(result, form, full, at + 16 * q, column + 16 * q, (__mmask16)(in >> (16 * q)), value)
                << (16 * q);
    }
    if (form == BL_AS_BITS)
        bl_store_half_word(result, row, column, bits);
}

BL_TARGET_AMX void bl_finish_strip(const bl_xnor_result *result, intptr_t row, intptr_t rows, intptr_t column,
                                   const int32_t *const *terms, const int32_t *sums)
{
    const intptr_t left = result->columns - column;
    const __mmask32 in = left >= BL_STRIP ? ~(__mmask32)0 : ((__mmask32)1 << left) - 1;
    const int form = result->form;
    if (form == BL_AS_BITS)
        bl_clear_second_half(result, row, rows, column);
#define ALL_ROWS(form, full)                                                                                           \
    for (intptr_t r = 0; r < rows; r++)                                                                                \
    finish_row(result, form, full, row + r, column, in, terms[r], sums + r * BL_STRIP)
    if (left < BL_STRIP || form == BL_AS_BITS)
        ALL_ROWS(form, 0);
    else if (form == BL_AS_INT16)
        ALL_ROWS(BL_AS_INT16, 1);
    else if (form == BL_AS_INT32)
        ALL_ROWS(BL_AS_INT32, 1);
    else
        ALL_ROWS(BL_AS_FLOAT32, 1);
}

#endif
