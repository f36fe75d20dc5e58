/* Products of bits with bits on vpopcntq. */
#include "quads.h"

#ifdef BL_X86_64

#include "../avx512bw/matmul.h"
#include "../avx512bw/panels.h"

BL_TARGET_AVX512 BL_INLINE __m512i popcount(__m512i x) { return _mm512_popcnt_epi64(x); }

BL_TARGET_AVX512 static void xnor_block(const uint64_t *const a[BL_ROWS], const uint64_t *const valid[BL_ROWS],
                                        const uint64_t *b, intptr_t b_stride, intptr_t columns, intptr_t words,
                                        int32_t counts[BL_ROWS][BL_COLUMNS])
{
    bl_xnor_block512(popcount, a, valid, b, b_stride, columns, words, counts);
}

/* Products with column panels on vpopcntq: a tile of up to 6 rows and 32 columns lives in registers for the whole depth,
   so a count is never reduced across lanes. 24 accumulators, 4 vectors of the panel, a broadcast word of a row and a
   temporary: 30 of 32 registers. */

/* acc[r][q] = counts of row r in columns [8 * q, 8 * q + 8). rows and vectors are constants where it is inlined. */
BL_TARGET_AVX512 BL_INLINE void panel_tile(int rows, int vectors, const uint64_t *const *a, const uint64_t *panel,
                                           intptr_t words, __m512i (*acc)[4])
{
    for (int r = 0; r < rows; r++)
        for (int q = 0; q < vectors; q++)
            acc[r][q] = _mm512_setzero_si512();
    for (intptr_t p = 0; p < words; p++, panel += 8 * vectors) {
        __m512i column[4];
        for (int q = 0; q < vectors; q++)
            column[q] = _mm512_loadu_si512(panel + 8 * q);
        for (int r = 0; r < rows; r++) {
            __m512i row = _mm512_set1_epi64((long long)a[r][p]);
            for (int q = 0; q < vectors; q++)
                acc[r][q] = _mm512_add_epi64(acc[r][q], _mm512_popcnt_epi64(_mm512_xor_si512(row, column[q])));
        }
    }
}

BL_TARGET_AVX512 static void panel_block(const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words,
                                         intptr_t column, intptr_t width, const int32_t *bases, intptr_t bases_stride,
                                         const bl_xnor_result *result)
{
    bl_panel_block512(panel_tile, MOST_ROWS, a, panel, m, words, column, width, bases, bases_stride, result);
}

BL_TARGET_AVX512 void bl_add_counts_avx512(const uint64_t *panel, intptr_t stride, intptr_t from, intptr_t to,
                                           int32_t *counts)
{
    for (intptr_t c = 0; c < stride; c += 8) {
        __m512i sum = _mm512_setzero_si512();
        for (intptr_t p = from; p < to; p++)
            sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_loadu_si512(panel + p * stride + c)));
        __m256i *at = (__m256i *)(void *)(counts + c);
        _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), _mm512_cvtepi64_epi32(sum)));
    }
}

static const bl_product_blocks blocks = {xnor_block, panel_block, bl_multiply_quads, bl_recode_rows,
                                         bl_differing_rows_avx2};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_avx512 parameters { bl_##name##_blocked(&blocks, BL_UNWRAP arguments); }
BL_MATMUL_KERNELS(KERNEL)
BL_CONV2D_KERNELS(KERNEL)
BL_NEAREST_KERNELS(KERNEL)

void bl_planes_matmul_avx512(const uint64_t *planes, int bits, const uint64_t *panels, const uint8_t *recoded,
                             intptr_t m, intptr_t k, intptr_t words, int64_t n, int accumulate, int32_t *out,
                             uint8_t *scratch)
{
    if (recoded)
        bl_multiply_planes(planes, bits, panels, recoded, m, k, words, n, accumulate, out, scratch);
    else
        bl_planes_matmul_blocked(&blocks, planes, bits, panels, NULL, m, k, words, n, accumulate, out, NULL);
}

#endif
