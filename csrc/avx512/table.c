/* The kernels of the avx512 variant, some of which need no more than avx512bw has; what is missing here runs on the next
   one. */
#include "avx512.h"

#ifdef BL_X86_64
#define ENTRY(name, parameters, arguments) .name = bl_##name##_avx512,
#define SHARED(name, parameters, arguments) .name = bl_##name##_avx512bw,
const bl_kernels bl_kernels_avx512 = {.pack = bl_pack_avx512bw,
                                      .unpack = bl_unpack_avx512bw,
                                      .popcount = bl_popcount_avx512,
                                      .transpose_bits = bl_transpose_bits_avx512bw,
                                      BL_SPLIT_KERNELS(SHARED)
                                      BL_XNOR_KERNELS(ENTRY)
                                      BL_GRADIENT_KERNELS(ENTRY) BL_RECODING_KERNELS(ENTRY)
                                      BL_CHANNEL_KERNELS(SHARED) BL_NORM_KERNELS(SHARED) BL_POOL_KERNELS(SHARED)
                                      BL_ARRAY_KERNELS(SHARED) BL_QUANTIZE_KERNELS(SHARED) BL_UPDATE_KERNELS(SHARED)
                                      BL_QUANTIZED_UPDATE_KERNELS(SHARED)
                                      BL_CODE_KERNELS(ENTRY)};
#else
const bl_kernels bl_kernels_avx512 = {.pack = NULL};
#endif
