/* Products of gradients with bits: bits become lane masks once for four rows. Half of the 32 registers hold four rows
   of four vectors, so a block goes over its terms two or four times, each time for other columns. */
#include "neon.h"

#ifdef BL_AARCH64

/* The vectors of a row that are summed at a time. */
#define VECTORS 4

/* sums[c] += 2 * set[c] - total for four columns; `twice` is 2 * set. */
BL_INLINE void finish4(int32x4_t twice, int32_t total, int64_t *sums)
{
    int32x4_t sum = vsubq_s32(twice, vdupq_n_s32(total));
    vst1q_s64(sums, vaddw_s32(vld1q_s64(sums), vget_low_s32(sum)));
    vst1q_s64(sums + 2, vaddw_s32(vld1q_s64(sums + 2), vget_high_s32(sum)));
}

/* Lane c is -1 where bit c is set, else 0. */
BL_INLINE int16x8_t expand8(uint64_t bits)
{
    static const uint16_t select[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    return vreinterpretq_s16_u16(vtstq_u16(vdupq_n_u16((uint16_t)bits), vld1q_u16(select)));
}

BL_INLINE int32x4_t expand4(uint64_t bits)
{
    static const uint32_t select[4] = {1, 2, 4, 8};
    return vreinterpretq_s32_u32(vtstq_u32(vdupq_n_u32((uint32_t)bits), vld1q_u32(select)));
}

/* Subtracting mask * g adds g where the bit is set, in one instruction instead of two. */
static void block_int8(const bl_terms *terms, const uint64_t *bits, intptr_t stride, intptr_t count, bl_sums *sums)
{
    int32_t total[BL_ROWS] = {0};
    for (int r = 0; r < BL_ROWS; r++)
        for (intptr_t t = 0; t < count; t++)
            total[r] += terms->int8[r][t];
    for (int column = 0; column < BL_COLUMNS; column += 8 * VECTORS) {
        int16x8_t set[BL_ROWS][VECTORS];
        for (int r = 0; r < BL_ROWS; r++)
            for (int v = 0; v < VECTORS; v++)
                set[r][v] = vdupq_n_s16(0);
        for (intptr_t t = 0; t < count; t++) {
            uint64_t word = bits[t * stride] >> column;
            int16x8_t mask[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                mask[v] = expand8(word >> (8 * v));
            for (int r = 0; r < BL_ROWS; r++) {
                int16x8_t g = vdupq_n_s16(terms->int8[r][t]);
                for (int v = 0; v < VECTORS; v++)
                    set[r][v] = vmlsq_s16(set[r][v], mask[v], g);
            }
        }
        for (int r = 0; r < BL_ROWS; r++)
            for (int v = 0; v < VECTORS; v++) {
                int64_t *to = sums->integer[r] + column + 8 * v;
                finish4(vshll_n_s16(vget_low_s16(set[r][v]), 1), total[r], to);
                finish4(vshll_n_s16(vget_high_s16(set[r][v]), 1), total[r], to + 4);
            }
    }
}

static void block_int16(const bl_terms *terms, const uint64_t *bits, intptr_t stride, intptr_t count, bl_sums *sums)
{
    int32_t total[BL_ROWS] = {0};
    for (int r = 0; r < BL_ROWS; r++)
        for (intptr_t t = 0; t < count; t++)
            total[r] += terms->int16[r][t];
    for (int column = 0; column < BL_COLUMNS; column += 4 * VECTORS) {
        int32x4_t set[BL_ROWS][VECTORS];
        for (int r = 0; r < BL_ROWS; r++)
            for (int v = 0; v < VECTORS; v++)
                set[r][v] = vdupq_n_s32(0);
        for (intptr_t t = 0; t < count; t++) {
            uint64_t word = bits[t * stride] >> column;
            int32x4_t mask[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                mask[v] = expand4(word >> (4 * v));
            for (int r = 0; r < BL_ROWS; r++) {
                int32x4_t g = vdupq_n_s32(terms->int16[r][t]);
                for (int v = 0; v < VECTORS; v++)
                    set[r][v] = vmlsq_s32(set[r][v], mask[v], g);
            }
        }
        for (int r = 0; r < BL_ROWS; r++)
            for (int v = 0; v < VECTORS; v++)
                finish4(vshlq_n_s32(set[r][v], 1), total[r], sums->integer[r] + column + 4 * v);
    }
}

/* The signs +1 and -1 are made once for four rows; a fused multiply-add by them rounds as an addition does, for the
   product is exact. */
static void block_float32(const bl_terms *terms, const uint64_t *bits, intptr_t stride, intptr_t count, bl_sums *sums)
{
    const float32x4_t plus = vdupq_n_f32(1.0f), minus = vdupq_n_f32(-1.0f);
    for (int column = 0; column < BL_COLUMNS; column += 4 * VECTORS) {
        float32x4_t sum[BL_ROWS][VECTORS];
        for (int r = 0; r < BL_ROWS; r++)
            for (int v = 0; v < VECTORS; v++)
                sum[r][v] = vdupq_n_f32(0.0f);
        for (intptr_t t = 0; t < count; t++) {
            uint64_t word = bits[t * stride] >> column;
            float32x4_t sign[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                sign[v] = vbslq_f32(vreinterpretq_u32_s32(expand4(word >> (4 * v))), plus, minus);
            for (int r = 0; r < BL_ROWS; r++) {
                float32x4_t g = vdupq_n_f32(terms->float32[r][t]);
                for (int v = 0; v < VECTORS; v++)
                    sum[r][v] = vfmaq_f32(sum[r][v], sign[v], g);
            }
        }
        for (int r = 0; r < BL_ROWS; r++)
            for (int v = 0; v < VECTORS; v++) {
                float *to = sums->real[r] + column + 4 * v;
                vst1q_f32(to, vaddq_f32(vld1q_f32(to), sum[r][v]));
            }
    }
}

static const bl_gradient_blocks blocks = {.int8 = block_int8, .int16 = block_int16, .float32 = block_float32};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_neon parameters { bl_##name##_blocked(&blocks, BL_UNWRAP arguments); }
BL_GRADIENT_KERNELS(KERNEL)

#endif
