/* Quantization for the baseline of the processor: SSE2 on x86-64, Advanced SIMD on AArch64. */
#include "portable.h"

#include "../narrow.h"

#define BASELINE
BL_DEFINE_QUANTIZE_KERNELS(portable, BASELINE)
BL_DEFINE_REQUANTIZE_KERNELS(portable, BASELINE)
BL_DEFINE_NARROW_KERNEL(portable, BASELINE, )
