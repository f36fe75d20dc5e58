/* The kernels of the avx2 variant; what is missing here runs on the next one. */
#include "avx2.h"

#ifdef BL_X86_64
#define ENTRY(name, parameters, arguments) .name = bl_##name##_avx2,
const bl_kernels bl_kernels_avx2 = {BL_FORMAT_KERNELS(ENTRY) BL_SPLIT_KERNELS(ENTRY) BL_XNOR_KERNELS(ENTRY)
                                    BL_GRADIENT_KERNELS(ENTRY)
                                    BL_CHANNEL_KERNELS(ENTRY) BL_NORM_KERNELS(ENTRY) BL_POOL_KERNELS(ENTRY)
                                    BL_ARRAY_KERNELS(ENTRY) BL_QUANTIZE_KERNELS(ENTRY) BL_UPDATE_KERNELS(ENTRY)
                                    BL_QUANTIZED_UPDATE_KERNELS(ENTRY)
                                    BL_CODE_KERNELS(ENTRY)};
#else
const bl_kernels bl_kernels_avx2 = {.pack = NULL};
#endif
