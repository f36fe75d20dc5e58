/* Batch norm with a standard deviation, a call for what otherwise takes several: where the rows are few, the calls cost
   more than the work. A variant's passes.c includes this file behind passes.h, from whose parts it is made. */
#include <float.h>
#include <math.h>

#include "portable/portable.h"

BL_PASS_TARGET void BL_PASS(batch_statistics)(const void *y, int y_type, double scale, double momentum, float *mean,
                                              float *spread, intptr_t rows, intptr_t channels, double *out,
                                              uint8_t *finite)
{
    const float kept = (float)momentum;
    double *batch_mean = out, *batch_spread = out + channels;
    EACH_BLOCK(channels)
    {
        int64_t sums[2 * LANES] = {0};
        double found[2 * LANES];
        sums_of(y, y_type, 0, rows, channels, j, width, sums, sums + LANES);
        bl_l2_statistics_portable(sums, 1, rows, LANES, found);
        for (intptr_t c = 0; c < width; c++) {
            batch_mean[j + c] = found[c];
            batch_spread[j + c] = (double)(float)(found[LANES + c] * scale) / scale;
        }
    }
    *finite = 1;
    for (int writes = 0; writes <= *finite; writes++)
        for (intptr_t c = 0; c < channels; c++) {
            const float new_mean = mean[c] * kept + (float)(batch_mean[c] * scale * (1 - momentum));
            const float new_spread = spread[c] * kept + (float)(batch_spread[c] * scale * (1 - momentum));
            if (writes) {
                mean[c] = new_mean;
                spread[c] = new_spread;
            } else if (!isfinite(new_mean) || !isfinite(new_spread))
                *finite = 0;
        }
}

BL_PASS_TARGET void BL_PASS(norm_signs)(const void *y, int y_type, const double *mean, const double *spread,
                                        const float *shift, int32_t *bounds, intptr_t rows, intptr_t channels,
                                        uint64_t *out)
{
    bl_norm_bounds_portable(mean, spread, shift, channels, bounds);
    BL_PASS(sign_pass)(y, y_type, bounds, bounds + channels, bounds + 2 * channels, rows, channels, out);
}

BL_PASS_TARGET void BL_PASS(batch_gradient)(const void *d, int d_type, const uint64_t *passes, const void *x, int x_type,
                                            const double *mean, const double *spread, double scale, double worth,
                                            int32_t limit, float *factors, float *shift, float *step, intptr_t rows,
                                            intptr_t channels, void *out)
{
    float *slope = factors, *offset = factors + channels, *factor = factors + 2 * channels;
    EACH_BLOCK(channels)
    {
        int64_t sums[2 * LANES] = {0};
        double of_mean[LANES] = {0}, of_spread[LANES] = {0};
        float found[3 * LANES];
        gradient_sums_of(d, d_type, passes, x, x_type, 0, rows, channels, j, width, sums, sums + LANES);
        memcpy(of_mean, mean + j, (size_t)width * sizeof *mean);
        memcpy(of_spread, spread + j, (size_t)width * sizeof *spread);
        bl_l2_factors_portable(sums, 1, of_mean, of_spread, rows, scale, LANES, found);
        for (intptr_t c = 0; c < width; c++) {
            slope[j + c] = found[c];
            offset[j + c] = found[LANES + c];
            factor[j + c] = found[2 * LANES + c];
            shift[j + c] = (float)((double)sums[c] * worth);
        }
    }
    float peak;
    BL_PASS(norm_gradient_peak)(d, d_type, passes, x, x_type, slope, offset, factor, 1, rows, channels, &peak);
    *step = peak / (float)limit;
    if (!isfinite(peak))
        return;
    if (*step == 0)
        *step = 1;
    else if (*step < FLT_MIN)
        *step = FLT_MIN;
    BL_PASS(norm_gradient)(d, d_type, passes, x, x_type, slope, offset, factor, *step, limit, rows, channels, out);
}
