/* 64 values at a time with AVX2. */
#ifndef BL_AVX2_LANES_H
#define BL_AVX2_LANES_H

#include "avx2.h"

#ifdef BL_X86_64

#define BL_VARIANT(name) bl_##name##_avx2
#define BL_VARIANT_TARGET BL_TARGET_AVX2
#define BL_MASKED_LOADS 0

BL_TARGET_AVX2 BL_INLINE uint64_t reached(const int32_t a[64], const int32_t b[64])
{
    uint64_t below = 0;
    for (int c = 0; c < 64; c += 8) {
        __m256i less = _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i *)(b + c)),
                                          _mm256_loadu_si256((const __m256i *)(a + c)));
        below |= (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(less)) << c;
    }
    return ~below;
}

/* All ones in the lanes whose bit is set, of the eight bits from c on. */
BL_TARGET_AVX2 BL_INLINE __m256i lanes(uint64_t bits, int c)
{
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)(bits >> c & 0xff)), each), each);
}

BL_TARGET_AVX2 BL_INLINE void keep(uint64_t bits, int32_t v[64])
{
    for (int c = 0; c < 64; c += 8) {
        __m256i *at = (__m256i *)(v + c);
        _mm256_storeu_si256(at, _mm256_and_si256(_mm256_loadu_si256(at), lanes(bits, c)));
    }
}

BL_TARGET_AVX2 BL_INLINE void choose(uint64_t bits, const float set[64], const float clear[64], float out[64])
{
    for (int c = 0; c < 64; c += 8)
        _mm256_storeu_ps(out + c, _mm256_blendv_ps(_mm256_loadu_ps(clear + c), _mm256_loadu_ps(set + c),
                                                   _mm256_castsi256_ps(lanes(bits, c))));
}

#include "../lanes.h"

#endif

#endif
