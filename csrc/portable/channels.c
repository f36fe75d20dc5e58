/* What becomes of a channel's sums. The instructions of any processor do: it is a few operations a channel. */
#include <math.h>

#include "portable.h"

/* The sum over the groups of number `which` (0 or 1) of channel c. */
static int64_t sum_of(const int64_t *sums, intptr_t groups, int which, intptr_t channels, intptr_t c)
{
    int64_t sum = 0;
    for (intptr_t g = 0; g < groups; g++)
        sum += sums[(2 * g + which) * channels + c];
    return sum;
}

void bl_l2_statistics_portable(const int64_t *sums, intptr_t groups, int64_t count, intptr_t channels, double *out)
{
    const double rows = (double)count;
    for (intptr_t c = 0; c < channels; c++) {
        const int64_t total = sum_of(sums, groups, 0, channels, c);
        int64_t floor = total / count, rest = total % count;
        if (rest < 0) {
            floor--;
            rest += count;
        }
        const double s = (double)(sum_of(sums, groups, 1, channels, c) - floor * (total + rest));
        const double part = (double)rest / rows, variance = s / rows - part * part;
        out[c] = (double)total / rows;
        out[channels + c] = sqrt(variance > 0 ? variance : 0);
    }
}

static int32_t clipped(double x)
{
    return x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : (int32_t)x;
}

void bl_norm_bounds_portable(const double *mean, const double *spread, const float *shift, intptr_t channels,
                             int32_t *out)
{
    for (intptr_t c = 0; c < channels; c++) {
        const double middle = mean[c] - (double)shift[c] * spread[c];
        out[c] = clipped(ceil(middle));
        out[channels + c] = clipped(ceil(middle - spread[c]));
        out[2 * channels + c] = clipped(floor(middle + spread[c]));
    }
}

static float inverse(double spread) { return spread > 0 ? (float)(1 / spread) : 0; }

void bl_l2_factors_portable(const int64_t *sums, intptr_t groups, const double *mean, const double *spread,
                            int64_t count, double scale, intptr_t channels, float *out)
{
    const double rows = (double)count;
    for (intptr_t c = 0; c < channels; c++) {
        const double total = (double)sum_of(sums, groups, 0, channels, c);
        const double products = (double)sum_of(sums, groups, 1, channels, c), by = inverse(spread[c]);
        const double slope = (products - mean[c] * total) / rows * (by * by);
        out[c] = (float)slope;
        out[channels + c] = (float)(mean[c] * slope - total / rows);
        out[2 * channels + c] = inverse(spread[c] * scale);
    }
}
