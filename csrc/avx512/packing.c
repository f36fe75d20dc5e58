/* Packing with compare-to-mask: sixteen floats, or eight doubles, an instruction. */
#include "avx512.h"

#ifdef BL_X86_64

/* Bits of x[0 .. count) >= threshold[0 .. count), count <= 64; masked loads read nothing past the end. */
BL_TARGET_AVX512 static inline uint64_t pack_float32(const float *x, const float *threshold, intptr_t count)
{
    uint64_t word = 0;
    for (intptr_t j = 0; j < count; j += 16) {
        __mmask16 in = (__mmask16)(0xffff >> (16 - bl_min(16, count - j)));
        __m512 values = _mm512_maskz_loadu_ps(in, x + j), limits = _mm512_maskz_loadu_ps(in, threshold + j);
        word |= (uint64_t)_mm512_mask_cmp_ps_mask(in, values, limits, _CMP_GE_OQ) << j;
    }
    return word;
}

BL_TARGET_AVX512 static inline uint64_t pack_float64(const double *x, const double *threshold, intptr_t count)
{
    uint64_t word = 0;
    for (intptr_t j = 0; j < count; j += 8) {
        __mmask8 in = (__mmask8)(0xff >> (8 - bl_min(8, count - j)));
        __m512d values = _mm512_maskz_loadu_pd(in, x + j), limits = _mm512_maskz_loadu_pd(in, threshold + j);
        word |= (uint64_t)_mm512_mask_cmp_pd_mask(in, values, limits, _CMP_GE_OQ) << j;
    }
    return word;
}

BL_TARGET_AVX512 void bl_pack_avx512(const void *x, int x_type, const void *threshold, intptr_t rows, int64_t n,
                                     uint64_t *out)
{
    const float *xf = x, *tf = threshold;
    const double *xd = x, *td = threshold;
    for (intptr_t i = 0; i < rows; i++)
        for (intptr_t j = 0; j < n; j += 64) {
            intptr_t count = bl_min(64, n - j);
            *out++ = x_type == BL_FLOAT32 ? pack_float32(xf + i * n + j, tf + j, count)
                                          : pack_float64(xd + i * n + j, td + j, count);
        }
}

#endif
