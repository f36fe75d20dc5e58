/* Quantization compiled for AVX-512 F, BW, VL and DQ. */
#include "avx512bw.h"

#ifdef BL_X86_64

#include "../narrow.h"

BL_DEFINE_QUANTIZE_KERNELS(avx512bw, BL_TARGET_AVX512BW)
BL_DEFINE_REQUANTIZE_KERNELS(avx512bw, BL_TARGET_AVX512BW)
BL_DEFINE_NARROW_KERNEL(avx512bw, BL_TARGET_AVX512BW)

#endif
