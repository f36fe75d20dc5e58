/* Products of bits with bits on vpopcntq. */
#include "avx512.h"

#ifdef BL_X86_64

#define TARGET BL_TARGET_AVX512
#define popcount _mm512_popcnt_epi64
#include "../avx512bw/matmul.h"

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_avx512 parameters { bl_##name##_blocked(xnor_block, BL_UNWRAP arguments); }
BL_XNOR_KERNELS(KERNEL)

#endif
