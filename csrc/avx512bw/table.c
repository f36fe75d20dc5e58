/* The kernels of the avx512bw variant; what is missing here runs on the next one. */
#include "avx512bw.h"

#ifdef BL_X86_64
#define ENTRY(name, parameters, arguments) .name = bl_##name##_avx512bw,
const bl_kernels bl_kernels_avx512bw = {.pack = bl_pack_avx512bw,
                                        .unpack = bl_unpack_avx512bw,
                                        .transpose_bits = bl_transpose_bits_avx512bw,
                                        BL_SPLIT_KERNELS(ENTRY)
                                        BL_XNOR_KERNELS(ENTRY)
                                        BL_CHANNEL_KERNELS(ENTRY) BL_NORM_KERNELS(ENTRY) BL_POOL_KERNELS(ENTRY)
                                        BL_ARRAY_KERNELS(ENTRY) BL_QUANTIZE_KERNELS(ENTRY) BL_UPDATE_KERNELS(ENTRY)
                                        BL_QUANTIZED_UPDATE_KERNELS(ENTRY)
                                        BL_CODE_KERNELS(ENTRY)};
#else
const bl_kernels bl_kernels_avx512bw = {.pack = NULL};
#endif
