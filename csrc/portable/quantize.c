/* Quantization to a few bits, one row of scales at a time. */
#include "portable.h"

#include <math.h>

/* One value: the quotient is clipped before it is rounded, so that it fits an integer; the bounds are integers, so the
   result is that of the other order. Rounding up with the probability of the fraction compares the fraction with the
   noise; adding them could round to the next integer. */
#define QUANTIZE(real, round_to_nearest)                                                                               \
    do {                                                                                                               \
        real value = (real)values[j] / divisor;                                                                        \
        value = value < least ? least : value > most ? most : value;                                                   \
        int32_t code;                                                                                                  \
        if (noise) {                                                                                                   \
            code = (int32_t)value;                                                                                     \
            code -= (real)code > value;                                                                                \
            code += (double)noise[i * columns + j] < (double)(value - (real)code) * 4294967296.0;                      \
        } else                                                                                                         \
            code = (int32_t)round_to_nearest(value);                                                                   \
        code += zero;                                                                                                  \
        if (out_type == BL_INT8)                                                                                       \
            ((int8_t *)out)[i * columns + j] = (int8_t)code;                                                           \
        else                                                                                                           \
            ((int16_t *)out)[i * columns + j] = (int16_t)code;                                                         \
    } while (0)

#define ROWS(source, real, round_to_nearest)                                                                           \
    for (intptr_t i = 0; i < rows; i++) {                                                                              \
        const source *values = (const source *)x + i * columns;                                                        \
        const int32_t zero = (int32_t)zero_point[i];                                                                   \
        const real divisor = ((const real *)scale)[i], least = (real)(low - zero), most = (real)(high - zero);         \
        for (intptr_t j = 0; j < columns; j++)                                                                         \
            QUANTIZE(real, round_to_nearest);                                                                          \
    }

void bl_quantize_linear_portable(const void *x, int x_type, const void *scale, const int64_t *zero_point,
                                 intptr_t rows, intptr_t columns, int32_t low, int32_t high, const uint32_t *noise,
                                 void *out, int out_type)
{
    if (x_type == BL_FLOAT32)
        ROWS(float, float, lrintf)
    else if (x_type == BL_FLOAT64)
        ROWS(double, double, lrint)
    else if (x_type == BL_INT32)
        ROWS(int32_t, double, lrint)
    else
        ROWS(int64_t, double, lrint)
}
