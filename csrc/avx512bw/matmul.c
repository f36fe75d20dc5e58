/* Products of bits with bits: counts of half bytes looked up, and summed by vpsadbw. What limits them on Intel's
   processors of this kind is the one port for both, twice as wide as with AVX2; with half-wide units (Zen 4) they are
   as fast as there, and kept for the others. */
#include "avx512bw.h"

#ifdef BL_X86_64

#define TARGET BL_TARGET_AVX512BW

TARGET BL_INLINE __m512i popcount(__m512i x)
{
    const __m512i zero = _mm512_setzero_si512();
    return _mm512_sad_epu8(bl_add_bytes(zero, x, bl_half_byte_counts()), zero);
}

#include "matmul.h"

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_avx512bw parameters { bl_##name##_blocked(xnor_block, BL_UNWRAP arguments); }
BL_XNOR_KERNELS(KERNEL)

#endif
