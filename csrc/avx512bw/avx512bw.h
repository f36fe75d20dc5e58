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

#endif

#endif
