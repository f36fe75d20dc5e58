/* Products with column panels on AVX2: 4 rows and 8 columns of byte counts in registers, from a table of the counts of
   half bytes; psadbw sums the bytes of a word, so a count is never reduced across columns. */
#include "avx2.h"

#ifdef BL_X86_64

#define ROWS 4

/* counts[r][0..8) of words [0, words) of eight columns; the next word of a column is `stride` further on. */
BL_TARGET_AVX2 BL_INLINE void tile(const uint64_t *const a[ROWS], const uint64_t *panel, intptr_t stride,
                                   intptr_t words, int64_t counts[ROWS][8])
{
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2,
                                           2, 3, 2, 3, 3, 4);
    const __m256i half = _mm256_set1_epi8(15);
    __m256i total[ROWS][2];
    for (int r = 0; r < ROWS; r++)
        total[r][0] = total[r][1] = _mm256_setzero_si256();
    for (intptr_t from = 0; from < words; from += 31) {
        intptr_t to = bl_min(from + 31, words); /* 31 * 8 = 248 fits a byte */
        __m256i bytes[ROWS][2];
        for (int r = 0; r < ROWS; r++)
            bytes[r][0] = bytes[r][1] = _mm256_setzero_si256();
        for (intptr_t p = from; p < to; p++)
            for (int q = 0; q < 2; q++) {
                __m256i column = _mm256_loadu_si256((const __m256i *)(panel + p * stride + 4 * q));
                for (int r = 0; r < ROWS; r++) {
                    __m256i x = _mm256_xor_si256(_mm256_set1_epi64x((long long)a[r][p]), column);
                    __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, half));
                    __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), half));
                    bytes[r][q] = _mm256_add_epi8(bytes[r][q], _mm256_add_epi8(low, high));
                }
            }
        for (int r = 0; r < ROWS; r++)
            for (int q = 0; q < 2; q++)
                total[r][q] = _mm256_add_epi64(total[r][q], _mm256_sad_epu8(bytes[r][q], _mm256_setzero_si256()));
    }
    for (int r = 0; r < ROWS; r++)
        for (int q = 0; q < 2; q++)
            _mm256_storeu_si256((__m256i *)(counts[r] + 4 * q), total[r][q]);
}

BL_TARGET_AVX2 static void panel_block(const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words,
                                       intptr_t column, intptr_t width, const int32_t *bases, intptr_t bases_stride,
                                       const bl_xnor_result *result)
{
    intptr_t stride = (width + 7) / 8 * 8;
    for (intptr_t i = 0; i < m; i += ROWS) {
        const uint64_t *rows[ROWS];
        int32_t counts[ROWS][BL_PANEL];
        for (int r = 0; r < ROWS; r++)
            rows[r] = a + bl_min(i + r, m - 1) * words;
        for (intptr_t c = 0; c < stride; c += 8) {
            int64_t wide[ROWS][8];
            tile(rows, panel + c, stride, words, wide);
            for (int r = 0; r < ROWS; r++)
                for (int j = 0; j < 8; j++)
                    counts[r][c + j] = (int32_t)wide[r][j];
        }
        for (int r = 0; r < ROWS && i + r < m; r++)
            bl_panel_finish(result, i + r, column, width, bases + (i + r) * bases_stride, counts[r]);
    }
}

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_avx2 parameters { bl_##name##_blocked(panel_block, BL_UNWRAP arguments); }
BL_PANEL_KERNELS(KERNEL)

#endif
