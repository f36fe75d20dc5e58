/* Quantization compiled for AVX2. */
#include "avx2.h"

#ifdef BL_X86_64

#include "philox.h"

#include "../narrow.h"

BL_DEFINE_QUANTIZE_KERNELS(avx2, BL_TARGET_AVX2)
BL_DEFINE_REQUANTIZE_KERNELS(avx2, BL_TARGET_AVX2)
BL_DEFINE_NARROW_KERNEL(avx2, BL_TARGET_AVX2, )

#endif
