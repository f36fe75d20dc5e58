/* Updates of parameters that are kept in a few bits, compiled for AVX-512 F, BW, VL and DQ. */
#include "avx512bw.h"

#ifdef BL_X86_64

#include "philox.h"

#include "../quantized_updates.h"

BL_DEFINE_QUANTIZED_UPDATE_KERNELS(avx512bw, BL_TARGET_AVX512BW)

#endif
