/* Packing: comparisons narrowed to one byte a value, and bytes to bits by sums of powers of two. */
#include "neon.h"

#ifdef BL_AARCH64

/* All ones or all zeros, in 16 bytes instead of 16 lanes of 32 bits. */
BL_INLINE uint8x16_t narrow(const uint32x4_t set[4])
{
    uint16x8_t low = vcombine_u16(vmovn_u32(set[0]), vmovn_u32(set[1]));
    uint16x8_t high = vcombine_u16(vmovn_u32(set[2]), vmovn_u32(set[3]));
    return vcombine_u8(vmovn_u16(low), vmovn_u16(high));
}

/* Bit j = byte j, of 64. A sum of three pairs after another has one byte for eight. */
BL_INLINE uint64_t gather(const uint8x16_t set[4])
{
    static const uint8_t powers[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t bit = vld1q_u8(powers);
    uint8x16_t low = vpaddq_u8(vandq_u8(set[0], bit), vandq_u8(set[1], bit));
    uint8x16_t high = vpaddq_u8(vandq_u8(set[2], bit), vandq_u8(set[3], bit));
    uint8x16_t fours = vpaddq_u8(low, high);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(fours, fours)), 0);
}

/* Bits of x[0 .. 64) >= threshold[0 .. 64). */
static inline uint64_t pack_float32(const float *x, const float *threshold)
{
    uint8x16_t bytes[4];
    for (int part = 0; part < 4; part++) {
        uint32x4_t set[4];
        for (int v = 0; v < 4; v++) {
            int j = 16 * part + 4 * v;
            set[v] = vcgeq_f32(vld1q_f32(x + j), vld1q_f32(threshold + j));
        }
        bytes[part] = narrow(set);
    }
    return gather(bytes);
}

static inline uint64_t pack_float64(const double *x, const double *threshold)
{
    uint8x16_t bytes[4];
    for (int part = 0; part < 4; part++) {
        uint32x4_t set[4];
        for (int v = 0; v < 4; v++) {
            int j = 16 * part + 4 * v;
            uint64x2_t low = vcgeq_f64(vld1q_f64(x + j), vld1q_f64(threshold + j));
            uint64x2_t high = vcgeq_f64(vld1q_f64(x + j + 2), vld1q_f64(threshold + j + 2));
            set[v] = vcombine_u32(vmovn_u64(low), vmovn_u64(high));
        }
        bytes[part] = narrow(set);
    }
    return gather(bytes);
}

void bl_pack_neon(const void *x, int x_type, const void *threshold, intptr_t rows, int64_t n, uint64_t *out)
{
    const float *xf = x, *tf = threshold;
    const double *xd = x, *td = threshold;
    for (intptr_t i = 0; i < rows; i++) {
        intptr_t j = 0;
        for (; j + 64 <= n; j += 64)
            *out++ = x_type == BL_FLOAT32 ? pack_float32(xf + i * n + j, tf + j) : pack_float64(xd + i * n + j, td + j);
        uint64_t last = 0;
        for (intptr_t c = 0; j + c < n; c++) {
            int set = x_type == BL_FLOAT32 ? xf[i * n + j + c] >= tf[j + c] : xd[i * n + j + c] >= td[j + c];
            last |= (uint64_t)set << c;
        }
        if (j < n)
            *out++ = last;
    }
}

#endif
