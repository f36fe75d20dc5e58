/* Updates of parameters as plain loops, compiled once a variant with that variant's instructions.

   A parameter is walked through in blocks that stay in the first-level cache: the gradient of a block is made float32,
   float16 is widened beside it, the rule works on float32 alone, and what was float16 is rounded where it is stored.
   So there are three rules, and not one for each combination of types. Arrays of float32 are worked on where they are. */
#ifndef BL_UPDATES_H
#define BL_UPDATES_H

#include "variants.h"

#include <math.h>

/* Values of a block: whole words of signs, and five arrays of 2 KiB. */
#define BL_UPDATE_BLOCK 512

BL_INLINE float bl_float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

BL_INLINE uint32_t bl_bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* All ones where a < b, both below 2^31, and a choice by it: the compiler makes branches of conditions. */
BL_INLINE uint32_t bl_mask_below(uint32_t a, uint32_t b) { return 0 - (uint32_t)((int32_t)a < (int32_t)b); }
BL_INLINE uint32_t bl_choose(uint32_t mask, uint32_t set, uint32_t clear) { return (set & mask) | (clear & ~mask); }

/* The exponent is moved from a bias of 15 to one of 127. That of infinity moves on to the last one; that of a number
   below the normal ones becomes the smallest, whose hidden bit a subtraction takes off again, exactly. */
BL_INLINE float bl_from_float16(uint16_t half)
{
    const uint32_t magnitude = half & 0x7fff, wide = (magnitude << 13) + ((uint32_t)112 << 23);
    const uint32_t infinite = wide + ((uint32_t)112 << 23);
    const uint32_t small = bl_bits_of(bl_float_of(wide + ((uint32_t)1 << 23)) - bl_float_of((uint32_t)113 << 23));
    const uint32_t normal = bl_choose(bl_mask_below(magnitude, 0x7c00), wide, infinite);
    const uint32_t bits = bl_choose(bl_mask_below(magnitude, 0x0400), small, normal);
    return bl_float_of(bits | ((uint32_t)half & 0x8000) << 16);
}

/* To nearest, ties to even. In a number that stays normal the addition carries into the 13 bits that are cut off; one
   that does not is added to 0.5, whose last bit is worth the smallest float16, so that the addition rounds. */
BL_INLINE uint16_t bl_to_float16(float value)
{
    const uint32_t bits = bl_bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    const uint32_t normal = (magnitude - ((uint32_t)112 << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
    const uint32_t small = bl_bits_of(bl_float_of(magnitude) + 0.5f) - bl_bits_of(0.5f);
    const uint32_t finite = bl_choose(bl_mask_below(magnitude, (uint32_t)113 << 23), small, normal);
    return (uint16_t)(bl_choose(bl_mask_below(magnitude, (uint32_t)143 << 23), finite, 0x7c00) | sign);
}

/* Blocks of float16 to float32 and back. A variant that has instructions for it brings its own. */
#ifndef BL_OWN_FLOAT16
BL_INLINE void bl_from_halves(const uint16_t *restrict halves, intptr_t count, float *restrict values)
{
    for (intptr_t j = 0; j < count; j++)
        values[j] = bl_from_float16(halves[j]);
}

BL_INLINE void bl_to_halves(const float *restrict values, intptr_t count, uint16_t *restrict halves)
{
    for (intptr_t j = 0; j < count; j++)
        halves[j] = bl_to_float16(values[j]);
}
#endif

/* A block of float32: the array itself, or float16 widened into scratch. */
BL_INLINE float *bl_open_block(void *array, int type, int64_t at, intptr_t count, float *restrict scratch)
{
    if (type == BL_FLOAT32)
        return (float *)array + at;
    bl_from_halves((const uint16_t *)array + at, count, scratch);
    return scratch;
}

BL_INLINE void bl_close_block(void *array, int type, int64_t at, intptr_t count, const float *restrict values)
{
    if (type != BL_FLOAT32)
        bl_to_halves(values, count, (uint16_t *)array + at);
}

/* The gradient of a block of a row as float32, before the clip. `shared` values have a scale. */
BL_INLINE const float *bl_gradient_of(const void *g, int g_type, const double *scale, int64_t shared, intptr_t row,
                                      int64_t n, int64_t first, intptr_t count, float *restrict scratch)
{
    const int64_t at = row * n + first;
    if (g_type == BL_FLOAT32)
        return (const float *)g + at;
    if (g_type == BL_UINT64) {
        const uint64_t *words = (const uint64_t *)g + row * bl_words(n) + first / 64;
        /* Whole words: what lies past the block is not read. The sign bit of -1 is the bit that is clear. */
        for (intptr_t j = 0; j < count; j += 64)
            for (int half = 0; half < 2; half++) {
                const uint32_t bits = (uint32_t)(words[j / 64] >> (32 * half));
                for (int b = 0; b < 32; b++)
                    scratch[j + 32 * half + b] = bl_float_of((bits << (31 - b) & UINT32_C(0x80000000)) ^ UINT32_C(0xbf800000));
            }
        return scratch;
    }
    for (intptr_t j = 0, stop; j < count; j = stop) {
        const int64_t i = (at + j) / shared, end = (i + 1) * shared - at;
        const double by = scale[i];
        stop = end < count ? (intptr_t)end : count;
        if (g_type == BL_INT32) {
            const int32_t *sums = (const int32_t *)g + at;
            for (intptr_t k = j; k < stop; k++)
                scratch[k] = (float)((double)sums[k] * by);
        } else {
            const int64_t *sums = (const int64_t *)g + at;
            for (intptr_t k = j; k < stop; k++)
                scratch[k] = (float)(bl_double_of(sums[k]) * by);
        }
    }
    return scratch;
}

/* The gradient where the latent weight is within the clip, else 0 times it; NaN is not within. `beyond` is one more than
   the bits of the clip. */
BL_INLINE float bl_clipped(float g, float weight, uint32_t beyond)
{
    return g * bl_float_of(bl_mask_below(bl_bits_of(weight) & 0x7fffffff, beyond) & bl_bits_of(1.0f));
}

BL_INLINE void bl_adam_block(const float *restrict g, uint32_t beyond, const float *restrict coefficients,
                             intptr_t count, float *restrict weight, float *restrict mean, float *restrict square)
{
    const float beta1 = coefficients[0], rest1 = coefficients[1], beta2 = coefficients[2], rest2 = coefficients[3];
    const float rate = coefficients[4], epsilon = coefficients[5];
    for (intptr_t j = 0; j < count; j++) {
        const float gradient = bl_clipped(g[j], weight[j], beyond);
        const float first = mean[j] * beta1 + gradient * rest1;
        const float second = square[j] * beta2 + gradient * gradient * rest2;
        mean[j] = first;
        square[j] = second;
        weight[j] = weight[j] - rate * first / (sqrtf(second) + epsilon);
    }
}

BL_INLINE void bl_sgd_block(const float *restrict g, uint32_t beyond, const float *restrict coefficients,
                            intptr_t count, float *restrict weight, float *restrict moment)
{
    const float momentum = coefficients[0], factor = coefficients[1], rate = coefficients[2];
    for (intptr_t j = 0; j < count; j++) {
        const float step = moment[j] * momentum + bl_clipped(g[j], weight[j], beyond) * factor;
        moment[j] = step;
        weight[j] = weight[j] - rate * step;
    }
}

/* The same without a moment, which is not looked at. */
BL_INLINE void bl_descent_block(const float *restrict g, uint32_t beyond, const float *restrict coefficients,
                                intptr_t count, float *restrict weight, const float *moment)
{
    const float factor = coefficients[0], rate = coefficients[1];
    (void)moment;
    for (intptr_t j = 0; j < count; j++)
        weight[j] = weight[j] - rate * (bl_clipped(g[j], weight[j], beyond) * factor);
}

BL_INLINE void bl_bop_block(const float *restrict g, uint32_t beyond, const float *restrict coefficients,
                            intptr_t count, float *restrict weight, float *restrict moment)
{
    const float keep = coefficients[0], factor = coefficients[1], threshold = coefficients[2];
    for (intptr_t j = 0; j < count; j++) {
        const float mean = moment[j] * keep + bl_clipped(g[j], weight[j], beyond) * factor;
        moment[j] = mean;
        weight[j] = weight[j] * mean > threshold ? -weight[j] : weight[j];
    }
}

/* Walk through a parameter; `rule` is one of the blocks above, `moment` and `square` are NULL where it has none. A
   gradient of values is one long row: only packed signs begin anew in each. */
#define BL_WALK(rule, ...)                                                                                             \
    do {                                                                                                               \
        float gradients[BL_UPDATE_BLOCK], weights[BL_UPDATE_BLOCK], firsts[BL_UPDATE_BLOCK];                           \
        float seconds[BL_UPDATE_BLOCK];                                                                                \
        const int64_t shared = each ? n : n * rows;                                                                    \
        const uint32_t beyond = bl_bits_of(clip) + 1;                                                                  \
        if (g_type != BL_UINT64) {                                                                                     \
            n *= rows;                                                                                                 \
            rows = 1;                                                                                                  \
        }                                                                                                              \
        for (intptr_t i = 0; i < rows; i++)                                                                            \
            for (int64_t j = 0; j < n; j += BL_UPDATE_BLOCK) {                                                         \
                const int64_t at = i * n + j;                                                                          \
                const intptr_t count = (intptr_t)(n - j < BL_UPDATE_BLOCK ? n - j : BL_UPDATE_BLOCK);                  \
                float *w = bl_open_block(weight, weight_type, at, count, weights);                                     \
                float *first = moment ? bl_open_block(moment, moment_type, at, count, firsts) : NULL;                  \
                float *second = square ? bl_open_block(square, moment_type, at, count, seconds) : NULL;                \
                const float *values = bl_gradient_of(g, g_type, scale, shared, i, n, j, count, gradients);             \
                rule(values, beyond, coefficients, count, w, __VA_ARGS__);                                             \
                bl_close_block(weight, weight_type, at, count, w);                                                     \
                if (first)                                                                                             \
                    bl_close_block(moment, moment_type, at, count, first);                                             \
                if (second)                                                                                            \
                    bl_close_block(square, moment_type, at, count, second);                                            \
            }                                                                                                          \
    } while (0)

/* The four kernels of a variant, each function with the target attribute given (none for the baseline). */
#define BL_DEFINE_UPDATE_KERNELS(variant, target)                                                                      \
    target void bl_adam_update_##variant(const void *g, int g_type, const double *scale, int each, float clip,         \
                                         const float *coefficients, intptr_t rows, int64_t n, void *weight,            \
                                         int weight_type, void *moment, void *square, int moment_type)                 \
    {                                                                                                                  \
        BL_WALK(bl_adam_block, first, second);                                                                         \
    }                                                                                                                  \
    target void bl_sgd_update_##variant(const void *g, int g_type, const double *scale, int each, float clip,          \
                                        const float *coefficients, intptr_t rows, int64_t n, void *weight,             \
                                        int weight_type, void *moment, int moment_type)                                \
    {                                                                                                                  \
        void *const square = NULL;                                                                                     \
        BL_WALK(bl_sgd_block, first);                                                                                  \
    }                                                                                                                  \
    target void bl_descent_update_##variant(const void *g, int g_type, const double *scale, int each, float clip,      \
                                            const float *coefficients, intptr_t rows, int64_t n, void *weight,         \
                                            int weight_type)                                                           \
    {                                                                                                                  \
        const int moment_type = BL_FLOAT32;                                                                            \
        void *const moment = NULL, *const square = NULL;                                                               \
        BL_WALK(bl_descent_block, first);                                                                              \
    }                                                                                                                  \
    target void bl_bop_update_##variant(const void *g, int g_type, const double *scale, int each, float clip,          \
                                        const float *coefficients, intptr_t rows, int64_t n, void *weight,             \
                                        int weight_type, void *moment, int moment_type)                                \
    {                                                                                                                  \
        void *const square = NULL;                                                                                     \
        BL_WALK(bl_bop_block, first);                                                                                  \
    }

#endif
