/* The words of Philox with AVX2, in the place of the loops of ../philox.h: included before what draws words. */
#ifndef BL_AVX2_PHILOX_H
#define BL_AVX2_PHILOX_H

#include "avx2.h"

#ifdef BL_X86_64
#include <immintrin.h>

/* The words of any 32 counters. A word is the lower half of a lane: that is all that a multiplication reads, so the upper one
   need not be cleared between the rounds. */
BL_TARGET_AVX2 static void bl_philox_vectors(const uint32_t key[4], const uint64_t *counters,
                                             uint32_t *words)
{
    const __m256i first = _mm256_set1_epi64x(0xD2511F53), second = _mm256_set1_epi64x(0xCD9E8D57);
    for (int lane = 0; lane < 32; lane += 8) {
        __m256i c0[2], c1[2], c2[2], c3[2];
        for (int h = 0; h < 2; h++) {
            c0[h] = _mm256_loadu_si256((const __m256i *)(const void *)(counters + lane + 4 * h));
            c1[h] = _mm256_srli_epi64(c0[h], 32);
            c2[h] = _mm256_set1_epi64x(key[2]);
            c3[h] = _mm256_set1_epi64x(key[3]);
        }
        uint32_t k0 = key[0], k1 = key[1];
        for (int round = 0; round < 10; round++, k0 += UINT32_C(0x9E3779B9), k1 += UINT32_C(0xBB67AE85))
            for (int h = 0; h < 2; h++) {
                const __m256i low = _mm256_mul_epu32(c0[h], first), high = _mm256_mul_epu32(c2[h], second);
                c0[h] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(high, 32), c1[h]), _mm256_set1_epi64x(k0));
                c2[h] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(low, 32), c3[h]), _mm256_set1_epi64x(k1));
                c1[h] = high;
                c3[h] = low;
            }
        for (int h = 0; h < 2; h++) {
            __m256i *out = (__m256i *)(void *)(words + 4 * (lane + 4 * h));
            const __m256i one = _mm256_blend_epi32(c0[h], _mm256_slli_epi64(c1[h], 32), 0xaa);
            const __m256i two = _mm256_blend_epi32(c2[h], _mm256_slli_epi64(c3[h], 32), 0xaa);
            const __m256i even = _mm256_unpacklo_epi64(one, two), odd = _mm256_unpackhi_epi64(one, two);
            _mm256_storeu_si256(out, _mm256_permute2x128_si256(even, odd, 0x20));
            _mm256_storeu_si256(out + 1, _mm256_permute2x128_si256(even, odd, 0x31));
        }
    }
}

#define BL_PHILOX_OF bl_philox_vectors

#endif
#endif
