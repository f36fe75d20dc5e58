/* Updates of parameters compiled for AVX2. */
#include "avx2.h"

#ifdef BL_X86_64

#include "../updates.h"

BL_DEFINE_UPDATE_KERNELS(avx2, BL_TARGET_AVX2)

#endif
