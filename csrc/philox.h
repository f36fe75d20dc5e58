/* The words of Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC 2011), counters side by side: for quantize.h. */
#ifndef BL_PHILOX_H
#define BL_PHILOX_H

#include "variants.h"

/* Counters that Philox works on side by side, four words each; a shorter loop is unrolled, and then no vectors. */
#define BL_LANES 32

/* A variant that has a way of its own says so before this file is included. */
#ifndef BL_PHILOX_OF
#define BL_PHILOX_OF bl_philox_loops

/* The words of any counters, after Salmon, Moraes, Dror and Shaw (SC 2011). */
BL_INLINE void bl_philox_loops(const uint32_t key[4], const uint64_t *counters, uint32_t *words)
{
    uint32_t c0[BL_LANES], c1[BL_LANES], c2[BL_LANES], c3[BL_LANES];
    for (int lane = 0; lane < BL_LANES; lane++) {
        c0[lane] = (uint32_t)counters[lane];
        c1[lane] = (uint32_t)(counters[lane] >> 32);
        c2[lane] = key[2];
        c3[lane] = key[3];
    }
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++, k0 += UINT32_C(0x9E3779B9), k1 += UINT32_C(0xBB67AE85))
        for (int lane = 0; lane < BL_LANES; lane++) {
            const uint64_t product0 = UINT64_C(0xD2511F53) * c0[lane], product1 = UINT64_C(0xCD9E8D57) * c2[lane];
            c0[lane] = (uint32_t)(product1 >> 32) ^ c1[lane] ^ k0;
            c2[lane] = (uint32_t)(product0 >> 32) ^ c3[lane] ^ k1;
            c1[lane] = (uint32_t)product1;
            c3[lane] = (uint32_t)product0;
        }
    for (int lane = 0; lane < BL_LANES; lane++) {
        words[4 * lane] = c0[lane];
        words[4 * lane + 1] = c1[lane];
        words[4 * lane + 2] = c2[lane];
        words[4 * lane + 3] = c3[lane];
    }
}

#endif

/* The words of any counters, BL_LANES of them. */
BL_INLINE void bl_philox_of(const uint32_t key[4], const uint64_t counters[BL_LANES], uint32_t words[4 * BL_LANES])
{
    BL_PHILOX_OF(key, counters, words);
}

/* The words of counters [counter, counter + BL_LANES). */
BL_INLINE void bl_philox(const uint32_t key[4], uint64_t counter, uint32_t words[4 * BL_LANES])
{
    uint64_t counters[BL_LANES];
    for (int lane = 0; lane < BL_LANES; lane++)
        counters[lane] = counter + (uint64_t)lane;
    bl_philox_of(key, counters, words);
}

BL_INLINE void bl_random_words_loops(const uint32_t *key, int64_t start, int64_t stride, intptr_t rows, intptr_t n,
                                     uint32_t *out)
{
    uint32_t words[4 * BL_LANES];
    for (intptr_t i = 0; i < rows; i++) {
        const uint64_t first = (uint64_t)(start + i * stride);
        intptr_t skip = (intptr_t)(first % 4);
        uint64_t counter = first / 4;
        for (intptr_t done = 0; done < n; counter += BL_LANES, skip = 0) {
            const intptr_t count = bl_min(4 * BL_LANES - skip, n - done);
            bl_philox(key, counter, words);
            memcpy(out + i * n + done, words + skip, (size_t)count * sizeof *words);
            done += count;
        }
    }
}

#endif
