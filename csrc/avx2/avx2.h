/* The avx2 variant: what beats the portable code with AVX2. Empty on other processors. */
#ifndef BL_AVX2_H
#define BL_AVX2_H

#include "../blocks.h"

#define BL_DECLARE_AVX2(name, parameters, arguments) void bl_##name##_avx2 parameters;
BL_KERNELS(BL_DECLARE_AVX2)

#ifdef BL_X86_64
#include <immintrin.h>
#endif

#endif
