/* Integers of few bits to bit planes: 32 values an instruction and plane. */
#include "avx2.h"

#ifdef BL_X86_64

#define TARGET BL_TARGET_AVX2
#define transpose bl_transpose_avx2

TARGET static inline int split(const int8_t *values, int bits, uint64_t *out, intptr_t stride);

#include "../planes.h"

/* The top bits of 64 bytes. */
TARGET BL_INLINE uint64_t top_bits(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

TARGET static inline int split(const int8_t *values, int bits, uint64_t *out, intptr_t stride)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)values);
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(values + 32));
    if (bits == 1) {
        const __m256i one = _mm256_set1_epi8(1);
        *out = top_bits(_mm256_cmpeq_epi8(low, one), _mm256_cmpeq_epi8(high, one));
        return top_bits(_mm256_cmpeq_epi8(_mm256_abs_epi8(low), one), _mm256_cmpeq_epi8(_mm256_abs_epi8(high), one)) !=
               ~UINT64_C(0);
    }
    const bl_code_range range = bl_code_range_of(bits);
    for (int p = 0; p < bits; p++)
        out[p * stride] = top_bits(_mm256_slli_epi16(low, 7 - p), _mm256_slli_epi16(high, 7 - p));
    const __m256i add = _mm256_set1_epi8((char)range.add), over = _mm256_set1_epi8((char)range.high);
    __m256i any = _mm256_or_si256(_mm256_add_epi8(low, add), _mm256_add_epi8(high, add));
    return !_mm256_testz_si256(any, over);
}

void bl_split_planes_avx2(const int8_t *g, intptr_t m, intptr_t k, int bits, uint64_t *out, uint8_t *outside)
{
    split_rows(g, m, k, bits, out, outside);
}

void bl_split_columns_avx2(const int8_t *g, intptr_t m, intptr_t channels, intptr_t first, intptr_t k, int bits,
                           uint64_t *out, uint8_t *outside)
{
    split_transposed(g, m, channels, first, k, bits, out, outside);
}

#endif
