/* Values of some rows and columns, taken out of an array and put back. */
#include "portable.h"

#define TAKEN(ctype, name)                                                                                             \
    static void name(const ctype *x, const int64_t *rows, const int64_t *columns, intptr_t n, intptr_t k, intptr_t c,  \
                     ctype *restrict out)                                                                              \
    {                                                                                                                  \
        for (intptr_t i = 0; i < k; i++) {                                                                             \
            const ctype *from = x + rows[i] * n;                                                                       \
            ctype *restrict to = out + i * c;                                                                          \
            for (intptr_t j = 0; j < c; j++)                                                                           \
                to[j] = from[columns[j]];                                                                              \
        }                                                                                                              \
    }
TAKEN(int8_t, take_int8)
TAKEN(int16_t, take_int16)
TAKEN(int32_t, take_int32)
TAKEN(int64_t, take_int64)
TAKEN(float, take_float32)

void bl_take_portable(const void *x, int x_type, const int64_t *kept_rows, const int64_t *kept_columns, intptr_t n,
                      intptr_t k, intptr_t c, void *out)
{
    if (x_type == BL_INT8)
        take_int8(x, kept_rows, kept_columns, n, k, c, out);
    else if (x_type == BL_INT16)
        take_int16(x, kept_rows, kept_columns, n, k, c, out);
    else if (x_type == BL_INT32)
        take_int32(x, kept_rows, kept_columns, n, k, c, out);
    else if (x_type == BL_INT64)
        take_int64(x, kept_rows, kept_columns, n, k, c, out);
    else
        take_float32(x, kept_rows, kept_columns, n, k, c, out);
}

#define SPREAD(ctype, name)                                                                                            \
    static void name(const ctype *x, const int64_t *rows, const int64_t *columns, intptr_t n, intptr_t k, intptr_t c,  \
                     ctype *restrict out)                                                                              \
    {                                                                                                                  \
        for (intptr_t i = 0; i < k; i++) {                                                                             \
            const ctype *from = x + i * c;                                                                             \
            ctype *restrict to = out + rows[i] * n;                                                                    \
            for (intptr_t j = 0; j < c; j++)                                                                           \
                to[columns[j]] = from[j];                                                                              \
        }                                                                                                              \
    }
SPREAD(int32_t, spread_int32)
SPREAD(int64_t, spread_int64)
SPREAD(float, spread_float32)

void bl_spread_portable(const void *x, int x_type, const int64_t *kept_rows, const int64_t *kept_columns, intptr_t n,
                        intptr_t k, intptr_t c, void *out)
{
    if (x_type == BL_INT32)
        spread_int32(x, kept_rows, kept_columns, n, k, c, out);
    else if (x_type == BL_INT64)
        spread_int64(x, kept_rows, kept_columns, n, k, c, out);
    else
        spread_float32(x, kept_rows, kept_columns, n, k, c, out);
}

void bl_take_bits_portable(const uint64_t *x, int64_t n, const int64_t *kept_rows, const int64_t *kept_columns, intptr_t k,
                           intptr_t c, uint64_t *out)
{
    const intptr_t words = (intptr_t)((n + 63) / 64);
    for (intptr_t i = 0; i < k; i++) {
        const uint64_t *from = x + kept_rows[i] * words;
        for (intptr_t j = 0; j < c; j += 64) {
            uint64_t word = 0;
            for (intptr_t b = 0; b < bl_min(64, c - j); b++) {
                const int64_t column = kept_columns[j + b];
                word |= (from[column >> 6] >> (column & 63) & 1) << b;
            }
            *out++ = word;
        }
    }
}
