/* Copies of arrays, as they are or transposed. The instructions of any processor do. */
#include "portable.h"

void bl_copy_portable(const void *x, int x_type, intptr_t rows, intptr_t n, void *out)
{
    static const uint8_t bytes[] = {
        [BL_INT8] = 1,  [BL_INT16] = 2,  [BL_INT32] = 4,  [BL_INT64] = 8,   [BL_FLOAT32] = 4, [BL_FLOAT64] = 8,
        [BL_UINT8] = 1, [BL_UINT16] = 2, [BL_UINT32] = 4, [BL_UINT64] = 8, [BL_FLOAT16] = 2,
    };
    if (rows > 0 && n > 0)
        memcpy(out, x, (size_t)(rows * n) * bytes[x_type]);
}

void bl_cast_portable(const int32_t *x, intptr_t rows, intptr_t n, int16_t *out)
{
    for (intptr_t i = 0; i < rows * n; i++)
        out[i] = (int16_t)x[i];
}

void bl_multiply_scales_portable(const double *a, const double *b, intptr_t n, double *out)
{
    for (intptr_t i = 0; i < n; i++)
        out[i] = a[i] * *b;
}

#define SCALED(ctype)                                                                                                  \
    do {                                                                                                               \
        const ctype *row = (const ctype *)x + i * n;                                                                   \
        for (intptr_t j = 0; j < n; j++)                                                                               \
            to[j] = (float)((double)row[j] * worth);                                                                   \
    } while (0)

void bl_scale_sums_portable(const void *x, int x_type, const double *scale, int each, intptr_t rows, intptr_t n,
                            float *out)
{
    for (intptr_t i = 0; i < rows; i++) {
        const double worth = scale[each ? i : 0];
        float *restrict to = out + i * n;
        if (x_type == BL_INT32)
            SCALED(int32_t);
        else
            SCALED(int64_t);
    }
}

/* Rows of x whose lines stay in the first-level cache until all their values are taken. */
#define TILE 16

#define TRANSPOSED(ctype, name)                                                                                        \
    static void name(const ctype *x, double scale, intptr_t m, intptr_t n, float *restrict out)                        \
    {                                                                                                                  \
        for (intptr_t from = 0; from < m; from += TILE)                                                                \
            for (intptr_t j = 0; j < n; j++)                                                                           \
                for (intptr_t i = from; i < bl_min(from + TILE, m); i++)                                               \
                    out[j * m + i] = (float)((double)x[i * n + j] * scale);                                            \
    }
TRANSPOSED(int32_t, int32_transposed)
TRANSPOSED(int64_t, int64_transposed)
TRANSPOSED(float, float32_transposed)

void bl_scaled_transpose_portable(const void *x, int x_type, const double *scale, intptr_t m, intptr_t n, float *out)
{
    if (x_type == BL_INT32)
        int32_transposed(x, *scale, m, n, out);
    else if (x_type == BL_INT64)
        int64_transposed(x, *scale, m, n, out);
    else
        float32_transposed(x, *scale, m, n, out);
}
