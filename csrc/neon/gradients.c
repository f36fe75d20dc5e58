/* Products of gradients with bits: a group of terms of a row, four bytes, is broadcast to four columns of the panel. A
   tile of 3 rows (6 of floats) and 16 columns lives in registers for the whole block: 24 accumulators, 4 vectors of the
   panel and a broadcast. */
#include "neon.h"

#ifdef BL_AARCH64

#define ROWS 3
#define FLOAT_ROWS 6
#define VECTORS 4

/* A sum of int8 products stays within int16: a block has 64 groups, and a lane takes one product of each. */
static void product_int8(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums, int add)
{
    for (int column = 0; column < BL_COLUMNS; column += 4 * VECTORS)
        for (intptr_t i = 0; i < rows->count; i += ROWS) {
            const char *at[ROWS];
            int16x8_t low[ROWS][VECTORS], high[ROWS][VECTORS];
            bl_tile_rows_neon(rows, i, ROWS, at);
            for (int r = 0; r < ROWS; r++)
                for (int v = 0; v < VECTORS; v++)
                    low[r][v] = high[r][v] = vdupq_n_s16(0);
            for (intptr_t g = 0; g < groups; g++) {
                const int8_t *columns = (const int8_t *)panel + g * BL_PANEL_BYTES + BL_GROUP_BYTES * column;
                for (int r = 0; r < ROWS; r++) {
                    int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(bl_load4_neon(at[r] + g * rows->step)));
                    for (int v = 0; v < VECTORS; v++) {
                        int8x16_t signs = vld1q_s8(columns + 16 * v);
                        low[r][v] = vmlal_s8(low[r][v], vget_low_s8(signs), vget_low_s8(four));
                        high[r][v] = vmlal_high_s8(high[r][v], signs, four);
                    }
                }
            }
            for (int r = 0; r < ROWS && i + r < rows->count; r++) {
                int32_t *to = (int32_t *)sums + BL_COLUMNS * rows->slot[i + r] + column;
                for (int v = 0; v < VECTORS; v++, to += 4) {
                    int32x4_t sum = vpaddq_s32(vpaddlq_s16(low[r][v]), vpaddlq_s16(high[r][v]));
                    vst1q_s32(to, add ? vaddq_s32(vld1q_s32(to), sum) : sum);
                }
            }
        }
}

static void product_int16(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums, int add)
{
    for (int column = 0; column < BL_COLUMNS; column += 4 * VECTORS)
        for (intptr_t i = 0; i < rows->count; i += ROWS) {
            const char *at[ROWS];
            int32x4_t low[ROWS][VECTORS], high[ROWS][VECTORS];
            bl_tile_rows_neon(rows, i, ROWS, at);
            for (int r = 0; r < ROWS; r++)
                for (int v = 0; v < VECTORS; v++)
                    low[r][v] = high[r][v] = vdupq_n_s32(0);
            for (intptr_t g = 0; g < groups; g++) {
                const char *columns = (const char *)panel + g * BL_PANEL_BYTES + BL_GROUP_BYTES * column;
                for (int r = 0; r < ROWS; r++) {
                    int16x8_t two = vreinterpretq_s16_s32(vdupq_n_s32(bl_load4_neon(at[r] + g * rows->step)));
                    for (int v = 0; v < VECTORS; v++) {
                        int16x8_t signs = vld1q_s16((const int16_t *)(columns + 16 * v));
                        low[r][v] = vmlal_s16(low[r][v], vget_low_s16(signs), vget_low_s16(two));
                        high[r][v] = vmlal_high_s16(high[r][v], signs, two);
                    }
                }
            }
            for (int r = 0; r < ROWS && i + r < rows->count; r++) {
                int32_t *to = (int32_t *)sums + BL_COLUMNS * rows->slot[i + r] + column;
                for (int v = 0; v < VECTORS; v++, to += 4) {
                    int32x4_t sum = vpaddq_s32(low[r][v], high[r][v]);
                    vst1q_s32(to, add ? vaddq_s32(vld1q_s32(to), sum) : sum);
                }
            }
        }
}

/* A fused multiply-add by +1 or -1 rounds as an addition does, for the product is exact. */
static void product_float32(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums, int add)
{
    for (int column = 0; column < BL_COLUMNS; column += 4 * VECTORS)
        for (intptr_t i = 0; i < rows->count; i += FLOAT_ROWS) {
            const char *at[FLOAT_ROWS];
            float32x4_t sum[FLOAT_ROWS][VECTORS];
            bl_tile_rows_neon(rows, i, FLOAT_ROWS, at);
            for (int r = 0; r < FLOAT_ROWS; r++)
                for (int v = 0; v < VECTORS; v++)
                    sum[r][v] = vdupq_n_f32(0.0f);
            for (intptr_t g = 0; g < groups; g++) {
                const float *columns = (const float *)panel + g * BL_COLUMNS + column;
                for (int r = 0; r < FLOAT_ROWS; r++) {
                    float32x4_t one = vreinterpretq_f32_s32(vdupq_n_s32(bl_load4_neon(at[r] + g * rows->step)));
                    for (int v = 0; v < VECTORS; v++)
                        sum[r][v] = vfmaq_f32(sum[r][v], one, vld1q_f32(columns + 4 * v));
                }
            }
            for (int r = 0; r < FLOAT_ROWS && i + r < rows->count; r++) {
                float *to = (float *)sums + BL_COLUMNS * rows->slot[i + r] + column;
                for (int v = 0; v < VECTORS; v++, to += 4)
                    vst1q_f32(to, add ? vaddq_f32(vld1q_f32(to), sum[r][v]) : sum[r][v]);
            }
        }
}

/* Four words to +1 and -1: byte t of lane c holds term t of column c. A table look-up brings to each place the byte of
   the word that has its bit; where the bit is clear the place becomes -1, and or'ed with 1 all others become 1. */
static void expand_int8(const uint64_t *bits, intptr_t groups, void *panel)
{
    static const uint8_t places[16] = {0, 8, 16, 24, 0, 8, 16, 24, 0, 8, 16, 24, 0, 8, 16, 24};
    static const uint8_t low_bits[16] = {1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8};
    const uint8x16_t select[2] = {vld1q_u8(low_bits), vshlq_n_u8(vld1q_u8(low_bits), 4)};
    uint8_t *to = panel;
    for (intptr_t g = 0; g < groups; g++) {
        const uint8_t *from = (const uint8_t *)(bits + 4 * g);
        uint8x16x2_t words = {{vld1q_u8(from), vld1q_u8(from + 16)}};
        uint8x16_t place = vld1q_u8(places);
        for (int h = 0; h < BL_COLUMNS / 4; h++, to += 16) {
            uint8x16_t clear = vceqzq_u8(vandq_u8(vqtbl2q_u8(words, place), select[h % 2]));
            vst1q_u8(to, vorrq_u8(clear, vdupq_n_u8(1)));
            place = vaddq_u8(place, vdupq_n_u8((uint8_t)(h % 2)));
        }
    }
}

/* Two words to +1 and -1, int16, the first in the low halves of the lanes. */
static void expand_int16(const uint64_t *bits, intptr_t groups, void *panel)
{
    static const uint8_t places[16] = {0, 0, 8, 8, 0, 0, 8, 8, 0, 0, 8, 8, 0, 0, 8, 8};
    static const uint16_t low_bits[8] = {1, 1, 2, 2, 4, 4, 8, 8};
    const uint16x8_t select[2] = {vld1q_u16(low_bits), vshlq_n_u16(vld1q_u16(low_bits), 4)};
    uint16_t *to = panel;
    for (intptr_t g = 0; g < groups; g++) {
        uint8x16_t words = vld1q_u8((const uint8_t *)(bits + 2 * g)), place = vld1q_u8(places);
        for (int h = 0; h < BL_COLUMNS / 4; h++, to += 8) {
            uint16x8_t byte = vreinterpretq_u16_u8(vqtbl1q_u8(words, place));
            uint16x8_t clear = vceqzq_u16(vandq_u16(byte, select[h % 2]));
            vst1q_u16(to, vorrq_u16(clear, vdupq_n_u16(1)));
            place = vaddq_u8(place, vdupq_n_u8((uint8_t)(h % 2)));
        }
    }
}

static void expand_float32(const uint64_t *bits, intptr_t groups, void *panel)
{
    static const uint32_t low_bits[4] = {1, 2, 4, 8};
    const uint32x4_t select = vld1q_u32(low_bits);
    const float32x4_t plus = vdupq_n_f32(1.0f), minus = vdupq_n_f32(-1.0f);
    float *to = panel;
    for (intptr_t g = 0; g < groups; g++)
        for (int h = 0; h < BL_COLUMNS / 4; h++, to += 4) {
            uint32x4_t set = vtstq_u32(vdupq_n_u32((uint32_t)(bits[g] >> (4 * h))), select);
            vst1q_f32(to, vbslq_f32(set, plus, minus));
        }
}

const bl_gradient_types bl_gradient_types_neon = {
    .int8 = {expand_int8, bl_interleave_int8, NULL, product_int8, bl_gradient_finish, NULL},
    .int16 = {expand_int16, bl_interleave_int16, NULL, product_int16, bl_gradient_finish, NULL},
    .float32 = {expand_float32, bl_interleave_float32, NULL, product_float32, bl_gradient_finish, NULL},
};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_neon parameters { bl_##name##_blocked(&bl_gradient_types_neon, BL_UNWRAP arguments); }
BL_GRADIENT_KERNELS(KERNEL)

#endif
