/* The kernels of the neon variant; what is missing here runs on the next one. */
#include "neon.h"

#ifdef BL_AARCH64
#define ENTRY(name, parameters, arguments) .name = bl_##name##_neon,
const bl_kernels bl_kernels_neon = {.pack = bl_pack_neon,
                                    .unpack = bl_unpack_neon,
                                    .popcount = bl_popcount_neon,
                                    BL_XNOR_KERNELS(ENTRY)
                                    BL_GRADIENT_KERNELS(ENTRY) BL_CODE_KERNELS(ENTRY)};
#else
const bl_kernels bl_kernels_neon = {.pack = NULL};
#endif
