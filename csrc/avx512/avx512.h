/* The avx512 variant: what beats the portable code with AVX-512 F, BW, VL, DQ, VPOPCNTDQ and VNNI. Empty on other
   processors. */
#ifndef BL_AVX512_H
#define BL_AVX512_H

#include "../blocks.h"

#define BL_DECLARE_AVX512(name, parameters, arguments) void bl_##name##_avx512 parameters;
BL_ALL_KERNELS(BL_DECLARE_AVX512)

bl_gradient_finish_row bl_finish_int8_avx512, bl_finish_int16_avx512, bl_finish_float32_avx512;

/* The expand and the total of int8 gradients (blocks.h). */
void bl_expand_int8_avx512(const uint64_t *bits, intptr_t groups, void *panel);
void bl_total_int8_avx512(const bl_gradient_rows *rows, intptr_t groups, int32_t *totals);

#ifdef BL_X86_64
#include <immintrin.h>
#endif

#endif
