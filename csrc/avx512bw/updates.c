/* Updates of parameters compiled for AVX-512 (F, BW, VL, DQ), whose instructions convert float16. */
#include "avx512bw.h"

#ifdef BL_X86_64

/* Not always inlined: the loops between are not for AVX-512 until they are inlined themselves. */
#define BL_OWN_FLOAT16
BL_TARGET_AVX512BW static inline void bl_from_halves(const uint16_t *halves, intptr_t count, float *values)
{
    for (intptr_t j = 0; j < count; j += 16) {
        const __mmask16 in = (__mmask16)(0xffff >> (16 - bl_min(16, count - j)));
        _mm512_mask_storeu_ps(values + j, in, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(in, halves + j)));
    }
}

BL_TARGET_AVX512BW static inline void bl_to_halves(const float *values, intptr_t count, uint16_t *halves)
{
    for (intptr_t j = 0; j < count; j += 16) {
        const __mmask16 in = (__mmask16)(0xffff >> (16 - bl_min(16, count - j)));
        const __m512 wide = _mm512_maskz_loadu_ps(in, values + j);
        _mm256_mask_storeu_epi16(halves + j, in, _mm512_cvtps_ph(wide, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
}

#include "../updates.h"

BL_DEFINE_UPDATE_KERNELS(avx512bw, BL_TARGET_AVX512BW)

#endif
