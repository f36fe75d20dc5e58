/* The neon variant: what beats the portable code with Advanced SIMD, which every AArch64 processor has. Empty on
   others. */
#ifndef BL_NEON_H
#define BL_NEON_H

#include "../blocks.h"

#define BL_DECLARE_NEON(name, parameters, arguments) void bl_##name##_neon parameters;
BL_KERNELS(BL_DECLARE_NEON)

#ifdef BL_AARCH64
#include <arm_neon.h>

extern const bl_gradient_types bl_gradient_types_neon;

/* The rows of a tile; past the last row the last one is computed again, and not kept. */
BL_INLINE void bl_tile_rows_neon(const bl_gradient_rows *rows, intptr_t i, int count, const char **at)
{
    for (int r = 0; r < count; r++)
        at[r] = rows->at[bl_min(i + r, rows->count - 1)];
}

BL_INLINE int32_t bl_load4_neon(const char *at)
{
    int32_t four;
    memcpy(&four, at, sizeof four);
    return four;
}
#endif

#endif
