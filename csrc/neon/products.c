/* Products of bits with bits: counts of bytes, summed as bytes as long as they fit, dots of 4 rows with 4 columns. */
#include "neon.h"

#ifdef BL_AARCH64

/* The words whose counts are summed in bytes: a step of two words adds at most 8 to each, and 31 * 8 = 248. */
#define WORDS 62

/* Words p and p + 1, or p alone: a load of half a vector reads nothing else. */
BL_INLINE uint8x16_t load(const uint64_t *x, intptr_t p, int half)
{
    return vreinterpretq_u8_u64(half ? vcombine_u64(vld1_u64(x + p), vdup_n_u64(0)) : vld1q_u64(x + p));
}

/* bytes[r][c] += the counts of (a[r] ^ b[c]) & valid[r]. */
BL_INLINE void step(const uint64_t *const *a, const uint64_t *const *valid, const uint64_t *const b[4], intptr_t p,
                    int half, uint8x16_t bytes[BL_ROWS][4])
{
    uint8x16_t row[BL_ROWS];
    for (int r = 0; r < BL_ROWS; r++)
        row[r] = load(a[r], p, half);
    for (int c = 0; c < 4; c++) {
        uint8x16_t column = load(b[c], p, half);
        for (int r = 0; r < BL_ROWS; r++) {
            uint8x16_t differ = veorq_u8(row[r], column);
            if (valid)
                differ = vandq_u8(differ, load(valid[r], p, half));
            bytes[r][c] = vaddq_u8(bytes[r][c], vcntq_u8(differ));
        }
    }
}

/* counts[0 .. 4) += the sums of four vectors of bytes. The sums of pairs of pairs are below 2^16 by far. */
BL_INLINE void flush(const uint8x16_t bytes[4], int32_t *counts)
{
    uint16x8_t s01 = vpaddq_u16(vpaddlq_u8(bytes[0]), vpaddlq_u8(bytes[1]));
    uint16x8_t s23 = vpaddq_u16(vpaddlq_u8(bytes[2]), vpaddlq_u8(bytes[3]));
    uint32x4_t sum = vreinterpretq_u32_s32(vld1q_s32(counts));
    vst1q_s32(counts, vreinterpretq_s32_u32(vpadalq_u16(sum, vpaddq_u16(s01, s23))));
}

BL_INLINE void dot_tile(const uint64_t *const *a, const uint64_t *const *valid, const uint64_t *const b[4],
                        intptr_t words, int32_t (*counts)[BL_COLUMNS], intptr_t c)
{
    for (intptr_t from = 0; from < words; from += WORDS) {
        intptr_t p = from, to = bl_min(from + WORDS, words);
        uint8x16_t bytes[BL_ROWS][4];
        for (int r = 0; r < BL_ROWS; r++)
            for (int q = 0; q < 4; q++)
                bytes[r][q] = vdupq_n_u8(0);
        for (; p + 2 <= to; p += 2)
            step(a, valid, b, p, 0, bytes);
        if (p < to)
            step(a, valid, b, p, 1, bytes);
        for (int r = 0; r < BL_ROWS; r++)
            flush(bytes[r], counts[r] + c);
    }
}

static void xnor_block(const uint64_t *const a[BL_ROWS], const uint64_t *const valid[BL_ROWS], const uint64_t *b,
                       intptr_t b_stride, intptr_t columns, intptr_t words, int32_t counts[BL_ROWS][BL_COLUMNS])
{
    for (intptr_t c = 0; c < columns; c += 4) {
        const uint64_t *four[4];
        for (int q = 0; q < 4; q++)
            four[q] = b + bl_min(c + q, columns - 1) * b_stride;
        if (valid)
            dot_tile(a, valid, four, words, counts, c);
        else
            dot_tile(a, NULL, four, words, counts, c);
    }
}

/* Products with column panels on cnt: 4 rows and 8 columns of byte counts in registers, xor, count and add for each
   vector of two words; pairwise additions sum the bytes of a word, so a count is never reduced across columns. */

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

static const bl_product_blocks blocks = {.words = xnor_block, .panel = panel_block};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_neon parameters { bl_##name##_blocked(&blocks, BL_UNWRAP arguments); }
BL_XNOR_KERNELS(KERNEL)

#endif
