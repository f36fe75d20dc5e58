/* Updates of parameters that are kept in a few bits, rounded to nearest or at random. */
#include "portable.h"

#include "../philox.h"
#include "../updates.h"

static double rounded(double value, const uint32_t *key, uint32_t word)
{
    if (!key)
        return nearbyint(value);
    const double whole = floor(value);
    return whole + (double)((double)word < (value - whole) * 4294967296.0);
}

static double load(const void *weight, int type, int64_t at)
{
    if (type == BL_FLOAT32)
        return ((const float *)weight)[at];
    return type == BL_INT8 ? (double)((const int8_t *)weight)[at] : (double)((const int16_t *)weight)[at];
}

static void store(void *weight, int type, int64_t at, double value, const uint32_t *key, uint32_t word)
{
    if (type == BL_FLOAT32)
        ((float *)weight)[at] = (float)value;
    else if (type == BL_INT8)
        ((int8_t *)weight)[at] = (int8_t)rounded(value, key, word);
    else
        ((int16_t *)weight)[at] = (int16_t)rounded(value, key, word);
}

static double clamped(double value, double most)
{
    return value < -most ? -most : value > most ? most : value;
}

void bl_quantized_update_portable(const void *g, int g_type, const double *scale, int each, const float *coefficients,
                                  int signs, int32_t limit, const uint32_t *key, int64_t first, intptr_t rows, int64_t n,
                                  void *weight, int weight_type)
{
    float gradients[BL_UPDATE_BLOCK];
    uint32_t noise[BL_UPDATE_BLOCK] = {0};
    const float factor = coefficients[0], rate = coefficients[1];
    const double most = limit;
    const int64_t shared = each ? n : n * rows;
    for (intptr_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j += BL_UPDATE_BLOCK) {
            const int64_t at = i * n + j;
            const intptr_t count = (intptr_t)(n - j < BL_UPDATE_BLOCK ? n - j : BL_UPDATE_BLOCK);
            const float *values = bl_gradient_of(g, g_type, scale, shared, i, n, j, count, gradients);
            if (key)
                bl_random_words_loops(key, first * n + at, 0, 1, count, noise);
            for (intptr_t k = 0; k < count; k++) {
                const double old = load(weight, weight_type, at + k);
                float change = values[k] * factor * rate;
                if (limit)
                    change = change * (float)limit;
                double value = (signs ? (old >= 0 ? most : -most) : old) - (double)change;
                if (limit)
                    value = clamped(value, most);
                store(weight, weight_type, at + k, value, key, noise[k]);
            }
        }
}

void bl_round_weights_portable(const double *scale, int32_t limit, int whole, const uint32_t *key, int64_t first,
                               intptr_t rows, int64_t n, float *weight)
{
    uint32_t noise[BL_UPDATE_BLOCK] = {0};
    double step = *scale;
    if (whole && isfinite(step)) {
        int exponent;
        const double mantissa = frexp(step, &exponent);
        step = ldexp(1.0, exponent - (mantissa == 0.5));
    }
    for (int64_t at = 0; at < rows * n; at += BL_UPDATE_BLOCK) {
        const intptr_t count = (intptr_t)(rows * n - at < BL_UPDATE_BLOCK ? rows * n - at : BL_UPDATE_BLOCK);
        if (key)
            bl_random_words_loops(key, first * n + at, 0, 1, count, noise);
        for (intptr_t k = 0; k < count; k++)
            weight[at + k] = (float)(clamped(rounded(weight[at + k] / step, key, noise[k]), limit) * step);
    }
}
