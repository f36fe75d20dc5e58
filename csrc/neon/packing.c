/* The packed format: comparisons narrowed to one byte a value, bytes to bits by sums of powers of two; back by tests of
   bits; and counts. */
#include "neon.h"

#include "../packing.h"

#ifdef BL_AARCH64

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

/* All ones or all zeros of x[0 .. 16) >= threshold, in 16 bytes: lanes of 16, 32 and 64 bits are narrowed. */
#define LIMITS(load, set, j) (each ? load(threshold + (j)) : set(*threshold))
#define REACHED(suffix, j) vcgeq_##suffix(vld1q_##suffix(x + (j)), LIMITS(vld1q_##suffix, vdupq_n_##suffix, j))
#define BYTES8(name, type, suffix)                                                                                     \
    BL_INLINE uint8x16_t bytes_##name(const type *x, const type *threshold, int each) { return REACHED(suffix, 0); }
#define BYTES16(name, type, suffix)                                                                                    \
    BL_INLINE uint8x16_t bytes_##name(const type *x, const type *threshold, int each)                                  \
    {                                                                                                                  \
        return vcombine_u8(vmovn_u16(REACHED(suffix, 0)), vmovn_u16(REACHED(suffix, 8)));                              \
    }
#define BYTES32(name, type, suffix)                                                                                    \
    BL_INLINE uint8x16_t bytes_##name(const type *x, const type *threshold, int each)                                  \
    {                                                                                                                  \
        uint16x8_t low = vcombine_u16(vmovn_u32(REACHED(suffix, 0)), vmovn_u32(REACHED(suffix, 4)));                   \
        uint16x8_t high = vcombine_u16(vmovn_u32(REACHED(suffix, 8)), vmovn_u32(REACHED(suffix, 12)));                 \
        return vcombine_u8(vmovn_u16(low), vmovn_u16(high));                                                           \
    }
#define BYTES64(name, type, suffix)                                                                                    \
    BL_INLINE uint8x16_t bytes_##name(const type *x, const type *threshold, int each)                                  \
    {                                                                                                                  \
        uint16x4_t four[4];                                                                                            \
        for (int v = 0; v < 4; v++)                                                                                    \
            four[v] = vmovn_u32(                                                                                       \
                vcombine_u32(vmovn_u64(REACHED(suffix, 4 * v)), vmovn_u64(REACHED(suffix, 4 * v + 2))));               \
        return vcombine_u8(vmovn_u16(vcombine_u16(four[0], four[1])), vmovn_u16(vcombine_u16(four[2], four[3])));      \
    }
BYTES8(int8, int8_t, s8)
BYTES8(uint8, uint8_t, u8)
BYTES16(int16, int16_t, s16)
BYTES16(uint16, uint16_t, u16)
BYTES32(int32, int32_t, s32)
BYTES32(uint32, uint32_t, u32)
BYTES32(float32, float, f32)
BYTES64(int64, int64_t, s64)
BYTES64(uint64, uint64_t, u64)
BYTES64(float64, double, f64)

/* All ones where a float16 of x is at least the one of t. */
BL_INLINE uint16x8_t half_cmpge(int16x8_t x, int16x8_t t)
{
    const int16x8_t magnitude = vdupq_n_s16(BL_HALF_MAGNITUDE), infinity = vdupq_n_s16(BL_HALF_INFINITY);
    int16x8_t size = vandq_s16(x, magnitude), sign = vshrq_n_s16(x, 15);
    int16x8_t limit_size = vandq_s16(t, magnitude), limit_sign = vshrq_n_s16(t, 15);
    int16x8_t key = vsubq_s16(veorq_s16(size, sign), sign);
    int16x8_t limit = vsubq_s16(veorq_s16(limit_size, limit_sign), limit_sign);
    uint16x8_t numbers = vandq_u16(vcleq_s16(size, infinity), vcleq_s16(limit_size, infinity));
    return vandq_u16(numbers, vcgeq_s16(key, limit));
}

BL_INLINE uint8x16_t bytes_float16(const int16_t *x, const int16_t *threshold, int each)
{
    uint16x8_t low = half_cmpge(vld1q_s16(x), LIMITS(vld1q_s16, vdupq_n_s16, 0));
    uint16x8_t high = half_cmpge(vld1q_s16(x + 8), LIMITS(vld1q_s16, vdupq_n_s16, 8));
    return vcombine_u8(vmovn_u16(low), vmovn_u16(high));
}

#define ROWS(code, name, type)                                                                                         \
    BL_INLINE uint64_t word_##name(const type *x, const type *threshold, int each)                                     \
    {                                                                                                                  \
        uint8x16_t set[4];                                                                                             \
        for (int part = 0; part < 4; part++)                                                                           \
            set[part] = bytes_##name(x + 16 * part, threshold + (each ? 16 * part : 0), each);                         \
        return gather(set);                                                                                            \
    }                                                                                                                  \
    BL_ROWS_OF_WORDS(, name, type)
BL_PACK_TYPES(ROWS)

static void pack_rows(const char *x, int x_type, intptr_t row_stride, const void *threshold, int each, intptr_t rows,
                      intptr_t n, uint64_t *out, intptr_t out_stride)
{
    switch (x_type) {
        BL_PACK_TYPES(BL_CASE_OF_TYPE)
    }
}

void bl_pack_neon(const void *x, int x_type, intptr_t outer, intptr_t rows, int64_t n, intptr_t outer_stride,
                  intptr_t row_stride, intptr_t value_stride, const void *threshold, int each, uint64_t *out)
{
    bl_pack_blocked(pack_rows, bl_transpose_portable, x, x_type, outer, rows, n, outer_stride, row_stride,
                    value_stride, threshold, each, out);
}

/* Words to -1 and +1 of so many bits: eight bits of the word in every lane, in each lane one of them tested. The last
   values of a row go through a buffer. */
#define UNPACK(bits, lanes)                                                                                            \
    BL_INLINE void unpack_word##bits(uint64_t word, uint##bits##x##lanes##_t minus, uint##bits##x##lanes##_t plus,     \
                                     uint##bits##_t *out)                                                              \
    {                                                                                                                  \
        static const uint##bits##_t powers[8] = {1, 2, 4, 8, 16, 32, 64, 128};                                         \
        for (int v = 0; v < 64; v += lanes) {                                                                          \
            uint##bits##x##lanes##_t set =                                                                             \
                vtstq_u##bits(vdupq_n_u##bits((uint##bits##_t)(word >> (v & ~7))), vld1q_u##bits(powers + (v & 7)));   \
            vst1q_u##bits(out + v, vbslq_u##bits(set, plus, minus));                                                   \
        }                                                                                                              \
    }
UNPACK(16, 8)
UNPACK(32, 4)
UNPACK(64, 2)

BL_INLINE void unpack_word8(uint64_t word, uint8x16_t minus, uint8x16_t plus, uint8_t *out)
{
    static const uint8_t powers[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    for (int v = 0; v < 64; v += 16) {
        uint8x16_t bytes = vcombine_u8(vdup_n_u8((uint8_t)(word >> v)), vdup_n_u8((uint8_t)(word >> (v + 8))));
        vst1q_u8(out + v, vbslq_u8(vtstq_u8(bytes, vld1q_u8(powers)), plus, minus));
    }
}

#define UNPACK_ROWS(bits, lanes)                                                                                       \
    static void unpack##bits(const uint64_t *words, intptr_t rows, intptr_t n, bl_signs signs, uint##bits##_t *out)    \
    {                                                                                                                  \
        const uint##bits##x##lanes##_t minus = vdupq_n_u##bits((uint##bits##_t)signs.minus),                           \
                                       plus = vdupq_n_u##bits((uint##bits##_t)signs.plus);                             \
        for (intptr_t i = 0; i < rows; i++) {                                                                          \
            intptr_t left = n;                                                                                         \
            for (; left >= 64; left -= 64, out += 64)                                                                  \
                unpack_word##bits(*words++, minus, plus, out);                                                         \
            if (left == 0)                                                                                             \
                continue;                                                                                              \
            uint##bits##_t last[64];                                                                                   \
            unpack_word##bits(*words++, minus, plus, last);                                                            \
            memcpy(out, last, (size_t)left * sizeof *last);                                                            \
            out += left;                                                                                               \
        }                                                                                                              \
    }
UNPACK_ROWS(8, 16)
UNPACK_ROWS(16, 8)
UNPACK_ROWS(32, 4)
UNPACK_ROWS(64, 2)
BL_DEFINE_UNPACK(neon)

/* The counts of two words. */
BL_INLINE uint64x2_t sums(uint8x16_t bytes) { return vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(bytes))); }

BL_INLINE uint8x16_t count_bytes(const uint64_t *x) { return vcntq_u8(vreinterpretq_u8_u64(vld1q_u64(x))); }

static int64_t count_row(const uint64_t *x, intptr_t words)
{
    uint64x2_t total = vdupq_n_u64(0);
    intptr_t p = 0;
    while (p + 8 <= words) {
        uint8x16_t bytes[4];
        for (int v = 0; v < 4; v++)
            bytes[v] = vdupq_n_u8(0);
        /* 31 * 8 = 248 fits a byte. */
        for (intptr_t stop = p + 31 * 8; p + 8 <= words && p < stop; p += 8)
            for (int v = 0; v < 4; v++)
                bytes[v] = vaddq_u8(bytes[v], count_bytes(x + p + 2 * v));
        for (int v = 0; v < 4; v++)
            total = vaddq_u64(total, sums(bytes[v]));
    }
    for (; p + 2 <= words; p += 2)
        total = vaddq_u64(total, sums(count_bytes(x + p)));
    int64_t sum = (int64_t)vaddvq_u64(total);
    return p < words ? sum + popcount64(x[p]) : sum;
}

static void add_counts(const uint64_t *x, intptr_t stride, intptr_t lines, intptr_t columns, int64_t *out)
{
    intptr_t c = 0;
    for (; c + 2 <= columns; c += 2) {
        int64x2_t total = vld1q_s64(out + c);
        for (intptr_t l = 0; l < lines; l++)
            total = vaddq_s64(total, vreinterpretq_s64_u64(sums(count_bytes(x + l * stride + c))));
        vst1q_s64(out + c, total);
    }
    for (; c < columns; c++)
        for (intptr_t l = 0; l < lines; l++)
            out[c] += popcount64(x[l * stride + c]);
}

void bl_popcount_neon(const uint64_t *x, intptr_t outer, intptr_t rows, intptr_t words, intptr_t outer_stride,
                      intptr_t row_stride, intptr_t word_stride, int64_t *out)
{
    bl_popcount_blocked(count_row, add_counts, x, outer, rows, words, outer_stride, row_stride, word_stride, out);
}

#endif
