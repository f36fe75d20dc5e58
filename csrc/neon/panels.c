/* Products with column panels on cnt: 4 rows and 8 columns of byte counts in registers, xor, count and add for each
   vector of two words; pairwise additions sum the bytes of a word, so a count is never reduced across columns. */
#include "neon.h"

#ifdef BL_AARCH64

#define ROWS 4

/* counts[r][0..8) of words [0, words) of eight columns; the next word of a column is `stride` further on. */
BL_INLINE void tile(const uint64_t *const a[ROWS], const uint64_t *panel, intptr_t stride, intptr_t words,
                    uint64_t counts[ROWS][8])
{
    uint64x2_t total[ROWS][4];
    for (int r = 0; r < ROWS; r++)
        for (int q = 0; q < 4; q++)
            total[r][q] = vdupq_n_u64(0);
    for (intptr_t from = 0; from < words; from += 31) {
        intptr_t to = bl_min(from + 31, words); /* 31 * 8 = 248 fits a byte */
        uint8x16_t bytes[ROWS][4];
        for (int r = 0; r < ROWS; r++)
            for (int q = 0; q < 4; q++)
                bytes[r][q] = vdupq_n_u8(0);
        for (intptr_t p = from; p < to; p++) {
            uint64x2_t row[ROWS];
            for (int r = 0; r < ROWS; r++)
                row[r] = vdupq_n_u64(a[r][p]);
            for (int q = 0; q < 4; q++) {
                uint64x2_t column = vld1q_u64(panel + p * stride + 2 * q);
                for (int r = 0; r < ROWS; r++)
                    bytes[r][q] = vaddq_u8(bytes[r][q], vcntq_u8(vreinterpretq_u8_u64(veorq_u64(row[r], column))));
            }
        }
        for (int r = 0; r < ROWS; r++)
            for (int q = 0; q < 4; q++)
                total[r][q] = vpadalq_u32(total[r][q], vpaddlq_u16(vpaddlq_u8(bytes[r][q])));
    }
    for (int r = 0; r < ROWS; r++)
        for (int q = 0; q < 4; q++)
            vst1q_u64(counts[r] + 2 * q, total[r][q]);
}

static void panel_block(const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words, intptr_t column,
                        intptr_t width, const int32_t *bases, intptr_t bases_stride, const bl_xnor_result *result)
{
    intptr_t stride = (width + 7) / 8 * 8;
    for (intptr_t i = 0; i < m; i += ROWS) {
        const uint64_t *rows[ROWS];
        int32_t counts[ROWS][BL_PANEL];
        for (int r = 0; r < ROWS; r++)
            rows[r] = a + bl_min(i + r, m - 1) * words;
        for (intptr_t c = 0; c < stride; c += 8) {
            uint64_t wide[ROWS][8];
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
    void bl_##name##_neon parameters { bl_##name##_blocked(panel_block, BL_UNWRAP arguments); }
BL_PANEL_KERNELS(KERNEL)

#endif
