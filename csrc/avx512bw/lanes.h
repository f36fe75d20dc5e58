/* 64 values at a time with AVX-512, whose comparisons give bits and whose masks are bits. */
#ifndef BL_AVX512BW_LANES_H
#define BL_AVX512BW_LANES_H

#include "avx512bw.h"

#ifdef BL_X86_64

#define BL_VARIANT(name) bl_##name##_avx512bw
#define BL_VARIANT_TARGET BL_TARGET_AVX512BW
#define BL_MASKED_LOADS 1

BL_TARGET_AVX512BW BL_INLINE uint64_t reached(const int32_t a[64], const int32_t b[64])
{
    uint64_t bits = 0;
    for (int c = 0; c < 64; c += 16)
        bits |= (uint64_t)_mm512_cmpge_epi32_mask(_mm512_loadu_si512(a + c), _mm512_loadu_si512(b + c)) << c;
    return bits;
}

BL_TARGET_AVX512BW BL_INLINE void keep(uint64_t bits, int32_t v[64])
{
    for (int c = 0; c < 64; c += 16)
        _mm512_storeu_si512(v + c, _mm512_maskz_mov_epi32((__mmask16)(bits >> c), _mm512_loadu_si512(v + c)));
}

BL_TARGET_AVX512BW BL_INLINE void choose(uint64_t bits, const float set[64], const float clear[64], float out[64])
{
    for (int c = 0; c < 64; c += 16)
        _mm512_storeu_ps(out + c, _mm512_mask_blend_ps((__mmask16)(bits >> c), _mm512_loadu_ps(clear + c),
                                                       _mm512_loadu_ps(set + c)));
}

#include "../lanes.h"

#endif

#endif
