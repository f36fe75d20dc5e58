/* The avx512bw variant: what beats AVX2 with AVX-512 F, BW, VL and DQ, without VPOPCNTDQ. Empty on other processors. */
#ifndef BL_AVX512BW_H
#define BL_AVX512BW_H

#include "../blocks.h"

#define BL_DECLARE_AVX512BW(name, parameters, arguments) void bl_##name##_avx512bw parameters;
BL_KERNELS(BL_DECLARE_AVX512BW)

#ifdef BL_X86_64
#include <immintrin.h>

/* Counting without a count of words, after Harley and Seal: words are added place by place, so that one register holds
   the ones of their counts, another the twos and a third the fours, and only the carries of those, which count eight,
   are looked up by half bytes. With the exclusive or 3.6 instructions a word in the place of 8. */

/* sum += x + y, place by place; the carries. */
BL_TARGET_AVX512BW BL_INLINE __m512i bl_add3(__m512i *sum, __m512i x, __m512i y)
{
    __m512i carry = _mm512_ternarylogic_epi64(*sum, x, y, 0xe8);
    *sum = _mm512_ternarylogic_epi64(*sum, x, y, 0x96);
    return carry;
}

/* The set bits of each half byte. */
BL_TARGET_AVX512BW BL_INLINE __m512i bl_half_byte_counts(void)
{
    return _mm512_broadcast_i32x4(_mm_setr_epi8(BL_NIBBLE_COUNTS));
}

/* bytes += what `table` says of the two halves of each byte of x. */
BL_TARGET_AVX512BW BL_INLINE __m512i bl_add_bytes(__m512i bytes, __m512i x, __m512i table)
{
    const __m512i half = _mm512_set1_epi8(15);
    __m512i low = _mm512_shuffle_epi8(table, _mm512_and_si512(x, half));
    __m512i high = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(x, 4), half));
    return _mm512_add_epi8(bytes, _mm512_add_epi8(low, high));
}

/* Write sixteen sums in the form that a result has, at place `at` of it, or those in the mask; or return the bits of the
   columns from `column` on. form and full, which says that all are wanted, are constants where it is inlined. Whole stores
   where that is known: masked ones cost more. */
BL_TARGET_AVX512BW BL_INLINE uint32_t bl_finish16(const bl_xnor_result *result, int form, int full, intptr_t at,
                                                  intptr_t column, __mmask16 in, __m512i sums)
{
    if (form == BL_AS_BITS) {
        __m512i threshold = full ? _mm512_loadu_si512(result->threshold + column)
                                 : _mm512_maskz_loadu_epi32(in, result->threshold + column);
        return _mm512_mask_cmpge_epi32_mask(in, sums, threshold);
    }
    if (form == BL_AS_INT16) {
        if (full)
            _mm256_storeu_si256((__m256i *)(void *)((int16_t *)result->out + at), _mm512_cvtepi32_epi16(sums));
        else
            _mm512_mask_cvtepi32_storeu_epi16((int16_t *)result->out + at, in, sums);
        return 0;
    }
    const __m512i value = form == BL_AS_FLOAT32 ? _mm512_castps_si512(_mm512_cvtepi32_ps(sums)) : sums;
    if (full)
        _mm512_storeu_si512((int32_t *)result->out + at, value);
    else
        _mm512_mask_storeu_epi32((int32_t *)result->out + at, in, value);
    return 0;
}

/* Write the bits of 32 columns of a row, half a word. */
BL_INLINE void bl_store_half_word(const bl_xnor_result *result, intptr_t row, intptr_t column, uint32_t bits)
{
    memcpy((uint32_t *)result->out + row * 2 * bl_words(result->columns) + column / 32, &bits, sizeof bits);
}

/* Clear the words that the 32 columns from `column` on are the only half of, in rows [row, row + count). */
static inline void bl_clear_second_half(const bl_xnor_result *result, intptr_t row, intptr_t count, intptr_t column)
{
    const intptr_t words = bl_words(result->columns);
    if (column % 64 == 0 && column + 32 >= result->columns)
        for (intptr_t i = row; i < row + count; i++)
            ((uint64_t *)result->out)[i * words + column / 64] = 0;
}

#endif

#endif
