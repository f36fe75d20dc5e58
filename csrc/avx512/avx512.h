/* The avx512 variant: what beats the portable code with AVX-512 F, BW, VL, DQ, VPOPCNTDQ and VNNI. Empty on other
   processors. */
#ifndef BL_AVX512_H
#define BL_AVX512_H

#include "../avx512bw/avx512bw.h"

#define BL_DECLARE_AVX512(name, parameters, arguments) void bl_##name##_avx512 parameters;
BL_ALL_KERNELS(BL_DECLARE_AVX512)

bl_gradient_finish_row bl_finish_int8_avx512, bl_finish_int16_avx512, bl_finish_float32_avx512;

/* counts[c] += set bits of column c in words [from, to) of a panel that stores `stride` columns. */
void bl_add_counts_avx512(const uint64_t *panel, intptr_t stride, intptr_t from, intptr_t to, int32_t *counts);

/* The expand and the total of int8 gradients (blocks.h). */
void bl_expand_int8_avx512(const uint64_t *bits, intptr_t groups, void *panel);
void bl_total_int8_avx512(const bl_gradient_rows *rows, intptr_t groups, int32_t *totals);

#ifdef BL_X86_64
#include <immintrin.h>

/* The bytes of four vectors side by side: byte 16 l + 4 q + i of each is in lane 4 l + i of part q. */
BL_TARGET_AVX512 BL_INLINE void bl_interleave_bytes(__m512i a, __m512i b, __m512i c, __m512i d, __m512i part[4])
{
    __m512i ab = _mm512_unpacklo_epi8(a, b), cd = _mm512_unpacklo_epi8(c, d);
    part[0] = _mm512_unpacklo_epi16(ab, cd);
    part[1] = _mm512_unpackhi_epi16(ab, cd);
    ab = _mm512_unpackhi_epi8(a, b);
    cd = _mm512_unpackhi_epi8(c, d);
    part[2] = _mm512_unpacklo_epi16(ab, cd);
    part[3] = _mm512_unpackhi_epi16(ab, cd);
}
#endif

#endif
