/* Which kernels each variant has for itself: the lists of variants.h that its files define, made into X(name, (parameters),
   (arguments)). Of avx512 SHARED are those that need no more than avx512bw has. */
#ifndef BL_LISTS_H
#define BL_LISTS_H

#include "amx/amx.h"
#include "avx2/avx2.h"
#include "neondot/neondot.h"
#include "portable/portable.h"

/* What passes over arrays, the same for all vectors. */
#define BL_PASSING_KERNELS(X)                                                                                          \
    BL_CHANNEL_KERNELS(X) BL_NORM_KERNELS(X) BL_POOL_KERNELS(X) BL_ARRAY_KERNELS(X) BL_QUANTIZE_KERNELS(X)             \
    BL_UPDATE_KERNELS(X) BL_QUANTIZED_UPDATE_KERNELS(X)

#ifdef BL_TILES
#define BL_OF_AMX(X)                                                                                                   \
    BL_MATMUL_KERNELS(X) BL_CONV2D_KERNELS(X) BL_GRADIENT_KERNELS(X) BL_CODE_PRODUCT_KERNELS(X)
#define BL_OF_CHOICE(X)                                                                                                \
    BL_MATMUL_KERNELS(X) BL_CONV2D_KERNELS(X) BL_PRODUCT_GRADIENT_KERNELS(X) BL_CONV2D_GRADIENT_KERNELS(X)             \
    BL_CODE_PRODUCT_KERNELS(X)
#else
#define BL_OF_AMX(X)
#define BL_OF_CHOICE(X)
#endif

#ifdef BL_X86_64
#define BL_OF_AVX512(X, SHARED)                                                                                        \
    BL_PACK_KERNELS(SHARED) BL_COUNT_KERNELS(X) BL_TRANSPOSE_KERNELS(SHARED) BL_SPLIT_KERNELS(SHARED)                  \
    BL_XNOR_KERNELS(X) BL_GRADIENT_KERNELS(X) BL_RECODING_KERNELS(X) BL_PASSING_KERNELS(SHARED) BL_CODE_KERNELS(X)
#define BL_OF_AVX512BW(X)                                                                                              \
    BL_PACK_KERNELS(X) BL_TRANSPOSE_KERNELS(X) BL_SPLIT_KERNELS(X) BL_XNOR_KERNELS(X) BL_PASSING_KERNELS(X)            \
    BL_CODE_KERNELS(X)
#define BL_OF_AVX2(X)                                                                                                  \
    BL_FORMAT_KERNELS(X) BL_SPLIT_KERNELS(X) BL_XNOR_KERNELS(X) BL_GRADIENT_KERNELS(X) BL_PASSING_KERNELS(X)           \
    BL_CODE_KERNELS(X)
#else
#define BL_OF_AVX512(X, SHARED)
#define BL_OF_AVX512BW(X)
#define BL_OF_AVX2(X)
#endif

#ifdef BL_AARCH64
#define BL_OF_NEONDOT(X) BL_GRADIENT_KERNELS(X)
#define BL_OF_NEON(X)                                                                                                  \
    BL_PACK_KERNELS(X) BL_COUNT_KERNELS(X) BL_XNOR_KERNELS(X) BL_GRADIENT_KERNELS(X) BL_CODE_KERNELS(X)
#else
#define BL_OF_NEONDOT(X)
#define BL_OF_NEON(X)
#endif

#define BL_OF_PORTABLE(X) BL_KERNELS(X)

#endif
