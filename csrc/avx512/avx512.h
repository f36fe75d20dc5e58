/* The avx512 variant: what beats the portable code with AVX-512 F, BW, VL, DQ, VPOPCNTDQ and VNNI. Empty on other
   processors. */
#ifndef BL_AVX512_H
#define BL_AVX512_H

#include "../blocks.h"

#define BL_DECLARE_AVX512(name, parameters, arguments) void bl_##name##_avx512 parameters;
BL_ALL_KERNELS(BL_DECLARE_AVX512)

bl_gradient_finish_row bl_finish_int8_avx512, bl_finish_int16_avx512, bl_finish_float32_avx512;

#ifdef BL_X86_64
#include <immintrin.h>
#endif

#endif
