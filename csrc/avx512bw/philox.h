/* The words of Philox with AVX-512, in the place of the loops of ../philox.h: included before what draws words. */
#ifndef BL_AVX512BW_PHILOX_H
#define BL_AVX512BW_PHILOX_H

#include "avx512bw.h"

/* The keys of all rounds. */
BL_TARGET_AVX512BW BL_INLINE void bl_philox_keys(const uint32_t key[4], __m512i keys[2][10])
{
    for (uint32_t round = 0; round < 10; round++) {
        keys[0][round] = _mm512_set1_epi64(key[0] + round * UINT32_C(0x9E3779B9));
        keys[1][round] = _mm512_set1_epi64(key[1] + round * UINT32_C(0xBB67AE85));
    }
}

/* Random words of twice eight counters, in the lower halves of the lanes, word t of each in words[t]: the lower half is all
   that a multiplication reads, so the upper one need not be cleared between the rounds. Two at a time, since a round waits
   for the one before. */
BL_TARGET_AVX512BW BL_INLINE void bl_philox_lanes(__m512i keys[2][10], const uint32_t key[4], const __m512i counters[2],
                                                  __m512i words[4][2])
{
    const __m512i first = _mm512_set1_epi64(0xD2511F53), second = _mm512_set1_epi64(0xCD9E8D57);
    const __m512i third = _mm512_set1_epi64(key[2]), fourth = _mm512_set1_epi64(key[3]);
    __m512i c0[2], c1[2], c2[2] = {third, third}, c3[2] = {fourth, fourth};
    for (int h = 0; h < 2; h++) {
        c0[h] = counters[h];
        c1[h] = _mm512_srli_epi64(counters[h], 32);
    }
    for (int round = 0; round < 10; round++)
        for (int h = 0; h < 2; h++) {
            const __m512i low = _mm512_mul_epu32(c0[h], first), high = _mm512_mul_epu32(c2[h], second);
            c0[h] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(high, 32), c1[h], keys[0][round], 0x96);
            c2[h] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(low, 32), c3[h], keys[1][round], 0x96);
            c1[h] = high;
            c3[h] = low;
        }
    for (int h = 0; h < 2; h++)
        words[0][h] = c0[h], words[1][h] = c1[h], words[2][h] = c2[h], words[3][h] = c3[h];
}

/* The words of any 32 counters, those of a counter beside each other. */
BL_TARGET_AVX512BW static void bl_philox_vectors(const uint32_t key[4], const uint64_t *counters,
                                                 uint32_t *words)
{
    const __m512i front = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), back = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    __m512i keys[2][10], found[4][2];
    bl_philox_keys(key, keys);
    for (int lane = 0; lane < 32; lane += 16) {
        const __m512i given[2] = {_mm512_loadu_si512(counters + lane), _mm512_loadu_si512(counters + lane + 8)};
        bl_philox_lanes(keys, key, given, found);
        for (int h = 0; h < 2; h++) {
            uint32_t *out = words + 4 * (lane + 8 * h);
            const __m512i one = _mm512_mask_blend_epi32(0xaaaa, found[0][h], _mm512_slli_epi64(found[1][h], 32));
            const __m512i two = _mm512_mask_blend_epi32(0xaaaa, found[2][h], _mm512_slli_epi64(found[3][h], 32));
            _mm512_storeu_si512(out, _mm512_permutex2var_epi64(one, front, two));
            _mm512_storeu_si512(out + 16, _mm512_permutex2var_epi64(one, back, two));
        }
    }
}

#define BL_PHILOX_OF bl_philox_vectors

#endif
