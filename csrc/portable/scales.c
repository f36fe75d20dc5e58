/* What a code is worth, from the peaks of the values. The instructions of any processor do: it is a few operations a
   peak. The comparisons pass NaN on. */
#include <float.h>

#include "portable.h"

static double larger(double x, double largest) { return x > largest || x != x ? x : largest; }
static double at_most(double x, double limit) { return limit < x ? limit : x; }
static double at_least_one(double x) { return x < 1 ? 1 : x; }

/* The largest of numbers that are none of them below 0, and 0 of nothing. */
static double largest_of(const double *x, intptr_t count)
{
    double largest = 0;
    for (intptr_t i = 0; i < count; i++)
        largest = larger(x[i], largest);
    return largest;
}

void bl_quantize_step_portable(const double *peaks, intptr_t groups, int32_t limit, double *out, uint8_t *finite)
{
    const float found = (float)largest_of(peaks, groups) / (float)limit;
    if (!(found <= FLT_MAX))
        *finite = 0;
    *out = found == 0 ? 1 : (double)(found < FLT_MIN ? FLT_MIN : found);
}

void bl_requantize_step_portable(const double *peaks, intptr_t rows, int32_t limit, const double *scale,
                                 intptr_t scales, double *step, intptr_t steps, double *out)
{
    double worth;
    if (scales == 1) {
        const double one = at_least_one(largest_of(peaks, rows) / (double)limit);
        for (intptr_t i = 0; i < steps; i++)
            step[i] = one;
        worth = *scale * one;
    } else {
        double most = 0;
        for (intptr_t i = 0; i < rows; i++)
            most = larger(peaks[i] * scale[i], most);
        worth = most > 0 ? most / (double)limit : 1;
        for (intptr_t i = 0; i < steps; i++)
            step[i] = worth / scale[i];
    }
    *out = at_most(worth, BL_LARGEST_SCALE);
}

void bl_largest_scale_portable(const double *row_scale, intptr_t rows, double *out)
{
    const double largest = largest_of(row_scale, rows);
    *out = at_most(largest == 0 ? 1 : largest, BL_LARGEST_SCALE);
}

void bl_narrow_step_portable(const double *peaks, intptr_t groups, intptr_t channels, int32_t limit,
                             const double *scale, double *step, double *out)
{
    for (intptr_t c = 0; c < channels; c++)
        step[c] = 0;
    for (intptr_t g = 0; g < groups; g++)
        for (intptr_t c = 0; c < channels; c++)
            step[c] = larger(peaks[g * channels + c], step[c]);
    for (intptr_t c = 0; c < channels; c++) {
        step[c] = at_least_one(step[c] / (double)limit);
        out[c] = *scale * step[c];
    }
}

void bl_count_step_portable(intptr_t n, int64_t *counts)
{
    for (intptr_t i = 0; i < n; i++)
        counts[i]++;
}
