/* The part of the C contract that is for batch norms, between a training step's products. The rules and the types are
   those of kernels.h, which comes before. What one kernel finds and another needs lies in arrays, of one element where it
   is one number. A `finite` (1) becomes 0 where that is said, and else stays as it is. */

/* --- Batch norm -------------------------------------------------------------------------------------------------
   On integer sums y and x, of y_type or x_type BL_INT16 or BL_INT32; x may be packed signs too, of BL_UINT64, and where
   that is said y or x real values, of BL_FLOAT32. d is a
   gradient of d_type BL_INT8, BL_INT16 or BL_FLOAT32, zeroed where its bit in mask is clear; mask NULL: nowhere.
   `words` = ceil(channels / 64). Integer sums are exact; float operations are single, one at a time in the order
   given, where no double is named. */

/* out[g, 0, c] = sum of y[g, :, c], out[g, 1, c] = sum of its squares. y (groups, rows, channels),
   out (groups, 2, channels). Limit: sums of squares below 2^63. */
void bl_channel_sums(int variant, const void *y, int y_type, intptr_t groups, intptr_t rows, intptr_t channels,
                     int64_t *out);

/* out[g, 0, c] = sum of those y[g, :, c] that are >= bound[c], out[g, 1, c] = their number. */
void bl_channel_sums_above(int variant, const void *y, int y_type, const int32_t *bound, intptr_t groups, intptr_t rows,
                           intptr_t channels, int64_t *out);

/* Bits signs[i] = y[i, c] >= bounds[0, c], mask[i] = bounds[1, c] <= y[i, c] <= bounds[2, c]. y (rows, channels),
   bounds (3, channels), signs and mask (rows, words). */
void bl_norm_signs(int variant, const void *y, int y_type, const int32_t *bounds, intptr_t rows, intptr_t channels,
                   uint64_t *signs, uint64_t *mask);

/* out = (y * (float)scale - centre[0, c]) * centre[1, c] + bias[c]. y, which may be real, and out (rows, channels),
   centre (2, channels) as mean_inverse has it, bias (channels). */
void bl_norm_values(int variant, const void *y, int y_type, double scale, const float *centre, const float *bias,
                    intptr_t rows, intptr_t channels, float *out);

/* out[g, 0, c] = sum of d[g, :, c], out[g, 1, c] = sum of d * x, or where x_type is BL_UINT64 sum of d where the bit
   of x is set. d and x (groups, rows, channels), mask and bits x (groups, rows, words), out (groups, 2, channels):
   int64, or of float32 d double, added up row by row, with 1 and 0 for the bits of x. */
void bl_gradient_sums(int variant, const void *d, int d_type, const uint64_t *mask, const void *x, int x_type,
                      intptr_t groups, intptr_t rows, intptr_t channels, void *out);

/* The gradient dy = (e + d) * factors[2, c], with e = factors[1, c] - x * factors[0, c], or where x_type is BL_UINT64
   e = factors[0, c] where the bit of x is set, else factors[1, c]. x may be real. factors (3, channels).
   out[g] = the largest |dy[g]|, 0 of nothing, not finite where one is not; d_type BL_INT8 or BL_INT16. */
void bl_norm_gradient_peak(int variant, const void *d, int d_type, const uint64_t *mask, const void *x, int x_type,
                           const float *factors, intptr_t groups, intptr_t rows, intptr_t channels, float *out);

/* out = clip(round(dy / *step), -limit, limit), ties to even, where that is a number, and limit fits d_type; of a
   float32 d dy itself, and step and limit are not used. out (rows, channels) is of d_type, and may be d itself. */
void bl_norm_gradient(int variant, const void *d, int d_type, const uint64_t *mask, const void *x, int x_type,
                      const float *factors, const float *step, int32_t limit, intptr_t rows, intptr_t channels,
                      void *out);

/* --- What becomes of a channel's sums ---------------------------------------------------------------------------
   In double, one operation at a time, rounded where it is stored. sums and above (groups, 2, channels) are what
   channel_sums and channel_sums_above (or gradient_sums, where there is a sums_type, BL_INT64 or BL_FLOAT64) give, and
   are added up over their groups first, in their order; [0] and [1] below are those two numbers. count > 0 is the
   number of rows, mean = statistics[0, c] and std = statistics[1, c] of statistics (2, channels). inverse(s) =
   (float)(1 / s), and 0 where s > 0 does not hold. `half`: what is stored is rounded to float16, else to float32,
   once. */

/* out[c] = floor(sums[0] / count) + 1: the least integer above the mean. */
void bl_mean_bounds(int variant, const int64_t *sums, intptr_t groups, int64_t count, intptr_t channels, int32_t *out);

/* A batch's statistics, and the running ones after it. With floor and rest of sums[0] / count: out[0] = sums[0] / count.
   Where above_groups is 0 the standard deviation: deviation = sqrt(max(0, s / count - (rest / count)^2)) with
   s = sums[1] - floor * (sums[0] + rest) in int64. Else the mean absolute deviation, with above those of mean_bounds:
   deviation = max(0, u - above[1] * (rest / count)) * (2 / count) with u = above[0] - floor * above[1] in int64.
   kept = deviation * scale, rounded as `half` says, and out[1] = kept / scale; scale is a power of two.
   moved[0] = mean * (float)momentum + (float)(out[0] * scale * (1 - momentum)), the last product in double, the rest in
   single; moved[1] the same of std, with kept in the place of out[0] * scale. *finite = 0 where one of these is not
   finite. mean and std (channels) are the running ones; out and moved (2, channels). */
void bl_batch_statistics(int variant, const int64_t *sums, intptr_t groups, const int64_t *above,
                         intptr_t above_groups, int64_t count, double scale, double momentum, int half,
                         const float *mean, const float *std, intptr_t channels, double *out, float *moved,
                         uint8_t *finite);

/* With middle = mean - bias * std and width = clip * std: out[0] = ceil(middle), where the sign turns, out[1] =
   ceil(middle - width) and out[2] = floor(middle + width), between which the gradient passes; clipped to int32. Where a
   mean, a std or a bias is not finite *finite = 0, and out stays as it is. bias (channels), out (3, channels). */
void bl_norm_bounds(int variant, const double *statistics, const float *bias, double clip, intptr_t channels,
                    int32_t *out, uint8_t *finite);

/* out[c] = the mean of |(y - mean) / std + bias|, rounded as `half` says, 1 where std > 0 does not hold. With
   bound = mean - bias * std it is ((2 * above[0] - sums[0]) - bound * (2 * above[1] - count)) / (count * std), the first
   and the last difference in int64. sums are those of y, above those of norm_bounds' first; bias and out (channels). */
void bl_mean_magnitude(int variant, const int64_t *sums, intptr_t groups, const int64_t *above, intptr_t above_groups,
                       int64_t count, const double *statistics, const float *bias, intptr_t channels, int half,
                       double *out);

/* out[0] = (float)mean, out[1] = inverse(std); out (2, channels). */
void bl_mean_inverse(int variant, const double *statistics, intptr_t channels, float *out);

/* out[c] = (float)(sums[0] * *scale). */
void bl_bias_gradient(int variant, const void *sums, int sums_type, intptr_t groups, const double *scale,
                      intptr_t channels, float *out);

/* What norm_gradient takes for a standard deviation: slope = (sums[1] - mean * sums[0]) / count * inverse(std)^2,
   out[0] = slope, out[1] = mean * slope - sums[0] / count, out[2] = inverse(std * scale). sums are those with the sums
   as x; out (3, channels). */
void bl_l2_factors(int variant, const void *sums, int sums_type, intptr_t groups, const double *statistics,
                   int64_t count, double scale, intptr_t channels, float *out);

/* For a mean absolute deviation: r = (2 * sums[1] - sums[0]) * magnitude[c], the difference of integers in int64,
   out[0] = -(sums[0] + r) / count, out[1] = -(sums[0] - r) / count, out[2] = inverse(std * scale). sums are those with
   the signs as x, magnitude (channels) as mean_magnitude has it. */
void bl_l1_factors(int variant, const void *sums, int sums_type, intptr_t groups, const double *magnitude,
                   const double *statistics, int64_t count, double scale, intptr_t channels, float *out);

/* The exact ones: share = (2 * above[1] - count) / count, slope = (sums[1] - mean * sums[0]) / count * inverse(std),
   out[0] = -sums[0] / count - (1 - share) * slope, out[1] = -sums[0] / count + (1 + share) * slope,
   out[2] = inverse(std * scale). sums are those with the sums as x. */
void bl_l1_exact_factors(int variant, const void *sums, int sums_type, intptr_t groups, const int64_t *above,
                         intptr_t above_groups, const double *statistics, int64_t count, double scale,
                         intptr_t channels, float *out);

/* *step = the largest of peaks (groups) / limit in single, at least the smallest normal float, 1 where it is 0;
   *out = *scale * *step, BL_LARGEST_SCALE where that is larger, or no number: sums of codes of the largest scale, and their
   squares, stay finite in float. */
#define BL_LARGEST_SCALE 1073741824
void bl_norm_step(int variant, const float *peaks, intptr_t groups, int32_t limit, const double *scale, float *step,
                  double *out);

/* --- Batch norm of real values ----------------------------------------------------------------------------------
   x (groups, rows, channels). Sums are in double, row by row, as everything here that is not said to be float. */

/* out[g, 0, c] = sum of d[g, :, c], out[g, 1, c] = sum of d * x. d, of d_type BL_INT8, BL_INT16 or BL_FLOAT32, is of the
   size of x, and may be x. out (groups, 2, channels). */
void bl_real_sums(int variant, const void *d, int d_type, const float *x, intptr_t groups, intptr_t rows,
                  intptr_t channels, double *out);

/* out[g, c] = sum of |x[g, :, c] - centre[c]|. centre (channels), out (groups, channels). */
void bl_absolute_sums(int variant, const float *x, const double *centre, intptr_t groups, intptr_t rows,
                      intptr_t channels, double *out);

/* With sums (groups, 2, channels) of x and x, added up over the groups in their order: out[0] = sums[0] / count,
   out[1] = sqrt(max(0, sums[1] / count - out[0]^2)), rounded to float16 where `half`, else to float32. out (2, channels);
   count > 0. */
void bl_real_statistics(int variant, const double *sums, intptr_t groups, int64_t count, int half, intptr_t channels,
                        double *out);

/* out[c] = sums / count, rounded as above; sums (groups, channels), added up over the groups. */
void bl_absolute_mean(int variant, const double *sums, intptr_t groups, int64_t count, int half, intptr_t channels,
                      double *out);

/* out[0] = mean * (float)momentum + (float)(statistics[0] * (1 - momentum)), the last product in double, the rest in
   single; out[1] the same of std and statistics[1]. *finite = 0 where one of these is not finite. statistics and out
   (2, channels), mean and std (channels) the running ones. */
void bl_moved_statistics(int variant, const double *statistics, double momentum, const float *mean, const float *std,
                         intptr_t channels, float *out, uint8_t *finite);
