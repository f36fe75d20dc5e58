/* The neon variant: what beats the portable code with Advanced SIMD, which every AArch64 processor has. Empty on
   others. */
#ifndef BL_NEON_H
#define BL_NEON_H

#include "../blocks.h"

#define BL_DECLARE_NEON(name, parameters, arguments) void bl_##name##_neon parameters;
BL_KERNELS(BL_DECLARE_NEON)

#ifdef BL_AARCH64
#include <arm_neon.h>
#endif

#endif
