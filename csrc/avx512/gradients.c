/* Products of gradients with bits: a word is the mask of masked additions, shared by four rows. */
#include "avx512.h"

#ifdef BL_X86_64

/* sums[c] += 2 * set[c] - total for sixteen columns. */
BL_TARGET_AVX512 BL_INLINE void finish16(__m512i set, int32_t total, int64_t *sums)
{
    __m512i sum = _mm512_sub_epi32(_mm512_add_epi32(set, set), _mm512_set1_epi32(total));
    __m512i low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(sum));
    __m512i high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(sum, 1));
    _mm512_storeu_si512(sums, _mm512_add_epi64(_mm512_loadu_si512(sums), low));
    _mm512_storeu_si512(sums + 8, _mm512_add_epi64(_mm512_loadu_si512(sums + 8), high));
}

/* Sums of at most BL_TERMS int8 terms fit 16-bit lanes: twice the additions an instruction. */
BL_TARGET_AVX512 static void block_int8(const bl_terms *terms, const uint64_t *bits, intptr_t stride, intptr_t count,
                                        bl_sums *sums)
{
    __m512i set[BL_ROWS][2];
    int32_t total[BL_ROWS] = {0};
    for (int r = 0; r < BL_ROWS; r++)
        set[r][0] = set[r][1] = _mm512_setzero_si512();
    for (intptr_t t = 0; t < count; t++) {
        uint64_t word = bits[t * stride];
        for (int r = 0; r < BL_ROWS; r++) {
            __m512i g = _mm512_set1_epi16(terms->int8[r][t]);
            set[r][0] = _mm512_mask_add_epi16(set[r][0], (__mmask32)word, set[r][0], g);
            set[r][1] = _mm512_mask_add_epi16(set[r][1], (__mmask32)(word >> 32), set[r][1], g);
        }
    }
    for (int r = 0; r < BL_ROWS; r++) {
        for (intptr_t t = 0; t < count; t++)
            total[r] += terms->int8[r][t];
        for (int h = 0; h < 2; h++) {
            __m512i low = _mm512_cvtepi16_epi32(_mm512_castsi512_si256(set[r][h]));
            __m512i high = _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(set[r][h], 1));
            finish16(low, total[r], sums->integer[r] + 32 * h);
            finish16(high, total[r], sums->integer[r] + 32 * h + 16);
        }
    }
}

BL_TARGET_AVX512 static void block_int16(const bl_terms *terms, const uint64_t *bits, intptr_t stride, intptr_t count,
                                         bl_sums *sums)
{
    __m512i set[BL_ROWS][4];
    int32_t total[BL_ROWS] = {0};
    for (int r = 0; r < BL_ROWS; r++)
        for (int q = 0; q < 4; q++)
            set[r][q] = _mm512_setzero_si512();
    for (intptr_t t = 0; t < count; t++) {
        uint64_t word = bits[t * stride];
        for (int r = 0; r < BL_ROWS; r++) {
            __m512i g = _mm512_set1_epi32(terms->int16[r][t]);
            for (int q = 0; q < 4; q++)
                set[r][q] = _mm512_mask_add_epi32(set[r][q], (__mmask16)(word >> (16 * q)), set[r][q], g);
        }
    }
    for (int r = 0; r < BL_ROWS; r++) {
        for (intptr_t t = 0; t < count; t++)
            total[r] += terms->int16[r][t];
        for (int q = 0; q < 4; q++)
            finish16(set[r][q], total[r], sums->integer[r] + 16 * q);
    }
}

/* The signs +1 and -1 are made once for four rows; a fused multiply-add by them rounds as an addition does, for the
   product is exact. */
BL_TARGET_AVX512 static void block_float32(const bl_terms *terms, const uint64_t *bits, intptr_t stride,
                                           intptr_t count, bl_sums *sums)
{
    const __m512 plus = _mm512_set1_ps(1.0f), minus = _mm512_set1_ps(-1.0f);
    __m512 sum[BL_ROWS][4];
    for (int r = 0; r < BL_ROWS; r++)
        for (int q = 0; q < 4; q++)
            sum[r][q] = _mm512_setzero_ps();
    for (intptr_t t = 0; t < count; t++) {
        uint64_t word = bits[t * stride];
        __m512 sign[4];
        for (int q = 0; q < 4; q++)
            sign[q] = _mm512_mask_blend_ps((__mmask16)(word >> (16 * q)), minus, plus);
        for (int r = 0; r < BL_ROWS; r++) {
            __m512 g = _mm512_set1_ps(terms->float32[r][t]);
            for (int q = 0; q < 4; q++)
                sum[r][q] = _mm512_fmadd_ps(g, sign[q], sum[r][q]);
        }
    }
    for (int r = 0; r < BL_ROWS; r++)
        for (int q = 0; q < 4; q++) {
            float *to = sums->real[r] + 16 * q;
            _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), sum[r][q]));
        }
}

static const bl_gradient_blocks blocks = {.int8 = block_int8, .int16 = block_int16, .float32 = block_float32};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_avx512 parameters { bl_##name##_blocked(&blocks, BL_UNWRAP arguments); }
BL_GRADIENT_KERNELS(KERNEL)

#endif
