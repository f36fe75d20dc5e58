/* Products with column panels on cnt: 4 rows and 8 columns of byte counts in registers, xor, count and add for each
   vector of two words; pairwise additions sum the bytes of a word, so a count is never reduced across columns. */
#include "neon.h"

#ifdef BL_AARCH64

static void panel_tile(const uint64_t *const a[BL_ROWS], const uint64_t *panel, intptr_t stride, intptr_t words,
                       int32_t *counts)
{
    uint64x2_t total[BL_ROWS][4];
    for (int r = 0; r < BL_ROWS; r++)
        for (int q = 0; q < 4; q++)
            total[r][q] = vdupq_n_u64(0);
    for (intptr_t from = 0; from < words; from += 31) {
        intptr_t to = bl_min(from + 31, words); /* 31 * 8 = 248 fits a byte */
        uint8x16_t bytes[BL_ROWS][4];
        for (int r = 0; r < BL_ROWS; r++)
            for (int q = 0; q < 4; q++)
                bytes[r][q] = vdupq_n_u8(0);
        for (intptr_t p = from; p < to; p++) {
            uint64x2_t row[BL_ROWS];
            for (int r = 0; r < BL_ROWS; r++)
                row[r] = vdupq_n_u64(a[r][p]);
            for (int q = 0; q < 4; q++) {
                uint64x2_t column = vld1q_u64(panel + p * stride + 2 * q);
                for (int r = 0; r < BL_ROWS; r++)
                    bytes[r][q] = vaddq_u8(bytes[r][q], vcntq_u8(vreinterpretq_u8_u64(veorq_u64(row[r], column))));
            }
        }
        for (int r = 0; r < BL_ROWS; r++)
            for (int q = 0; q < 4; q++)
                total[r][q] = vpadalq_u32(total[r][q], vpaddlq_u16(vpaddlq_u8(bytes[r][q])));
    }
    for (int r = 0; r < BL_ROWS; r++)
        for (int q = 0; q < 4; q++)
            vst1_s32(counts + r * BL_PANEL + 2 * q, vreinterpret_s32_u32(vmovn_u64(total[r][q])));
}

static void panel_block(const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words, intptr_t column,
                        intptr_t width, const int32_t *bases, intptr_t bases_stride, const bl_xnor_result *result)
{
    bl_panel_block_of_tiles(panel_tile, a, panel, m, words, column, width, bases, bases_stride, result);
}

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_neon parameters { bl_##name##_blocked(panel_block, BL_UNWRAP arguments); }
BL_PANEL_KERNELS(KERNEL)

#endif
