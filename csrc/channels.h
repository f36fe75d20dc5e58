/* What becomes of a channel's sums: a few operations a channel. Included behind a variant's lanes.h. */
#include <float.h>
#include <math.h>

/* Number `which` (0 or 1) of channel c, added up over the groups one by one. */
BL_INLINE int64_t integer_sum(const int64_t *sums, intptr_t groups, int which, intptr_t channels, intptr_t c)
{
    int64_t sum = 0;
    for (intptr_t g = 0; g < groups; g++)
        sum += sums[(2 * g + which) * channels + c];
    return sum;
}

BL_INLINE double float_sum(const double *sums, intptr_t groups, int which, intptr_t channels, intptr_t c)
{
    double sum = 0;
    for (intptr_t g = 0; g < groups; g++)
        sum += sums[(2 * g + which) * channels + c];
    return sum;
}

BL_INLINE double sum_of(const void *sums, int type, intptr_t groups, int which, intptr_t channels, intptr_t c)
{
    return type == BL_FLOAT64 ? float_sum(sums, groups, which, channels, c)
                              : (double)integer_sum(sums, groups, which, channels, c);
}

/* total / count, rounded down, and what is left over. The quotient is a mean of int32 values, so that of doubles is
   off by one at most, and is vector code. */
BL_INLINE int64_t floor_of(int64_t total, int64_t count, int64_t *rest)
{
    const int64_t near = (int64_t)floor((double)total / (double)count), left = total - near * count;
    const int64_t more = (left >= count) - (left < 0);
    *rest = left - more * count;
    return near + more;
}

BL_VARIANT_TARGET void BL_VARIANT(mean_bounds)(const int64_t *sums, intptr_t groups, int64_t count, intptr_t channels,
                                               int32_t *out)
{
    for (intptr_t c = 0; c < channels; c++) {
        int64_t rest;
        out[c] = (int32_t)(floor_of(integer_sum(sums, groups, 0, channels, c), count, &rest) + 1);
    }
}

/* Those of channels [at, at + width). */
BL_INLINE void block_sums(const int64_t *sums, intptr_t groups, int which, intptr_t channels, intptr_t at,
                          intptr_t width, int64_t out[LANES])
{
    memset(out, 0, LANES * sizeof *out);
    for (intptr_t g = 0; g < groups; g++)
        for (intptr_t c = 0; c < width; c++)
            out[c] += sums[(2 * g + which) * channels + at + c];
}

/* 64 channels at a time, in loops that compilers make vector code of. */
BL_VARIANT_TARGET void BL_VARIANT(batch_statistics)(const int64_t *sums, intptr_t groups, const int64_t *above,
                                                    intptr_t above_groups, int64_t count, double scale,
                                                    double momentum, int half, const float *mean, const float *std,
                                                    intptr_t channels, double *out, float *moved, uint8_t *finite)
{
    const double rows = (double)count;
    int infinite = 0;
    EACH_BLOCK(channels)
    {
        int64_t total[LANES], second[LANES], terms[LANES];
        double deviation[LANES];
        block_sums(sums, groups, 0, channels, j, width, total);
        if (above_groups) {
            block_sums(above, above_groups, 0, channels, j, width, second);
            block_sums(above, above_groups, 1, channels, j, width, terms);
            for (intptr_t c = 0; c < width; c++) {
                int64_t rest;
                const int64_t floor = floor_of(total[c], count, &rest);
                const double part = (double)rest / rows;
                const double excess = (double)(second[c] - floor * terms[c]) - (double)terms[c] * part;
                deviation[c] = (excess > 0 ? excess : 0) * (2 / rows);
            }
        } else {
            block_sums(sums, groups, 1, channels, j, width, second);
            for (intptr_t c = 0; c < width; c++) {
                int64_t rest;
                const int64_t floor = floor_of(total[c], count, &rest);
                const double part = (double)rest / rows;
                const double variance = (double)(second[c] - floor * (total[c] + rest)) / rows - part * part;
                deviation[c] = sqrt(variance > 0 ? variance : 0);
            }
        }
        for (intptr_t c = 0; c < width; c++) {
            const double kept = bl_rounded(deviation[c] * scale, half), middle = (double)total[c] / rows;
            const float new_mean = bl_moved(mean[j + c], middle * scale, momentum);
            const float new_std = bl_moved(std[j + c], kept, momentum);
            infinite |= !isfinite(new_mean) | !isfinite(new_std);
            out[j + c] = middle;
            out[channels + j + c] = kept / scale;
            moved[j + c] = new_mean;
            moved[channels + j + c] = new_std;
        }
    }
    if (infinite)
        *finite = 0;
}

BL_INLINE int32_t clipped(double x)
{
    return x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : (int32_t)x;
}

BL_VARIANT_TARGET void BL_VARIANT(norm_bounds)(const double *statistics, const float *bias, double clip,
                                               intptr_t channels, int32_t *out, uint8_t *finite)
{
    const double *mean = statistics, *std = statistics + channels;
    int infinite = 0;
    for (intptr_t c = 0; c < channels; c++)
        infinite |= !isfinite(mean[c]) | !isfinite(std[c]) | !isfinite(bias[c]);
    if (infinite) {
        *finite = 0;
        return;
    }
    for (intptr_t c = 0; c < channels; c++) {
        const double middle = mean[c] - (double)bias[c] * std[c], width = clip * std[c];
        out[c] = clipped(ceil(middle));
        out[channels + c] = clipped(ceil(middle - width));
        out[2 * channels + c] = clipped(floor(middle + width));
    }
}

BL_VARIANT_TARGET void BL_VARIANT(mean_magnitude)(const int64_t *sums, intptr_t groups, const int64_t *above,
                                                  intptr_t above_groups, int64_t count, const double *statistics,
                                                  const float *bias, intptr_t channels, int half, double *out)
{
    for (intptr_t c = 0; c < channels; c++) {
        const int64_t total = integer_sum(sums, groups, 0, channels, c);
        const int64_t upper = integer_sum(above, above_groups, 0, channels, c);
        const int64_t terms = integer_sum(above, above_groups, 1, channels, c);
        const double std = statistics[channels + c], bound = statistics[c] - (double)bias[c] * std;
        const double magnitude = (double)(2 * upper - total) - bound * (double)(2 * terms - count);
        out[c] = bl_rounded(std > 0 ? magnitude / ((double)count * std) : 1, half);
    }
}

BL_INLINE float inverse(double std) { return std > 0 ? (float)(1 / std) : 0; }

BL_VARIANT_TARGET void BL_VARIANT(mean_inverse)(const double *statistics, intptr_t channels, float *out)
{
    for (intptr_t c = 0; c < channels; c++) {
        out[c] = (float)statistics[c];
        out[channels + c] = inverse(statistics[channels + c]);
    }
}

BL_VARIANT_TARGET void BL_VARIANT(bias_gradient)(const void *sums, int sums_type, intptr_t groups, const double *scale,
                                                 intptr_t channels, float *out)
{
    for (intptr_t c = 0; c < channels; c++)
        out[c] = (float)(sum_of(sums, sums_type, groups, 0, channels, c) * *scale);
}

BL_VARIANT_TARGET void BL_VARIANT(l2_factors)(const void *sums, int sums_type, intptr_t groups,
                                              const double *statistics, int64_t count, double scale, intptr_t channels,
                                              float *out)
{
    const double rows = (double)count;
    for (intptr_t c = 0; c < channels; c++) {
        const double total = sum_of(sums, sums_type, groups, 0, channels, c);
        const double products = sum_of(sums, sums_type, groups, 1, channels, c);
        const double mean = statistics[c], std = statistics[channels + c], by = (double)inverse(std);
        const double slope = (products - mean * total) / rows * (by * by);
        out[c] = (float)slope;
        out[channels + c] = (float)(mean * slope - total / rows);
        out[2 * channels + c] = inverse(std * scale);
    }
}

BL_VARIANT_TARGET void BL_VARIANT(l1_factors)(const void *sums, int sums_type, intptr_t groups,
                                              const double *magnitude, const double *statistics, int64_t count,
                                              double scale, intptr_t channels, float *out)
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

BL_VARIANT_TARGET void BL_VARIANT(l1_exact_factors)(const void *sums, int sums_type, intptr_t groups,
                                                    const int64_t *above, intptr_t above_groups,
                                                    const double *statistics, int64_t count, double scale,
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

BL_VARIANT_TARGET void BL_VARIANT(norm_step)(const float *peaks, intptr_t groups, int32_t limit, const double *scale,
                                             float *step, double *out)
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
