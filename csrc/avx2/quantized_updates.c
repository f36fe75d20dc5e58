/* Updates of parameters that are kept in a few bits, compiled for AVX2. */
#include "avx2.h"

#ifdef BL_X86_64

#include "philox.h"

#include "../quantized_updates.h"

BL_DEFINE_QUANTIZED_UPDATE_KERNELS(avx2, BL_TARGET_AVX2)

#endif
