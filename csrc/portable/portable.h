/* The portable variant: every kernel in C11, the fallback and the specification in C. */
#ifndef BL_PORTABLE_H
#define BL_PORTABLE_H

#include "../blocks.h"

#define BL_DECLARE_PORTABLE(name, parameters, arguments) void bl_##name##_portable parameters;
BL_KERNELS(BL_DECLARE_PORTABLE)

#endif
