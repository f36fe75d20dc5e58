/* Peaks of rows, and integers and floats to codes by a divisor, as plain loops, compiled once a variant with that
   variant's instructions, as quantize.h is. */
#ifndef BL_REQUANTIZE_H
#define BL_REQUANTIZE_H

#include "quantize.h"

/* The largest magnitude of a row as a double: from the unsigned integer that bl_larger finds. */
BL_INLINE double bl_peak_float32(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}
#define bl_peak_int8 (double)
#define bl_peak_int16 (double)
#define bl_peak_int32 (double)
#define bl_peak_int64 (double)

#define BL_DEFINE_PEAK(name, word)                                                                                     \
    BL_INLINE double bl_row_peak_##name(const void *x, intptr_t first, intptr_t n)                                     \
    {                                                                                                                  \
        word largest = 0;                                                                                              \
        for (intptr_t j = first, end = first + n; j < end; j++)                                                        \
            largest = bl_larger_##name(x, j, largest);                                                                 \
        return bl_peak_##name(largest);                                                                                \
    }
BL_DEFINE_PEAK(float32, uint32_t)
BL_DEFINE_PEAK(int8, uint8_t)
BL_DEFINE_PEAK(int16, uint16_t)
BL_DEFINE_PEAK(int32, uint32_t)
BL_DEFINE_PEAK(int64, uint64_t)

BL_INLINE void bl_peaks_loops(const void *x, int x_type, intptr_t rows, intptr_t n, double *out)
{
#define BL_FROM(name)                                                                                                  \
    for (intptr_t i = 0; i < rows; i++)                                                                                \
        out[i] = bl_row_peak_##name(x, i * n, n)
    if (x_type == BL_FLOAT32)
        BL_FROM(float32);
    else if (x_type == BL_INT8)
        BL_FROM(int8);
    else if (x_type == BL_INT16)
        BL_FROM(int16);
    else if (x_type == BL_INT32)
        BL_FROM(int32);
    else
        BL_FROM(int64);
#undef BL_FROM
}

/* Channels whose peaks are found at a time, in the first-level cache. */
#define BL_PEAKS_BLOCK 1024

#define BL_DEFINE_CHANNEL_PEAKS(name, word)                                                                            \
    BL_INLINE void bl_channel_peaks_##name(const void *x, intptr_t groups, intptr_t rows, intptr_t channels,           \
                                           double *restrict out)                                                       \
    {                                                                                                                  \
        word largest[BL_PEAKS_BLOCK];                                                                                  \
        for (intptr_t g = 0; g < groups; g++)                                                                          \
            for (intptr_t first = 0; first < channels; first += BL_PEAKS_BLOCK) {                                      \
                const intptr_t count = bl_min(BL_PEAKS_BLOCK, channels - first);                                       \
                memset(largest, 0, sizeof largest);                                                                    \
                for (intptr_t i = 0; i < rows; i++) {                                                                  \
                    const intptr_t at = (g * rows + i) * channels + first;                                             \
                    for (intptr_t c = 0; c < count; c++)                                                               \
                        largest[c] = bl_larger_##name(x, at + c, largest[c]);                                          \
                }                                                                                                      \
                for (intptr_t c = 0; c < count; c++)                                                                   \
                    out[g * channels + first + c] = (double)largest[c];                                                \
            }                                                                                                          \
    }
BL_DEFINE_CHANNEL_PEAKS(int8, uint8_t)
BL_DEFINE_CHANNEL_PEAKS(int16, uint16_t)

/* out[first + j] = the code of x[first + j] / divisor, to nearest, clipped before it is rounded, as in quantize.h; NaN
   becomes -limit. out may be x: a block is read before it is written. */
#define BL_DEFINE_DIVIDE(name, source, real, widened)                                                                  \
    BL_INLINE void bl_divide_##name(const source *x, real divisor, int32_t limit, intptr_t first, intptr_t n,          \
                                    void *out, int out_type)                                                           \
    {                                                                                                                  \
        int32_t code[BL_QUANTIZE_BLOCK];                                                                               \
        const real most = (real)limit, least = -most;                                                                  \
        for (const intptr_t end = first + n; first < end; first += BL_QUANTIZE_BLOCK) {                                \
            const intptr_t count = bl_min(BL_QUANTIZE_BLOCK, end - first);                                             \
            for (intptr_t j = 0; j < count; j++) {                                                                     \
                const real quotient = widened(x[first + j]) / divisor;                                                 \
                const real value = quotient > least ? quotient : least;                                                \
                code[j] = bl_nearest_##real(value < most ? value : most);                                              \
            }                                                                                                          \
            bl_store_codes(code, count, first, out, out_type);                                                         \
        }                                                                                                              \
    }
BL_DEFINE_DIVIDE(float32, float, float, (float))
BL_DEFINE_DIVIDE(int8, int8_t, double, (double))
BL_DEFINE_DIVIDE(int16, int16_t, double, (double))
BL_DEFINE_DIVIDE(int32, int32_t, double, (double))
BL_DEFINE_DIVIDE(int64, int64_t, double, bl_double_of)

BL_INLINE void bl_requantize_loops(const void *x, int x_type, const double *step, int each, int32_t limit,
                                   intptr_t rows, intptr_t n, void *out, int out_type)
{
    /* Rows with one step are one long row. */
    if (!each) {
        n *= rows;
        rows = n > 0;
    }
    if (x_type == BL_INT32)
        for (intptr_t i = 0; i < rows; i++)
            bl_divide_int32(x, step[i], limit, i * n, n, out, out_type);
    else
        for (intptr_t i = 0; i < rows; i++)
            bl_divide_int64(x, step[i], limit, i * n, n, out, out_type);
}

BL_INLINE double bl_at_least_one(double x) { return x > 1 ? x : 1; }

BL_INLINE void bl_requantize_rows_loops(const void *x, int x_type, const double *scale, int each, int32_t limit,
                                        intptr_t rows, intptr_t n, double *row_scale, void *out, int out_type)
{
#define BL_FROM(name)                                                                                                  \
    for (intptr_t i = 0; i < rows; i++) {                                                                              \
        const double step = bl_at_least_one(bl_row_peak_##name(x, i * n, n) / (double)limit);                          \
        row_scale[i] = scale[each ? i : 0] * step;                                                                     \
        bl_divide_##name(x, step, limit, i * n, n, out, out_type);                                                     \
    }
    if (x_type == BL_INT32)
        BL_FROM(int32)
    else
        BL_FROM(int64)
#undef BL_FROM
}

BL_INLINE void bl_equalize_rows_loops(const double *row_scale, const double *scale, int32_t limit, intptr_t rows,
                                      intptr_t n, void *codes, int type)
{
    for (intptr_t i = 0; i < rows; i++) {
        const double step = bl_at_least_one(*scale / row_scale[i]);
        if (type == BL_INT8)
            bl_divide_int8(codes, step, limit, i * n, n, codes, type);
        else
            bl_divide_int16(codes, step, limit, i * n, n, codes, type);
    }
}

/* The kernels of a variant, each function with the target attribute given (none for the baseline). */
#define BL_DEFINE_REQUANTIZE_KERNELS(variant, target)                                                                  \
    target void bl_peaks_##variant(const void *x, int x_type, intptr_t rows, intptr_t n, double *out)                  \
    {                                                                                                                  \
        bl_peaks_loops(x, x_type, rows, n, out);                                                                       \
    }                                                                                                                  \
    target void bl_channel_peaks_##variant(const void *x, int x_type, intptr_t groups, intptr_t rows,                  \
                                           intptr_t channels, double *out)                                             \
    {                                                                                                                  \
        if (x_type == BL_INT8)                                                                                         \
            bl_channel_peaks_int8(x, groups, rows, channels, out);                                                     \
        else                                                                                                           \
            bl_channel_peaks_int16(x, groups, rows, channels, out);                                                    \
    }                                                                                                                  \
    target void bl_quantize_##variant(const float *x, const double *scale, int32_t limit, intptr_t rows, intptr_t n,   \
                                      void *out, int out_type)                                                         \
    {                                                                                                                  \
        bl_divide_float32(x, (float)*scale, limit, 0, rows * n, out, out_type);                                        \
    }                                                                                                                  \
    target void bl_requantize_##variant(const void *x, int x_type, const double *step, int each, int32_t limit,        \
                                        intptr_t rows, intptr_t n, void *out, int out_type)                            \
    {                                                                                                                  \
        bl_requantize_loops(x, x_type, step, each, limit, rows, n, out, out_type);                                     \
    }                                                                                                                  \
    target void bl_requantize_rows_##variant(const void *x, int x_type, const double *scale, int each, int32_t limit,  \
                                             intptr_t rows, intptr_t n, double *row_scale, void *out, int out_type)    \
    {                                                                                                                  \
        bl_requantize_rows_loops(x, x_type, scale, each, limit, rows, n, row_scale, out, out_type);                    \
    }                                                                                                                  \
    target void bl_equalize_rows_##variant(const double *row_scale, const double *scale, int32_t limit, intptr_t rows, \
                                           intptr_t n, void *codes, int type)                                          \
    {                                                                                                                  \
        bl_equalize_rows_loops(row_scale, scale, limit, rows, n, codes, type);                                         \
    }

#endif
