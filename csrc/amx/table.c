/* The kernels of the amx variant; what is missing here runs on the next one. */
#include "amx.h"

#ifdef BL_TILES
#define ENTRY(name, parameters, arguments) .name = bl_##name##_amx,
const bl_kernels bl_kernels_amx = {.hamming_panels = bl_hamming_panels_amx,
                                   .xnor_matmul_panels = bl_xnor_matmul_panels_amx,
                                   .xnor_matmul_sign_panels = bl_xnor_matmul_sign_panels_amx,
                                   .xnor_conv2d_panels = bl_xnor_conv2d_panels_amx,
                                   .xnor_conv2d_sign_panels = bl_xnor_conv2d_sign_panels_amx,
                                   .codes_grad_weight = bl_codes_grad_weight_amx,
                                   BL_GRADIENT_KERNELS(ENTRY)};
#else
const bl_kernels bl_kernels_amx = {.pack = NULL};
#endif
