/* What becomes of a channel's sums. The instructions of any processor do: it is a few operations a channel. */
#include <float.h>
#include <math.h>

#include "portable.h"

/* Number `which` (0 or 1) of channel c, added up over the groups one by one. */
static int64_t integer_sum(const int64_t *sums, intptr_t groups, int which, intptr_t channels, intptr_t c)
{
    int64_t sum = 0;
    for (intptr_t g = 0; g < groups; g++)
        sum += sums[(2 * g + which) * channels + c];
    return sum;
}

static double float_sum(const double *sums, intptr_t groups, int which, intptr_t channels, intptr_t c)
{
    double sum = 0;
    for (intptr_t g = 0; g < groups; g++)
        sum += sums[(2 * g + which) * channels + c];
    return sum;
}

static double sum_of(const void *sums, int type, intptr_t groups, int which, intptr_t channels, intptr_t c)
{
    return type == BL_FLOAT64 ? float_sum(sums, groups, which, channels, c)
                              : (double)integer_sum(sums, groups, which, channels, c);
}

/* total / count, rounded down, and what is left over. */
static int64_t floor_of(int64_t total, int64_t count, int64_t *rest)
{
    const int64_t floor = total / count - (total % count < 0);
    *rest = total - floor * count;
    return floor;
}

/* A double as it is stored: rounded once, to float16 or to float32. */
static double rounded(double x, int half) { return half ? bl_rounded_to_float16(x) : (double)(float)x; }

void bl_mean_bounds_portable(const int64_t *sums, intptr_t groups, int64_t count, intptr_t channels, int32_t *out)
{
    for (intptr_t c = 0; c < channels; c++) {
        int64_t rest;
        out[c] = (int32_t)(floor_of(integer_sum(sums, groups, 0, channels, c), count, &rest) + 1);
    }
}

/* The running statistic after a batch's; *finite = 0 where it is not. */
static float moved_by(float running, double value, double momentum, uint8_t *finite)
{
    const float moved = running * (float)momentum + (float)(value * (1 - momentum));
    if (!isfinite(moved))
        *finite = 0;
    return moved;
}

void bl_batch_statistics_portable(const int64_t *sums, intptr_t groups, const int64_t *above, intptr_t above_groups,
                                  int64_t count, double scale, double momentum, int half, const float *mean,
                                  const float *std, intptr_t channels, double *out, float *moved, uint8_t *finite)
{
    const double rows = (double)count;
    for (intptr_t c = 0; c < channels; c++) {
        const int64_t total = integer_sum(sums, groups, 0, channels, c);
        int64_t rest;
        const int64_t floor = floor_of(total, count, &rest);
        const double part = (double)rest / rows;
        double deviation;
        if (above_groups) {
            const int64_t terms = integer_sum(above, above_groups, 1, channels, c);
            const int64_t upper = integer_sum(above, above_groups, 0, channels, c) - floor * terms;
            const double excess = (double)upper - (double)terms * part;
            deviation = (excess > 0 ? excess : 0) * (2 / rows);
        } else {
            const int64_t squares = integer_sum(sums, groups, 1, channels, c) - floor * (total + rest);
            const double variance = (double)squares / rows - part * part;
            deviation = sqrt(variance > 0 ? variance : 0);
        }
        const double kept = rounded(deviation * scale, half);
        out[c] = (double)total / rows;
        out[channels + c] = kept / scale;
        moved[c] = moved_by(mean[c], out[c] * scale, momentum, finite);
        moved[channels + c] = moved_by(std[c], kept, momentum, finite);
    }
}

static int32_t clipped(double x)
{
    return x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : (int32_t)x;
}

void bl_norm_bounds_portable(const double *statistics, const float *bias, intptr_t channels, int32_t *out,
                             uint8_t *finite)
{
    const double *mean = statistics, *std = statistics + channels;
    for (intptr_t c = 0; c < channels; c++)
        if (!isfinite(mean[c]) || !isfinite(std[c]) || !isfinite(bias[c])) {
            *finite = 0;
            return;
        }
    for (intptr_t c = 0; c < channels; c++) {
        const double middle = mean[c] - (double)bias[c] * std[c];
        out[c] = clipped(ceil(middle));
        out[channels + c] = clipped(ceil(middle - std[c]));
        out[2 * channels + c] = clipped(floor(middle + std[c]));
    }
}

void bl_mean_magnitude_portable(const int64_t *sums, intptr_t groups, const int64_t *above, intptr_t above_groups,
                                int64_t count, const double *statistics, const float *bias, intptr_t channels, int half,
                                double *out)
{
    for (intptr_t c = 0; c < channels; c++) {
        const int64_t total = integer_sum(sums, groups, 0, channels, c);
        const int64_t upper = integer_sum(above, above_groups, 0, channels, c);
        const int64_t terms = integer_sum(above, above_groups, 1, channels, c);
        const double std = statistics[channels + c], bound = statistics[c] - (double)bias[c] * std;
        const double magnitude = (double)(2 * upper - total) - bound * (double)(2 * terms - count);
        out[c] = rounded(std > 0 ? magnitude / ((double)count * std) : 1, half);
    }
}

static float inverse(double std) { return std > 0 ? (float)(1 / std) : 0; }

void bl_mean_inverse_portable(const double *statistics, intptr_t channels, float *out)
{
    for (intptr_t c = 0; c < channels; c++) {
        out[c] = (float)statistics[c];
        out[channels + c] = inverse(statistics[channels + c]);
    }
}

void bl_bias_gradient_portable(const void *sums, int sums_type, intptr_t groups, const double *scale, intptr_t channels,
                               float *out)
{
    for (intptr_t c = 0; c < channels; c++)
        out[c] = (float)(sum_of(sums, sums_type, groups, 0, channels, c) * *scale);
}

void bl_l2_factors_portable(const void *sums, int sums_type, intptr_t groups, const double *statistics, int64_t count,
                            double scale, intptr_t channels, float *out)
{
    const double rows = (double)count;
    for (intptr_t c = 0; c < channels; c++) {
        const double total = sum_of(sums, sums_type, groups, 0, channels, c);
        const double products = sum_of(sums, sums_type, groups, 1, channels, c);
        const double mean = statistics[c], std = statistics[channels + c], by = inverse(std);
        const double slope = (products - mean * total) / rows * (by * by);
        out[c] = (float)slope;
        out[channels + c] = (float)(mean * slope - total / rows);
        out[2 * channels + c] = inverse(std * scale);
    }
}

void bl_l1_factors_portable(const void *sums, int sums_type, intptr_t groups, const double *magnitude,
                            const double *statistics, int64_t count, double scale, intptr_t channels, float *out)
{
    const double rows = (double)count;
    for (intptr_t c = 0; c < channels; c++) {
        const double total = sum_of(sums, sums_type, groups, 0, channels, c);
        const double signs = sums_type == BL_FLOAT64
                                 ? 2 * float_sum(sums, groups, 1, channels, c) - total
                                 : (double)(2 * integer_sum(sums, groups, 1, channels, c) -
                                            integer_sum(sums, groups, 0, channels, c));
        const double correction = signs * magnitude[c];
        out[c] = (float)(-(total + correction) / rows);
        out[channels + c] = (float)(-(total - correction) / rows);
        out[2 * channels + c] = inverse(statistics[channels + c] * scale);
    }
}

void bl_l1_exact_factors_portable(const void *sums, int sums_type, intptr_t groups, const int64_t *above,
                                  intptr_t above_groups, const double *statistics, int64_t count, double scale,
                                  intptr_t channels, float *out)
{
    const double rows = (double)count;
    for (intptr_t c = 0; c < channels; c++) {
        const double total = sum_of(sums, sums_type, groups, 0, channels, c);
        const double products = sum_of(sums, sums_type, groups, 1, channels, c);
        const double negative = sums_type == BL_FLOAT64 ? -total : 0 - total; /* an integer has no -0 */
        const double mean = statistics[c], std = statistics[channels + c];
        const double share = (double)(2 * integer_sum(above, above_groups, 1, channels, c) - count) / rows;
        const double slope = (products - mean * total) / rows * (double)inverse(std);
        out[c] = (float)(negative / rows - (1 - share) * slope);
        out[channels + c] = (float)(negative / rows + (1 + share) * slope);
        out[2 * channels + c] = inverse(std * scale);
    }
}

void bl_norm_step_portable(const float *peaks, intptr_t groups, int32_t limit, const double *scale, float *step,
                           double *out)
{
    float largest = 0;
    for (intptr_t g = 0; g < groups; g++)
        if (peaks[g] > largest || isnan(peaks[g]))
            largest = peaks[g];
    const float found = largest / (float)limit;
    *step = found == 0 ? 1 : found < FLT_MIN ? FLT_MIN : found;
    const double wanted = *scale * (double)*step;
    *out = wanted <= BL_LARGEST_SCALE ? wanted : BL_LARGEST_SCALE;
}
