/* Moments of an optimiser in 8 bits, and gradients as powers of two, as plain loops, compiled once a variant with that
   variant's instructions: for quantized_updates.h. */
#ifndef BL_MOMENTS_H
#define BL_MOMENTS_H

#include "philox.h"
#include "updates.h"

BL_INLINE void bl_load_moments_loops(const void *codes, int codes_type, const float *scale, intptr_t rows, intptr_t n,
                                     float *restrict out)
{
    for (intptr_t i = 0; i < rows; i++) {
        const float by = scale[i];
        float *restrict target = out + i * n;
        if (codes_type == BL_INT8) {
            const int8_t *restrict given = (const int8_t *)codes + i * n;
            for (intptr_t j = 0; j < n; j++)
                target[j] = (float)given[j] * by;
        } else {
            const uint8_t *restrict given = (const uint8_t *)codes + i * n;
            for (intptr_t j = 0; j < n; j++) {
                const float root = (float)given[j] * by;
                target[j] = root * root;
            }
        }
    }
}

/* The largest magnitude of a row. Those of finite floats are in the order of their bits. */
BL_INLINE float bl_largest_magnitude_of(const float *restrict values, intptr_t n)
{
    int32_t largest = 0;
    for (intptr_t j = 0; j < n; j++) {
        const int32_t magnitude = (int32_t)(bl_bits_of(values[j]) & 0x7fffffff);
        largest = magnitude > largest ? magnitude : largest;
    }
    return bl_float_of((uint32_t)largest);
}

/* v / scale within [-most, most], and -most for NaN: what is rounded then fits a code. */
BL_INLINE float bl_moment_ratio(float value, float by, float most)
{
    float ratio = value / by;
    ratio = ratio > -most ? ratio : -most;
    return ratio > most ? most : ratio;
}

/* floor(v), plus 1 where the word is below the fraction of v in units of 2^-32. */
BL_INLINE int32_t bl_moment_code(float ratio, uint32_t word)
{
    const double value = (double)ratio, cut = (double)(int32_t)value, whole = cut - (double)(cut > value);
    return (int32_t)(whole + (double)((double)word < (value - whole) * 4294967296.0));
}

BL_INLINE void bl_store_moments_loops(const float *values, const uint32_t *key, int64_t first, intptr_t rows,
                                      intptr_t n, void *codes, int codes_type, float *scale)
{
    uint32_t noise[BL_UPDATE_BLOCK] = {0};
    const int root = codes_type == BL_UINT8;
    const float most = root ? 255.0f : 127.0f;
    for (intptr_t i = 0; i < rows; i++) {
        const float *restrict v = values + i * n;
        const float largest = bl_largest_magnitude_of(v, n), by = (root ? sqrtf(largest) : largest) / most;
        scale[i] = by;
        for (intptr_t j = 0; j < n; j += BL_UPDATE_BLOCK) {
            const intptr_t count = bl_min(BL_UPDATE_BLOCK, n - j);
            if (by > 0)
                bl_random_words_loops(key, (first + i) * n + j, 0, 1, count, noise);
            if (root) {
                uint8_t *restrict out = (uint8_t *)codes + i * n + j;
                for (intptr_t k = 0; k < count; k++) {
                    const float r = sqrtf(v[j + k]);
                    const int32_t code = by > 0 ? bl_moment_code(bl_moment_ratio(r, by, most), noise[k]) : 0;
                    out[k] = (uint8_t)(code < (int32_t)(r > 0) ? 1 : code);
                }
            } else {
                int8_t *restrict out = (int8_t *)codes + i * n + j;
                for (intptr_t k = 0; k < count; k++)
                    out[k] = (int8_t)(by > 0 ? bl_moment_code(bl_moment_ratio(v[j + k], by, most), noise[k]) : 0);
            }
        }
    }
}

/* A constant makes the mantissas above sqrt(2) carry into the exponent; what is left of them is cut off. No integer
   below 2^24 has the mantissa of sqrt(2). */
BL_INLINE void bl_powers_of_two_loops(intptr_t rows, intptr_t n, int16_t *x)
{
    for (intptr_t j = 0; j < rows * n; j++) {
        const int32_t value = x[j], magnitude = value < 0 ? -value : value;
        const float power = bl_float_of((bl_bits_of((float)magnitude) + 0x4afb0c) & 0xff800000);
        const int32_t found = (int32_t)(power < 16384.0f ? power : 16384.0f);
        x[j] = (int16_t)(value < 0 ? -found : found);
    }
}

#endif
