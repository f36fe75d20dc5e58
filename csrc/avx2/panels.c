/* Products with column panels on AVX2: 4 rows and 8 columns of byte counts in registers, from a table of the counts of
   half bytes; psadbw sums the bytes of a word, so a count is never reduced across columns. */
#include "avx2.h"

#ifdef BL_X86_64

BL_TARGET_AVX2 static void panel_tile(const uint64_t *const a[BL_ROWS], const uint64_t *panel, intptr_t stride,
                                      intptr_t words, int32_t *counts)
{
    const __m256i table = _mm256_setr_epi8(BL_NIBBLE_COUNTS, BL_NIBBLE_COUNTS);
    const __m256i half = _mm256_set1_epi8(15);
    __m256i total[BL_ROWS][2];
    for (int r = 0; r < BL_ROWS; r++)
        total[r][0] = total[r][1] = _mm256_setzero_si256();
    for (intptr_t from = 0; from < words; from += 31) {
        intptr_t to = bl_min(from + 31, words); /* 31 * 8 = 248 fits a byte */
        __m256i bytes[BL_ROWS][2];
        for (int r = 0; r < BL_ROWS; r++)
            bytes[r][0] = bytes[r][1] = _mm256_setzero_si256();
        for (intptr_t p = from; p < to; p++)
            for (int q = 0; q < 2; q++) {
                __m256i column = _mm256_loadu_si256((const __m256i *)(panel + p * stride + 4 * q));
                for (int r = 0; r < BL_ROWS; r++) {
                    __m256i x = _mm256_xor_si256(_mm256_set1_epi64x((long long)a[r][p]), column);
                    __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, half));
                    __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), half));
                    bytes[r][q] = _mm256_add_epi8(bytes[r][q], _mm256_add_epi8(low, high));
                }
            }
        for (int r = 0; r < BL_ROWS; r++)
            for (int q = 0; q < 2; q++)
                total[r][q] = _mm256_add_epi64(total[r][q], _mm256_sad_epu8(bytes[r][q], _mm256_setzero_si256()));
    }
    for (int r = 0; r < BL_ROWS; r++) {
        /* The low halves of the sums, 0 1 4 5 2 3 6 7. */
        __m256 low = _mm256_shuffle_ps(_mm256_castsi256_ps(total[r][0]), _mm256_castsi256_ps(total[r][1]),
                                       _MM_SHUFFLE(2, 0, 2, 0));
        __m256i sums = _mm256_permute4x64_epi64(_mm256_castps_si256(low), _MM_SHUFFLE(3, 1, 2, 0));
        _mm256_storeu_si256((__m256i *)(counts + r * BL_PANEL), sums);
    }
}

static void panel_block(const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words, intptr_t column,
                        intptr_t width, const int32_t *bases, intptr_t bases_stride, const bl_xnor_result *result)
{
    bl_panel_block_of_tiles(panel_tile, a, panel, m, words, column, width, bases, bases_stride, result);
}

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_avx2 parameters { bl_##name##_blocked(panel_block, BL_UNWRAP arguments); }
BL_PANEL_KERNELS(KERNEL)

#endif
