/* Distances of one row to many, on the popcnt of words that every processor with AVX2 has: as fast as the rows come from
   memory. */
#include "avx2.h"

#include "../blocks.h"

#ifdef BL_X86_64

#include <nmmintrin.h>

/* `words` is a constant where it is inlined. */
BL_TARGET("avx2,popcnt") BL_INLINE int32_t differing(const uint64_t *a, const uint64_t *b, intptr_t words)
{
    int64_t sum = 0;
    for (intptr_t p = 0; p < words; p++)
        sum += (int64_t)_mm_popcnt_u64(a[p] ^ b[p]);
    return (int32_t)sum;
}

#define OF_SO_MANY(many)                                                                                               \
    if (words == many) {                                                                                               \
        if (out_type == BL_INT16)                                                                                      \
            for (intptr_t i = 0; i < rows; i++)                                                                        \
                ((int16_t *)out)[i] = (int16_t)differing(a, b + many * i, many);                                       \
        else                                                                                                           \
            for (intptr_t i = 0; i < rows; i++)                                                                        \
                ((int32_t *)out)[i] = differing(a, b + many * i, many);                                                \
        return;                                                                                                        \
    }

BL_TARGET("avx2,popcnt") void bl_differing_rows_avx2(const uint64_t *a, const uint64_t *b, intptr_t rows,
                                                     intptr_t words, int out_type, void *out)
{
    OF_SO_MANY(1)
    OF_SO_MANY(2)
    OF_SO_MANY(4)
    OF_SO_MANY(8)
    OF_SO_MANY(words)
}

#endif
