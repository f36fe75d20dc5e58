/* Packing with compare and sign mask: eight floats, or four doubles, an instruction. */
#include "avx2.h"

#ifdef BL_X86_64

/* Bits of x[0 .. 64) >= threshold[0 .. 64). */
BL_TARGET_AVX2 static inline uint64_t pack_float32(const float *x, const float *threshold)
{
    uint64_t word = 0;
    for (int j = 0; j < 64; j += 8) {
        __m256 set = _mm256_cmp_ps(_mm256_loadu_ps(x + j), _mm256_loadu_ps(threshold + j), _CMP_GE_OQ);
        word |= (uint64_t)(unsigned)_mm256_movemask_ps(set) << j;
    }
    return word;
}

BL_TARGET_AVX2 static inline uint64_t pack_float64(const double *x, const double *threshold)
{
    uint64_t word = 0;
    for (int j = 0; j < 64; j += 4) {
        __m256d set = _mm256_cmp_pd(_mm256_loadu_pd(x + j), _mm256_loadu_pd(threshold + j), _CMP_GE_OQ);
        word |= (uint64_t)(unsigned)_mm256_movemask_pd(set) << j;
    }
    return word;
}

BL_TARGET_AVX2 void bl_pack_avx2(const void *x, int x_type, const void *threshold, intptr_t rows, int64_t n,
                                 uint64_t *out)
{
    const float *xf = x, *tf = threshold;
    const double *xd = x, *td = threshold;
    for (intptr_t i = 0; i < rows; i++) {
        intptr_t j = 0;
        for (; j + 64 <= n; j += 64)
            *out++ = x_type == BL_FLOAT32 ? pack_float32(xf + i * n + j, tf + j) : pack_float64(xd + i * n + j, td + j);
        uint64_t last = 0;
        for (intptr_t c = 0; j + c < n; c++) {
            int set = x_type == BL_FLOAT32 ? xf[i * n + j + c] >= tf[j + c] : xd[i * n + j + c] >= td[j + c];
            last |= (uint64_t)set << c;
        }
        if (j < n)
            *out++ = last;
    }
}

#endif
