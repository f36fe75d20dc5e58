/* Products of gradients with bits: bits become lane masks once for four rows. Sixteen registers hold four rows of two
   vectors, so a block goes over its terms two or four times, each time for other columns. */
#include "avx2.h"

#ifdef BL_X86_64

/* sums[c] += 2 * set[c] - total for eight columns. */
BL_TARGET_AVX2 BL_INLINE void finish8(__m256i set, int32_t total, int64_t *sums)
{
    __m256i sum = _mm256_sub_epi32(_mm256_add_epi32(set, set), _mm256_set1_epi32(total));
    __m256i low = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(sum));
    __m256i high = _mm256_cvtepi32_epi64(_mm256_extracti128_si256(sum, 1));
    __m256i *to = (__m256i *)sums;
    _mm256_storeu_si256(to, _mm256_add_epi64(_mm256_loadu_si256(to), low));
    _mm256_storeu_si256(to + 1, _mm256_add_epi64(_mm256_loadu_si256(to + 1), high));
}

/* Lane c is all ones where bit c is set, else zero. */
BL_TARGET_AVX2 BL_INLINE __m256i expand16(uint64_t bits)
{
    const __m256i select = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384,
                                             (short)0x8000);
    return _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16((short)bits), select), select);
}

BL_TARGET_AVX2 BL_INLINE __m256i expand8(uint64_t bits)
{
    const __m256i select = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), select), select);
}

BL_TARGET_AVX2 static void block_int8(const bl_terms *terms, const uint64_t *bits, intptr_t stride, intptr_t count,
                                      bl_sums *sums)
{
    int32_t total[BL_ROWS] = {0};
    for (int r = 0; r < BL_ROWS; r++)
        for (intptr_t t = 0; t < count; t++)
            total[r] += terms->int8[r][t];
    for (int column = 0; column < BL_COLUMNS; column += 32) {
        __m256i set[BL_ROWS][2];
        for (int r = 0; r < BL_ROWS; r++)
            set[r][0] = set[r][1] = _mm256_setzero_si256();
        for (intptr_t t = 0; t < count; t++) {
            uint64_t word = bits[t * stride] >> column;
            __m256i mask0 = expand16(word), mask1 = expand16(word >> 16);
            for (int r = 0; r < BL_ROWS; r++) {
                __m256i g = _mm256_set1_epi16(terms->int8[r][t]);
                set[r][0] = _mm256_add_epi16(set[r][0], _mm256_and_si256(g, mask0));
                set[r][1] = _mm256_add_epi16(set[r][1], _mm256_and_si256(g, mask1));
            }
        }
        for (int r = 0; r < BL_ROWS; r++)
            for (int h = 0; h < 2; h++) {
                __m256i low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(set[r][h]));
                __m256i high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(set[r][h], 1));
                finish8(low, total[r], sums->integer[r] + column + 16 * h);
                finish8(high, total[r], sums->integer[r] + column + 16 * h + 8);
            }
    }
}

BL_TARGET_AVX2 static void block_int16(const bl_terms *terms, const uint64_t *bits, intptr_t stride, intptr_t count,
                                       bl_sums *sums)
{
    int32_t total[BL_ROWS] = {0};
    for (int r = 0; r < BL_ROWS; r++)
        for (intptr_t t = 0; t < count; t++)
            total[r] += terms->int16[r][t];
    for (int column = 0; column < BL_COLUMNS; column += 16) {
        __m256i set[BL_ROWS][2];
        for (int r = 0; r < BL_ROWS; r++)
            set[r][0] = set[r][1] = _mm256_setzero_si256();
        for (intptr_t t = 0; t < count; t++) {
            uint64_t word = bits[t * stride] >> column;
            __m256i mask0 = expand8(word), mask1 = expand8(word >> 8);
            for (int r = 0; r < BL_ROWS; r++) {
                __m256i g = _mm256_set1_epi32(terms->int16[r][t]);
                set[r][0] = _mm256_add_epi32(set[r][0], _mm256_and_si256(g, mask0));
                set[r][1] = _mm256_add_epi32(set[r][1], _mm256_and_si256(g, mask1));
            }
        }
        for (int r = 0; r < BL_ROWS; r++)
            for (int h = 0; h < 2; h++)
                finish8(set[r][h], total[r], sums->integer[r] + column + 8 * h);
    }
}

BL_TARGET_AVX2 static void block_float32(const bl_terms *terms, const uint64_t *bits, intptr_t stride, intptr_t count,
                                         bl_sums *sums)
{
    const __m256 minus = _mm256_set1_ps(-0.0f);
    for (int column = 0; column < BL_COLUMNS; column += 16) {
        __m256 sum[BL_ROWS][2];
        for (int r = 0; r < BL_ROWS; r++)
            sum[r][0] = sum[r][1] = _mm256_setzero_ps();
        for (intptr_t t = 0; t < count; t++) {
            uint64_t word = bits[t * stride] >> column;
            __m256 flip0 = _mm256_andnot_ps(_mm256_castsi256_ps(expand8(word)), minus);
            __m256 flip1 = _mm256_andnot_ps(_mm256_castsi256_ps(expand8(word >> 8)), minus);
            for (int r = 0; r < BL_ROWS; r++) {
                __m256 g = _mm256_set1_ps(terms->float32[r][t]);
                sum[r][0] = _mm256_add_ps(sum[r][0], _mm256_xor_ps(g, flip0));
                sum[r][1] = _mm256_add_ps(sum[r][1], _mm256_xor_ps(g, flip1));
            }
        }
        for (int r = 0; r < BL_ROWS; r++)
            for (int h = 0; h < 2; h++) {
                float *to = sums->real[r] + column + 8 * h;
                _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), sum[r][h]));
            }
    }
}

static const bl_gradient_blocks blocks = {.int8 = block_int8, .int16 = block_int16, .float32 = block_float32};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_avx2 parameters { bl_##name##_blocked(&blocks, BL_UNWRAP arguments); }
BL_GRADIENT_KERNELS(KERNEL)

#endif
