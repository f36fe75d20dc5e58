/* Quantization compiled for AVX-512 F, BW, VL and DQ. */
#include "avx512bw.h"

#ifdef BL_X86_64

#include "../quantize.h"

BL_DEFINE_QUANTIZE_KERNELS(avx512bw, BL_TARGET_AVX512BW)

#endif
