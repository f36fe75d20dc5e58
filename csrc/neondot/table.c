/* The kernels of the neondot variant; what is missing here runs on the next one. */
#include "neondot.h"

#ifdef BL_AARCH64
#define ENTRY(name, parameters, arguments) .name = bl_##name##_neondot,
const bl_kernels bl_kernels_neondot = {BL_GRADIENT_KERNELS(ENTRY)};
#else
const bl_kernels bl_kernels_neondot = {.pack = NULL};
#endif
