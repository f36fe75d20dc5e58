/* Products of int8 gradients with bits: a group of four terms of a row is broadcast to four columns of the panel, of +1
   and -1, and one instruction adds its four products to an int32 sum. A tile of 6 rows and 16 columns lives in registers
   for the whole block: 24 accumulators, 4 vectors of the panel and a broadcast. int16 and floats stay with neon. */
#include "neondot.h"

#ifdef BL_AARCH64

#define ROWS 6
#define VECTORS 4

BL_TARGET_NEONDOT static void product_int8(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums,
                                           int add)
{
    for (int column = 0; column < BL_COLUMNS; column += 4 * VECTORS)
        for (intptr_t i = 0; i < rows->count; i += ROWS) {
            const char *at[ROWS];
            int32x4_t sum[ROWS][VECTORS];
            bl_tile_rows_neon(rows, i, ROWS, at);
            for (int r = 0; r < ROWS; r++)
                for (int v = 0; v < VECTORS; v++)
                    sum[r][v] = vdupq_n_s32(0);
            for (intptr_t g = 0; g < groups; g++) {
                const int8_t *columns = (const int8_t *)panel + g * BL_PANEL_BYTES + BL_GROUP_BYTES * column;
                int8x16_t signs[VECTORS];
                for (int v = 0; v < VECTORS; v++)
                    signs[v] = vld1q_s8(columns + 16 * v);
                for (int r = 0; r < ROWS; r++) {
                    int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(bl_load4_neon(at[r] + g * rows->step)));
                    for (int v = 0; v < VECTORS; v++)
                        sum[r][v] = vdotq_s32(sum[r][v], signs[v], four);
                }
            }
            for (int r = 0; r < ROWS && i + r < rows->count; r++) {
                int32_t *to = (int32_t *)sums + BL_COLUMNS * rows->slot[i + r] + column;
                for (int v = 0; v < VECTORS; v++, to += 4)
                    vst1q_s32(to, add ? vaddq_s32(vld1q_s32(to), sum[r][v]) : sum[r][v]);
            }
        }
}

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_neondot parameters                                                                                \
    {                                                                                                                  \
        bl_gradient_types types = bl_gradient_types_neon;                                                              \
        types.int8.product = product_int8;                                                                             \
        bl_##name##_blocked(&types, BL_UNWRAP arguments);                                                              \
    }
BL_GRADIENT_KERNELS(KERNEL)

#endif
