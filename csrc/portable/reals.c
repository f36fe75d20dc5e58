/* Batch norm, average pooling and magnitudes of real values. Loops over channels, or over single rows whose order is
   fixed, with the instructions of any processor. */
#include <float.h>

#include "portable.h"

#include "../requantize.h"
#include "../updates.h"

/* Channels whose sums are in the first-level cache. */
#define BLOCK 64
#define EACH_BLOCK(channels)                                                                                           \
    for (intptr_t j = 0, width; j < (channels) && (width = bl_min(BLOCK, (channels) - j)); j += BLOCK)

#define SUMS(ctype)                                                                                                    \
    for (intptr_t i = g * rows; i < (g + 1) * rows; i++) {                                                             \
        const ctype *value = (const ctype *)d + i * channels + j;                                                      \
        const float *by = x + i * channels + j;                                                                        \
        for (intptr_t c = 0; c < width; c++) {                                                                         \
            sum[c] += (double)value[c];                                                                                \
            product[c] += (double)value[c] * (double)by[c];                                                            \
        }                                                                                                              \
    }

void bl_real_sums_portable(const void *d, int d_type, const float *x, intptr_t groups, intptr_t rows, intptr_t channels,
                           double *out)
{
    for (intptr_t g = 0; g < groups; g++)
        EACH_BLOCK(channels)
        {
            double sum[BLOCK] = {0}, product[BLOCK] = {0};
            if (d_type == BL_INT8)
                SUMS(int8_t)
            else if (d_type == BL_INT16)
                SUMS(int16_t)
            else
                SUMS(float)
            memcpy(out + 2 * g * channels + j, sum, (size_t)width * sizeof *sum);
            memcpy(out + (2 * g + 1) * channels + j, product, (size_t)width * sizeof *product);
        }
}

void bl_absolute_sums_portable(const float *x, const double *centre, intptr_t groups, intptr_t rows, intptr_t channels,
                               double *out)
{
    for (intptr_t g = 0; g < groups; g++)
        EACH_BLOCK(channels)
        {
            double sum[BLOCK] = {0};
            for (intptr_t i = g * rows; i < (g + 1) * rows; i++)
                for (intptr_t c = 0; c < width; c++)
                    sum[c] += fabs((double)x[i * channels + j + c] - centre[j + c]);
            memcpy(out + g * channels + j, sum, (size_t)width * sizeof *sum);
        }
}

/* Number `which` of `each` sums a channel, added up over the groups one by one. */
static double sum_of(const double *sums, intptr_t groups, int each, int which, intptr_t channels, intptr_t c)
{
    double sum = 0;
    for (intptr_t g = 0; g < groups; g++)
        sum += sums[(each * g + which) * channels + c];
    return sum;
}

/* A double as it is stored: rounded once, to float16 or to float32. */

void bl_real_statistics_portable(const double *sums, intptr_t groups, int64_t count, int half, intptr_t channels,
                                 double *out)
{
    const double rows = (double)count;
    for (intptr_t c = 0; c < channels; c++) {
        const double mean = sum_of(sums, groups, 2, 0, channels, c) / rows;
        const double variance = sum_of(sums, groups, 2, 1, channels, c) / rows - mean * mean;
        out[c] = mean;
        out[channels + c] = bl_rounded(sqrt(variance < 0 ? 0 : variance), half);
    }
}

void bl_absolute_mean_portable(const double *sums, intptr_t groups, int64_t count, int half, intptr_t channels,
                               double *out)
{
    for (intptr_t c = 0; c < channels; c++)
        out[c] = bl_rounded(sum_of(sums, groups, 1, 0, channels, c) / (double)count, half);
}

void bl_moved_statistics_portable(const double *statistics, double momentum, const float *mean, const float *std,
                                  intptr_t channels, float *out, uint8_t *finite)
{
    for (intptr_t c = 0; c < channels; c++) {
        out[c] = bl_moved(mean[c], statistics[c], momentum);
        out[channels + c] = bl_moved(std[c], statistics[channels + c], momentum);
        if (!isfinite(out[c]) || !isfinite(out[channels + c]))
            *finite = 0;
    }
}

void bl_average_pool_portable(const float *x, intptr_t height, intptr_t width_of, intptr_t batch, intptr_t h,
                              intptr_t w, intptr_t channels, intptr_t out_h, intptr_t out_w, float *out)
{
    const double count = (double)(height * width_of);
    for (intptr_t b = 0; b < batch; b++)
        for (intptr_t r = 0; r < out_h; r++)
            for (intptr_t s = 0; s < out_w; s++, out += channels)
                EACH_BLOCK(channels)
                {
                    double sum[BLOCK] = {0};
                    for (intptr_t t = 0; t < height * width_of; t++) {
                        const intptr_t row = (b * h + r * height + t / width_of) * w;
                        const float *tap = x + (row + s * width_of + t % width_of) * channels + j;
                        for (intptr_t c = 0; c < width; c++)
                            sum[c] += (double)tap[c];
                    }
                    for (intptr_t c = 0; c < width; c++)
                        out[j + c] = (float)(sum[c] / count);
                }
}

void bl_average_pool_gradient_portable(const void *d, int d_type, intptr_t height, intptr_t width, intptr_t batch,
                                       intptr_t h, intptr_t w, intptr_t channels, intptr_t out_h, intptr_t out_w,
                                       void *out)
{
    const intptr_t each = d_type == BL_INT8 ? 1 : d_type == BL_INT16 ? 2 : 4, bytes = each * channels;
    const float count = (float)(height * width);
    if (batch * h * w * bytes > 0)
        memset(out, 0, (size_t)(batch * h * w * bytes));
    for (intptr_t b = 0; b < batch; b++)
        for (intptr_t i = 0; i < out_h * height; i++)
            for (intptr_t j = 0; j < out_w * width; j++) {
                const intptr_t from = (b * out_h + i / height) * out_w + j / width, to = (b * h + i) * w + j;
                if (d_type != BL_FLOAT32) {
                    memcpy((char *)out + to * bytes, (const char *)d + from * bytes, (size_t)bytes);
                    continue;
                }
                for (intptr_t c = 0; c < channels; c++)
                    ((float *)out)[to * channels + c] = ((const float *)d)[from * channels + c] / count;
            }
}

void bl_mean_magnitudes_portable(const void *x, int x_type, intptr_t rows, intptr_t n, float *out)
{
    for (intptr_t i = 0; i < rows; i++) {
        double sum = 0;
        for (intptr_t j = i * n; j < (i + 1) * n; j++)
            sum += fabs((double)(x_type == BL_FLOAT32 ? ((const float *)x)[j] : bl_from_float16(((const uint16_t *)x)[j])));
        out[i] = (float)(sum / (double)bl_max(n, 1));
    }
}

void bl_quantize_rows_portable(const float *x, int32_t limit, intptr_t rows, intptr_t n, double *row_scale, void *out,
                               int out_type)
{
    for (intptr_t i = 0; i < rows; i++) {
        const float found = (float)bl_row_peak_float32(x, i * n, n) / (float)limit;
        const float step = found > 0 ? (found < FLT_MIN ? FLT_MIN : found) : 1;
        row_scale[i] = (double)step;
        bl_divide_float32(x, step, limit, i * n, n, out, out_type);
    }
}
