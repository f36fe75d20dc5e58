/* Quantization as plain loops, compiled once a variant with that variant's instructions: the compiler makes vectors of
   them. No operation may be contracted or reordered, so the same loops give the same bits everywhere.

   x lies as (outer, channels, inner), and a channel has a scale; zero_point NULL is 0 for all. Where inner is 1 the
   channels lie side by side and the loops run across them, else along a channel. */
#ifndef BL_QUANTIZE_H
#define BL_QUANTIZE_H

#include "philox.h"

/* Magnitudes as unsigned integers that are ordered as they are. A float without its sign is one, NaN above infinity. */
#define BL_WITHOUT_SIGN(bits, sign) ((bits) & (sign))
#define BL_NEGATED(bits, sign) ((bits) >> (sign) ? 0 - (bits) : (bits))

#define BL_DEFINE_LARGEST(name, word, magnitude, constant)                                                             \
    BL_INLINE word bl_larger_##name(const void *x, intptr_t j, word largest)                                           \
    {                                                                                                                  \
        word bits;                                                                                                     \
        memcpy(&bits, (const char *)x + (size_t)j * sizeof bits, sizeof bits);                                         \
        bits = (word)magnitude(bits, constant);                                                                        \
        return bits > largest ? bits : largest;                                                                        \
    }                                                                                                                  \
    BL_INLINE void bl_largest_##name(const void *x, intptr_t outer, intptr_t channels, intptr_t inner,                 \
                                     word *restrict out)                                                               \
    {                                                                                                                  \
        memset(out, 0, (size_t)channels * sizeof *out);                                                                \
        for (intptr_t o = 0; o < outer; o++) {                                                                         \
            if (inner == 1) {                                                                                          \
                for (intptr_t c = 0; c < channels; c++)                                                                \
                    out[c] = bl_larger_##name(x, o * channels + c, out[c]);                                            \
                continue;                                                                                              \
            }                                                                                                          \
            for (intptr_t c = 0; c < channels; c++) {                                                                  \
                word largest = out[c];                                                                                 \
                for (intptr_t j = (o * channels + c) * inner, end = j + inner; j < end; j++)                           \
                    largest = bl_larger_##name(x, j, largest);                                                         \
                out[c] = largest;                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

BL_DEFINE_LARGEST(float16, uint16_t, BL_WITHOUT_SIGN, 0x7fff)
BL_DEFINE_LARGEST(float32, uint32_t, BL_WITHOUT_SIGN, UINT32_C(0x7fffffff))
BL_DEFINE_LARGEST(float64, uint64_t, BL_WITHOUT_SIGN, UINT64_C(0x7fffffffffffffff))
BL_DEFINE_LARGEST(int8, uint8_t, BL_NEGATED, 7)
BL_DEFINE_LARGEST(int16, uint16_t, BL_NEGATED, 15)
BL_DEFINE_LARGEST(int32, uint32_t, BL_NEGATED, 31)
BL_DEFINE_LARGEST(int64, uint64_t, BL_NEGATED, 63)

BL_INLINE void bl_largest_loops(const void *x, int x_type, intptr_t outer, intptr_t channels, intptr_t inner, void *out)
{
    if (x_type == BL_FLOAT32)
        bl_largest_float32(x, outer, channels, inner, out);
    else if (x_type == BL_FLOAT64)
        bl_largest_float64(x, outer, channels, inner, out);
    else if (x_type == BL_INT8)
        bl_largest_int8(x, outer, channels, inner, out);
    else if (x_type == BL_INT16)
        bl_largest_int16(x, outer, channels, inner, out);
    else if (x_type == BL_INT32)
        bl_largest_int32(x, outer, channels, inner, out);
    else if (x_type == BL_INT64)
        bl_largest_int64(x, outer, channels, inner, out);
    else
        bl_largest_float16(x, outer, channels, inner, out);
}

/* Values that are quantized at a time. */
#define BL_QUANTIZE_BLOCK 256

/* What the values of a block need, each of its channel: as arrays, so that one loop serves every layout. */
#define BL_DEFINE_QUANTIZE_BLOCK(real)                                                                                 \
    typedef struct {                                                                                                   \
        real divisor[BL_QUANTIZE_BLOCK], least[BL_QUANTIZE_BLOCK], most[BL_QUANTIZE_BLOCK];                            \
        real quotient[BL_QUANTIZE_BLOCK];                                                                              \
        int32_t zero[BL_QUANTIZE_BLOCK], code[BL_QUANTIZE_BLOCK];                                                      \
        uint32_t noise[BL_QUANTIZE_BLOCK];                                                                             \
    } bl_quantize_block_##real;                                                                                        \
                                                                                                                       \
    BL_INLINE void bl_fill_channels_##real(bl_quantize_block_##real *b, intptr_t count, intptr_t position,             \
                                           intptr_t period, intptr_t inner, const real *scale,                         \
                                           const int64_t *zero_point, int32_t low, int32_t high)                       \
    {                                                                                                                  \
        for (intptr_t j = 0; j < count;) {                                                                             \
            const intptr_t at = (position + j) % period, c = at / inner;                                               \
            const intptr_t stop = bl_min(count, j + inner - at % inner);                                               \
            const int32_t zero = zero_point ? (int32_t)zero_point[c] : 0;                                              \
            for (; j < stop; j++) {                                                                                    \
                b->divisor[j] = scale[c];                                                                              \
                b->zero[j] = zero;                                                                                     \
                b->least[j] = (real)(low - zero);                                                                      \
                b->most[j] = (real)(high - zero);                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
BL_DEFINE_QUANTIZE_BLOCK(float)
BL_DEFINE_QUANTIZE_BLOCK(double)

/* The noise of values [first, first + count) of x, which lies with the channels first. */
BL_INLINE void bl_fill_noise(uint32_t *to, intptr_t count, intptr_t first, const uint32_t *noise, intptr_t outer,
                             intptr_t channels, intptr_t inner)
{
    intptr_t o = first / (channels * inner), c = first / inner % channels, i = first % inner;
    for (intptr_t j = 0; j < count; i = 0) {
        const intptr_t from = (c * outer + o) * inner + i - j;
        for (const intptr_t stop = bl_min(count, j + inner - i); j < stop; j++)
            to[j] = noise[from + j];
        if (++c == channels) {
            c = 0;
            o++;
        }
    }
}

/* 1 below zero, and for -0.0: the compiler makes a branch of a comparison. */
BL_INLINE int32_t bl_below_zero_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (int32_t)(bits >> 31);
}

BL_INLINE int32_t bl_below_zero_double(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (int32_t)(bits >> 63);
}

/* The codes of a block from its quotients, which are clipped before they are rounded, so that they fit an integer; the
   bounds are integers, so the result is that of the other order. Adding and subtracting `halfway`, 1.5 times the power
   of two from which on a number has no fraction, rounds to nearest, ties to even, and every processor has vectors of
   it. Rounding up with the probability of the fraction compares the fraction with the noise; adding them could round to
   the next integer. (A quotient of -0.0 goes down to -1, and by its fraction of 1 up again, whatever the noise.) */
#define BL_DEFINE_CODES(real, halfway)                                                                                 \
    BL_INLINE real bl_clip_##real(const bl_quantize_block_##real *b, intptr_t j, real x)                               \
    {                                                                                                                  \
        const real quotient = x / b->divisor[j];                                                                       \
        const real value = quotient < b->least[j] ? b->least[j] : quotient;                                            \
        return value > b->most[j] ? b->most[j] : value;                                                                \
    }                                                                                                                  \
    BL_INLINE int32_t bl_nearest_##real(real value) { return (int32_t)(value + halfway - halfway); }                   \
    BL_INLINE void bl_round_at_random_##real(bl_quantize_block_##real *b, intptr_t count)                              \
    {                                                                                                                  \
        for (intptr_t j = 0; j < count; j++) {                                                                         \
            const real value = b->quotient[j];                                                                         \
            int32_t code = (int32_t)value;                                                                             \
            code -= bl_below_zero_##real(value - (real)code);                                                          \
            const double fraction = (double)(value - (real)code) * 4294967296.0;                                       \
            b->code[j] = code + b->zero[j] + bl_below_zero_double((double)b->noise[j] - fraction);                     \
        }                                                                                                              \
    }
BL_DEFINE_CODES(float, 12582912.0f)
BL_DEFINE_CODES(double, 6755399441055744.0)

BL_INLINE void bl_store_codes(const int32_t *restrict code, intptr_t count, intptr_t first, void *out, int out_type)
{
    if (out_type == BL_INT8) {
        int8_t *bytes = (int8_t *)out + first;
        for (intptr_t j = 0; j < count; j++)
            bytes[j] = (int8_t)code[j];
    } else {
        int16_t *shorts = (int16_t *)out + first;
        for (intptr_t j = 0; j < count; j++)
            shorts[j] = (int16_t)code[j];
    }
}

/* Rows of channels shorter than a block are taken several at a time; of longer ones, the same part of each row is taken
   before the next part. What the channels need is then written seldom: once for a whole tensor with a single scale. */
#define BL_DEFINE_QUANTIZE(name, source, real, widened)                                                                \
    BL_INLINE void bl_quantize_##name(const source *restrict x, const real *scale, const int64_t *zero_point,          \
                                      intptr_t outer, intptr_t channels, intptr_t inner, int32_t low, int32_t high,    \
                                      const uint32_t *noise, void *out, int out_type)                                  \
    {                                                                                                                  \
        bl_quantize_block_##real b;                                                                                    \
        intptr_t rows = outer, period = channels * inner;                                                              \
        if (period == 0)                                                                                               \
            return;                                                                                                    \
        intptr_t step = BL_QUANTIZE_BLOCK, length = period;                                                            \
        const int several = period < BL_QUANTIZE_BLOCK;                                                                \
        if (several) {                                                                                                 \
            step -= step % period;                                                                                     \
            length *= rows;                                                                                            \
            rows = 1;                                                                                                  \
        }                                                                                                              \
        for (intptr_t position = 0, filled = -1; position < length; position += step) {                                \
            const intptr_t count = bl_min(step, length - position);                                                    \
            /* The channel of the whole block, or -1 where it has several. */                                          \
            const intptr_t c = position / inner, only = (position + count - 1) / inner == c ? c : -1;                  \
            if (position == 0 || (!several && (only < 0 || only != filled))) {                                         \
                bl_fill_channels_##real(&b, count, position, period, inner, scale, zero_point, low, high);             \
                filled = only;                                                                                         \
            }                                                                                                          \
            for (intptr_t o = 0; o < rows; o++) {                                                                      \
                const intptr_t first = o * period + position;                                                          \
                if (noise) {                                                                                           \
                    bl_fill_noise(b.noise, count, first, noise, outer, channels, inner);                               \
                    for (intptr_t j = 0; j < count; j++)                                                               \
                        b.quotient[j] = bl_clip_##real(&b, j, widened(x[first + j]));                                  \
                    bl_round_at_random_##real(&b, count);                                                              \
                } else                                                                                                 \
                    for (intptr_t j = 0; j < count; j++)                                                               \
                        b.code[j] = bl_nearest_##real(bl_clip_##real(&b, j, widened(x[first + j]))) + b.zero[j];       \
                bl_store_codes(b.code, count, first, out, out_type);                                                   \
            }                                                                                                          \
        }                                                                                                              \
    }
BL_DEFINE_QUANTIZE(float32, float, float, (float))
BL_DEFINE_QUANTIZE(float64, double, double, (double))
BL_DEFINE_QUANTIZE(int8, int8_t, double, (double))
BL_DEFINE_QUANTIZE(int16, int16_t, double, (double))
BL_DEFINE_QUANTIZE(int32, int32_t, double, (double))
BL_DEFINE_QUANTIZE(int64, int64_t, double, bl_double_of)

BL_INLINE void bl_quantize_loops(const void *x, int x_type, const void *scale, const int64_t *zero_point,
                                 intptr_t outer, intptr_t channels, intptr_t inner, int32_t low, int32_t high,
                                 const uint32_t *noise, void *out, int out_type)
{
#define BL_FROM(name) bl_quantize_##name(x, scale, zero_point, outer, channels, inner, low, high, noise, out, out_type)
    if (x_type == BL_FLOAT32)
        BL_FROM(float32);
    else if (x_type == BL_FLOAT64)
        BL_FROM(float64);
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

/* The three kernels of a variant, each function with the target attribute given (none for the baseline). */
#define BL_DEFINE_QUANTIZE_KERNELS(variant, target)                                                                    \
    target void bl_largest_magnitude_##variant(const void *x, int x_type, intptr_t outer, intptr_t channels,           \
                                               intptr_t inner, void *out)                                              \
    {                                                                                                                  \
        bl_largest_loops(x, x_type, outer, channels, inner, out);                                                      \
    }                                                                                                                  \
    target void bl_quantize_linear_##variant(const void *x, int x_type, const void *scale, const int64_t *zero_point,  \
                                             intptr_t outer, intptr_t channels, intptr_t inner, int32_t low,           \
                                             int32_t high, const uint32_t *noise, void *out, int out_type)             \
    {                                                                                                                  \
        bl_quantize_loops(x, x_type, scale, zero_point, outer, channels, inner, low, high, noise, out, out_type);      \
    }                                                                                                                  \
    target void bl_random_words_##variant(const uint32_t *key, int64_t start, int64_t stride, intptr_t rows,           \
                                          intptr_t n, uint32_t *out)                                                   \
    {                                                                                                                  \
        bl_random_words_loops(key, start, stride, rows, n, out);                                                       \
    }

#endif
