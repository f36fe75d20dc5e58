/* The kernels of the portable variant: all of them. */
#include "portable.h"

#define ENTRY(name, parameters, arguments) .name = bl_##name##_portable,
const bl_kernels bl_kernels_portable = {BL_KERNELS(ENTRY)};
