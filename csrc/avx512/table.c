/* The kernels of the avx512 variant; what is missing here runs on the next one. */
#include "avx512.h"

#ifdef BL_X86_64
#define ENTRY(name, parameters, arguments) .name = bl_##name##_avx512,
const bl_kernels bl_kernels_avx512 = {BL_FORMAT_KERNELS(ENTRY) BL_XNOR_KERNELS(ENTRY) BL_PANEL_KERNELS(ENTRY)
                                    BL_GRADIENT_KERNELS(ENTRY) BL_PASS_KERNELS(ENTRY) BL_QUAD_KERNELS(ENTRY)};
#else
const bl_kernels bl_kernels_avx512 = {.pack = NULL};
#endif
