/* The kernels of the amx variant; what is missing here runs on the next one. */
#include "amx.h"

#ifdef BL_TILES
#define ENTRY(name, parameters, arguments) .name = bl_##name##_amx,
const bl_kernels bl_kernels_amx = {BL_MATMUL_KERNELS(ENTRY) BL_CONV2D_KERNELS(ENTRY)
                                       BL_GRADIENT_KERNELS(ENTRY) BL_CODE_PRODUCT_KERNELS(ENTRY)};
#else
const bl_kernels bl_kernels_amx = {.pack = NULL};
#endif
