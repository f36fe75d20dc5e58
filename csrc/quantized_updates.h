/* Updates of parameters that are kept in a few bits, as plain loops, compiled once a variant with that variant's
   instructions. A block of a parameter is widened to double, changed, and rounded where it is stored: to nearest, or by
   random words that are drawn in blocks beside it. */
#ifndef BL_QUANTIZED_UPDATES_H
#define BL_QUANTIZED_UPDATES_H

#include "moments.h"
#include "philox.h"
#include "updates.h"

/* Adding 1.5 * 2^52 to a double below 2^51 rounds it to an integer, ties to even. */
#define BL_ROUNDING 6755399441055744.0

/* -most for NaN, which then fits an integer. */
BL_INLINE double bl_clamped(double value, double most)
{
    value = value > -most ? value : -most;
    return value > most ? most : value;
}

/* floor(v), plus 1 where the word is below the fraction of v in units of 2^-32; |v| below 2^31. */
BL_INLINE double bl_rounded_at_random(double value, uint32_t word)
{
    const double cut = (double)(int32_t)value, whole = cut - (double)(cut > value);
    return whole + (double)((double)word < (value - whole) * 4294967296.0);
}

#define BL_LOAD_BLOCK(type)                                                                                            \
    for (intptr_t k = 0; k < count; k++)                                                                               \
    old[k] = (double)((const type *)weight)[at + k]
#define BL_STORE_BLOCK(type)                                                                                           \
    do {                                                                                                               \
        if (key)                                                                                                       \
            for (intptr_t k = 0; k < count; k++)                                                                       \
                ((type *)weight)[at + k] = (type)(int32_t)bl_rounded_at_random(found[k], noise[k]);                    \
        else                                                                                                           \
            for (intptr_t k = 0; k < count; k++)                                                                       \
                ((type *)weight)[at + k] = (type)(int32_t)(found[k] + BL_ROUNDING - BL_ROUNDING);                      \
    } while (0)

BL_INLINE void bl_quantized_block(const float *restrict g, const float *restrict coefficients, int signs, int32_t limit,
                                  intptr_t count, const double *restrict old, double *restrict found)
{
    const float factor = coefficients[0], rate = coefficients[1], size = (float)limit;
    const double most = limit;
    if (!limit)
        for (intptr_t k = 0; k < count; k++)
            found[k] = old[k] - (double)(g[k] * factor * rate);
    else if (!signs)
        for (intptr_t k = 0; k < count; k++)
            found[k] = bl_clamped(old[k] - (double)(g[k] * factor * rate * size), most);
    else
        for (intptr_t k = 0; k < count; k++)
            found[k] = bl_clamped((old[k] >= 0 ? most : -most) - (double)(g[k] * factor * rate * size), most);
}

/* What packed signs do to integer weights: all changes are one number up or down, so that what is added to a weight is one
   of two whole numbers, and 1 more where its word is below the fraction: `below` of each, in units of 2^-32. */
typedef struct {
    int32_t whole[2];
    uint32_t below[2];
} bl_sign_steps;

/* 0 where the change is too large for it, or no number. */
BL_INLINE int bl_sign_steps_of(const float *coefficients, int32_t limit, bl_sign_steps *steps)
{
    const float change = coefficients[0] * coefficients[1] * (float)limit;
    for (int up = 0; up < 2; up++) {
        const double value = up ? -(double)change : (double)change, whole = floor(value);
        const double below = ceil((value - whole) * 4294967296.0);
        if (!(value > -1e9 && value < 1e9 && below <= 4294967295.0))
            return 0;
        steps->whole[up] = (int32_t)whole;
        steps->below[up] = (uint32_t)below;
    }
    return 1;
}

#define BL_STEP_SIGNS(type)                                                                                            \
    for (intptr_t k = 0; k < count; k++) {                                                                             \
        const int up = g[k] > 0;                                                                                       \
        const uint32_t below = up ? s->below[1] : s->below[0];                                                         \
        const int32_t value = ((type *)weight)[k] + (up ? s->whole[1] : s->whole[0]) + (noise[k] < below);             \
        const int32_t least = value > -limit ? value : -limit;                                                         \
        ((type *)weight)[k] = (type)(least < limit ? least : limit);                                                   \
    }

/* The change of a block by packed signs; what follows from the rule above, for the weights are integers. */
BL_INLINE void bl_step_signs(const float *restrict g, const bl_sign_steps *s, int32_t limit, const uint32_t *restrict noise,
                             intptr_t count, void *restrict weight, int weight_type)
{
    if (weight_type == BL_INT8)
        BL_STEP_SIGNS(int8_t)
    else
        BL_STEP_SIGNS(int16_t)
}

BL_INLINE void bl_quantized_update_loops(const void *g, int g_type, const double *scale, int each,
                                         const float *coefficients, int signs, int32_t limit, const uint32_t *key,
                                         int64_t first, intptr_t rows, int64_t n, void *weight, int weight_type)
{
    float gradients[BL_UPDATE_BLOCK];
    double old[BL_UPDATE_BLOCK], found[BL_UPDATE_BLOCK];
    uint32_t noise[BL_UPDATE_BLOCK] = {0};
    const int64_t shared = each ? n : n * rows, start = first * n;
    bl_sign_steps steps;
    const int by_signs = g_type == BL_UINT64 && key && !signs && limit && weight_type != BL_FLOAT32
                         && bl_sign_steps_of(coefficients, limit, &steps);
    if (g_type != BL_UINT64) {
        n *= rows;
        rows = 1;
    }
    for (intptr_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j += BL_UPDATE_BLOCK) {
            const int64_t at = i * n + j;
            const intptr_t count = (intptr_t)(n - j < BL_UPDATE_BLOCK ? n - j : BL_UPDATE_BLOCK);
            const float *values = bl_gradient_of(g, g_type, scale, shared, i, n, j, count, gradients);
            if (key)
                bl_random_words_loops(key, start + at, 0, 1, count, noise);
            if (by_signs) {
                const int size = weight_type == BL_INT8 ? 1 : 2;
                bl_step_signs(values, &steps, limit, noise, count, (char *)weight + size * at, weight_type);
                continue;
            }
            if (weight_type == BL_FLOAT32)
                BL_LOAD_BLOCK(float);
            else if (weight_type == BL_INT8)
                BL_LOAD_BLOCK(int8_t);
            else
                BL_LOAD_BLOCK(int16_t);
            bl_quantized_block(values, coefficients, signs, limit, count, old, found);
            if (weight_type == BL_FLOAT32)
                for (intptr_t k = 0; k < count; k++)
                    ((float *)weight)[at + k] = (float)found[k];
            else if (weight_type == BL_INT8)
                BL_STORE_BLOCK(int8_t);
            else
                BL_STORE_BLOCK(int16_t);
        }
}

BL_INLINE void bl_round_weights_loops(const double *scale, int32_t limit, int whole, const uint32_t *key, int64_t first,
                                      intptr_t rows, int64_t n, float *weight)
{
    uint32_t noise[BL_UPDATE_BLOCK] = {0};
    double step = *scale;
    const double most = limit;
    if (whole && isfinite(step)) {
        int exponent;
        const double mantissa = frexp(step, &exponent);
        step = ldexp(1.0, exponent - (mantissa == 0.5));
    }
    for (int64_t at = 0; at < rows * n; at += BL_UPDATE_BLOCK) {
        const intptr_t count = (intptr_t)(rows * n - at < BL_UPDATE_BLOCK ? rows * n - at : BL_UPDATE_BLOCK);
        if (key)
            bl_random_words_loops(key, first * n + at, 0, 1, count, noise);
        /* Beyond the limit by 1 at most once it is rounded, so that it fits an integer before it is. */
        for (intptr_t k = 0; k < count; k++) {
            const double given = (double)weight[at + k] / step, value = bl_clamped(given, most + 1);
            const double code = key ? bl_rounded_at_random(value, noise[k]) : value + BL_ROUNDING - BL_ROUNDING;
            weight[at + k] = (float)((given == given ? bl_clamped(code, most) : given) * step);
        }
    }
}

/* The kernels of a variant, each function with the target attribute given (none for the baseline). */
#define BL_DEFINE_QUANTIZED_UPDATE_KERNELS(variant, target)                                                            \
    target void bl_quantized_update_##variant(const void *g, int g_type, const double *scale, int each,                \
                                              const float *coefficients, int signs, int32_t limit,                     \
                                              const uint32_t *key, int64_t first, intptr_t rows, int64_t n,            \
                                              void *weight, int weight_type)                                           \
    {                                                                                                                  \
        bl_quantized_update_loops(g, g_type, scale, each, coefficients, signs, limit, key, first, rows, n, weight,     \
                                  weight_type);                                                                        \
    }                                                                                                                  \
    target void bl_round_weights_##variant(const double *scale, int32_t limit, int whole, const uint32_t *key,         \
                                           int64_t first, intptr_t rows, int64_t n, float *weight)                     \
    {                                                                                                                  \
        bl_round_weights_loops(scale, limit, whole, key, first, rows, n, weight);                                      \
    }                                                                                                                  \
    target void bl_load_moments_##variant(const void *codes, int codes_type, const float *scale, intptr_t rows,        \
                                          intptr_t n, float *out)                                                      \
    {                                                                                                                  \
        bl_load_moments_loops(codes, codes_type, scale, rows, n, out);                                                 \
    }                                                                                                                  \
    target void bl_store_moments_##variant(const float *values, const uint32_t *key, int64_t first, intptr_t rows,     \
                                           intptr_t n, void *codes, int codes_type, float *scale)                      \
    {                                                                                                                  \
        bl_store_moments_loops(values, key, first, rows, n, codes, codes_type, scale);                                 \
    }                                                                                                                  \
    target void bl_powers_of_two_##variant(intptr_t rows, intptr_t n, int16_t *x)                                      \
    {                                                                                                                  \
        bl_powers_of_two_loops(rows, n, x);                                                                            \
    }

#endif
