/* 64 values at a time for any processor. */
#ifndef BL_PORTABLE_LANES_H
#define BL_PORTABLE_LANES_H

#include "portable.h"

#define BL_VARIANT(name) bl_##name##_portable
#define BL_VARIANT_TARGET
#define BL_MASKED_LOADS 0

/* Bit c = a[c] >= b[c]. */
BL_INLINE uint64_t reached(const int32_t a[64], const int32_t b[64])
{
    uint8_t flags[64];
    for (int c = 0; c < 64; c++)
        flags[c] = a[c] >= b[c];
    return bl_pack_flags(flags, 64);
}

/* v[c] stays where bit c is set, and becomes 0 elsewhere. */
BL_INLINE void keep(uint64_t bits, int32_t v[64])
{
    uint8_t flags[64];
    bl_unpack_flags(bits, flags);
    for (int c = 0; c < 64; c++)
        v[c] &= -(int32_t)flags[c];
}

/* out[c] = set[c] where bit c is set, else clear[c]. */
BL_INLINE void choose(uint64_t bits, const float set[64], const float clear[64], float out[64])
{
    uint8_t flags[64];
    bl_unpack_flags(bits, flags);
    for (int c = 0; c < 64; c++)
        out[c] = flags[c] ? set[c] : clear[c];
}

#include "../lanes.h"

#endif
