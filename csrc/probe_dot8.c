/* What the registers alone allow the products of int8 gradients: the dot instructions of a variant's kernel, on as many
   accumulators as its tile has, and no loads. As in probe.c an empty assembly statement says that an operand and a sum
   may have changed: no product leaves the loop, and equal ones are made each for itself. */
#include "variants.h"

#if defined(__GNUC__) && defined(BL_X86_64)
#include <immintrin.h>

/* Four int8 factors of 1, whose dot is 1, so that all sums count groups. */
#define FACTORS 0xfd02ff03 /* 3, -1, 2, -3 */

#define TIMES_12(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define TIMES_24(X) TIMES_12(X) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)

BL_TARGET_AVX512 static int64_t probe_avx512(int64_t iterations)
{
    __m512i panel = _mm512_set1_epi8(1), g = _mm512_set1_epi32((int32_t)FACTORS), sum = _mm512_setzero_si512();
#define START(i) __m512i s##i = sum;
#define STEP(i)                                                                                                        \
    s##i = _mm512_dpbusd_epi32(s##i, panel, g);                                                                        \
    __asm__ volatile("" : "+v"(panel), "+v"(s##i));
#define ADD(i) sum = _mm512_add_epi32(sum, s##i);
    TIMES_24(START)
    for (int64_t i = iterations * (BL_PROBE_PRODUCTS / (24 * 64)); i > 0; i--) {
        TIMES_24(STEP)
    }
    TIMES_24(ADD)
    return _mm512_reduce_add_epi32(sum);
#undef START
#undef STEP
#undef ADD
}

/* int16 sums of pairs, each 2 or -1 a step, added up after 64 steps as in the kernel. */
BL_TARGET_AVX2 static int64_t probe_avx2(int64_t iterations)
{
    __m256i panel = _mm256_set1_epi8(1), g = _mm256_set1_epi32((int32_t)FACTORS), sum = _mm256_setzero_si256();
    const __m256i ones = _mm256_set1_epi16(1);
    int64_t steps = iterations * (BL_PROBE_PRODUCTS / (12 * 32));
    while (steps > 0) {
        int64_t now = bl_min(steps, 64);
#define START(i) __m256i s##i = _mm256_setzero_si256();
#define STEP(i)                                                                                                        \
    s##i = _mm256_add_epi16(s##i, _mm256_maddubs_epi16(panel, g));                                                     \
    __asm__ volatile("" : "+x"(panel), "+x"(s##i));
#define ADD(i) sum = _mm256_add_epi32(sum, _mm256_madd_epi16(s##i, ones));
        TIMES_12(START)
        for (int64_t i = 0; i < now; i++) {
            TIMES_12(STEP)
        }
        TIMES_12(ADD)
        steps -= now;
    }
    int32_t lanes[8];
    int64_t total = 0;
    _mm256_storeu_si256((__m256i *)lanes, sum);
    for (int c = 0; c < 8; c++)
        total += lanes[c];
    return total;
}

int64_t bl_probe_dot8(int variant, int64_t iterations)
{
    const char *name = bl_variant_name(variant);
    return strcmp(name, "avx512") == 0 ? probe_avx512(iterations)
           : strcmp(name, "avx2") == 0 ? probe_avx2(iterations)
                                       : -1;
}

#else

int64_t bl_probe_dot8(int variant, int64_t iterations)
{
    (void)variant, (void)iterations;
    return -1;
}

#endif
