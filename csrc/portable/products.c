/* Products of bits with bits: counts of bytes, summed within the words. */
#include "portable.h"

static void xnor_block(const uint64_t *const a[BL_ROWS], const uint64_t *const valid[BL_ROWS], const uint64_t *b,
                       intptr_t b_stride, intptr_t columns, intptr_t words, int32_t counts[BL_ROWS][BL_COLUMNS])
{
    for (intptr_t c = 0; c < columns; c++, b += b_stride)
        for (int r = 0; r < BL_ROWS; r++)
            for (intptr_t from = 0; from < words; from += 31) {
                intptr_t to = bl_min(from + 31, words);
                uint64_t bytes = 0;
                if (valid)
                    for (intptr_t p = from; p < to; p++)
                        bytes += bl_popcount_bytes((a[r][p] ^ b[p]) & valid[r][p]);
                else
                    for (intptr_t p = from; p < to; p++)
                        bytes += bl_popcount_bytes(a[r][p] ^ b[p]);
                counts[r][c] += (int32_t)bl_sum_bytes(bytes);
            }
}

/* Sums of bytes, flushed within 31 words (31 * 8 = 248), side by side for all columns. */
static void panel_block(const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words, intptr_t column,
                        intptr_t width, const int32_t *bases, intptr_t bases_stride,
                        const bl_xnor_result *result)
{
    intptr_t stride = bl_panel_width(width);
    for (intptr_t i = 0; i < m; i++) {
        int32_t counts[BL_PANEL] = {0};
        for (intptr_t from = 0; from < words; from += 31) {
            uint64_t bytes[BL_PANEL] = {0};
            for (intptr_t p = from; p < bl_min(from + 31, words); p++)
                for (intptr_t c = 0; c < stride; c++)
                    bytes[c] += bl_popcount_bytes(a[i * words + p] ^ panel[p * stride + c]);
            for (intptr_t c = 0; c < stride; c++)
                counts[c] += (int32_t)bl_sum_bytes(bytes[c]);
        }
        bl_xnor_finish(result, i, column, width, bases + i * bases_stride, counts);
    }
}

static const bl_product_blocks blocks = {.words = xnor_block, .panel = panel_block};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_portable parameters { bl_##name##_blocked(&blocks, BL_UNWRAP arguments); }
BL_XNOR_KERNELS(KERNEL)
