/* The neondot variant: what beats neon with the dot instructions of int8, which most AArch64 processors since Armv8.2
   have. Empty on others. */
#ifndef BL_NEONDOT_H
#define BL_NEONDOT_H

#include "../neon/neon.h"

#define BL_DECLARE_NEONDOT(name, parameters, arguments) void bl_##name##_neondot parameters;
BL_GRADIENT_KERNELS(BL_DECLARE_NEONDOT)

#define BL_TARGET_NEONDOT BL_TARGET("arch=armv8.2-a+dotprod")

#endif
