/* The part of the C contract that is for what a training step does between its products: passes over channels, the loss,
   updates of parameters. The rules and the types are those of kernels.h, which comes before. */

/* --- Passes over channels ---------------------------------------------------------------------------------------
   What lies between the products of a network, in one pass each: batch norm on integer sums, its sign, its gradient, and
   pooling. y and x are of y_type or x_type BL_INT16 or BL_INT32, d and its result of d_type BL_INT8 or BL_INT16. Sums
   are exact; float operations are single, in the order given. `words` = ceil(channels / 64). */

/* out[g, 0, c] = sum of y[g, :, c], out[g, 1, c] = sum of its squares. y (groups, rows, channels),
   out (groups, 2, channels). Limit: sums of squares below 2^63. */
void bl_channel_sums(int variant, const void *y, int y_type, intptr_t groups, intptr_t rows, intptr_t channels,
                     int64_t *out);

/* out[g, 0, c] = sum of those y[g, :, c] that are >= bound[c], out[g, 1, c] = their number. */
void bl_channel_sums_above(int variant, const void *y, int y_type, const int32_t *bound, intptr_t groups, intptr_t rows,
                           intptr_t channels, int64_t *out);

/* Bits out[i, 0] = y[i, c] >= threshold[c], out[i, 1] = low[c] <= y[i, c] <= high[c]. y (rows, channels),
   out (rows, 2, words). */
void bl_sign_pass(int variant, const void *y, int y_type, const int32_t *threshold, const int32_t *low,
                  const int32_t *high, intptr_t rows, intptr_t channels, uint64_t *out);

/* With d zeroed where its bit in passes is clear: out[g, 0, c] = sum of d[g, :, c], out[g, 1, c] = sum of d * x, or where
   x_type is BL_UINT64 sum of d where the bit of x is set. d and x (groups, rows, channels), passes and bits x
   (groups, rows, words), out (groups, 2, channels). */
void bl_gradient_sums(int variant, const void *d, int d_type, const uint64_t *passes, const void *x, int x_type,
                      intptr_t groups, intptr_t rows, intptr_t channels, int64_t *out);

/* The gradient dy = (e + d) * factor[c] in float32, with d zeroed as above and e = second[c] - x * first[c], or where
   x_type is BL_UINT64 e = first[c] where the bit of x is set, else second[c].
   out[g] = the largest |dy[g]|, not finite where one is not. */
void bl_norm_gradient_peak(int variant, const void *d, int d_type, const uint64_t *passes, const void *x, int x_type,
                           const float *first, const float *second, const float *factor, intptr_t groups, intptr_t rows,
                           intptr_t channels, float *out);

/* out = clip(round(dy / scale), -limit, limit), ties to even; dy is finite, and |limit| fits d_type, that of out, which
   may be d itself. */
void bl_norm_gradient(int variant, const void *d, int d_type, const uint64_t *passes, const void *x, int x_type,
                      const float *first, const float *second, const float *factor, float scale, int32_t limit,
                      intptr_t rows, intptr_t channels, void *out);

/* For each channel, in double, one operation at a time: the mean total / count and the standard deviation
   sqrt(max(0, s / count - (rest / count)^2)) with floor and rest of total / count and s = squares - floor * (total + rest)
   in int64. sums (groups, 2, channels) as channel_sums gives them, added up; count > 0; out (2, channels). */
void bl_l2_statistics(int variant, const int64_t *sums, intptr_t groups, int64_t count, intptr_t channels, double *out);

/* With middle = mean - shift * spread: out[0] = ceil(middle), where the sign turns, out[1] = ceil(middle - spread) and
   out[2] = floor(middle + spread), between which the gradient passes; clipped to int32. shift (channels) is finite, as
   are mean and spread (channels); out (3, channels). */
void bl_norm_bounds(int variant, const double *mean, const double *spread, const float *shift, intptr_t channels,
                    int32_t *out);

/* What norm_gradient takes for a standard deviation: out[0] = slope = (products - mean * total) / count * inverse^2 and
   out[1] = mean * slope - total / count, with inverse = 1 / spread rounded to float, 0 where spread is 0; out[2] = the
   same of spread * scale. sums (groups, 2, channels) as gradient_sums gives them; out (3, channels). */
void bl_l2_factors(int variant, const int64_t *sums, intptr_t groups, const double *mean, const double *spread,
                   int64_t count, double scale, intptr_t channels, float *out);

/* Where rows are few, the same in one call each; y, x, d and out as above, mean and spread (channels).
   A batch's statistics: out[0] and out[1] = mean and standard deviation as l2_statistics has them of channel_sums, the
   second rounded to float in units of 1 / scale; and the running mean and spread, in the units of y * scale, each
   running * momentum + (float)(batch * scale * (1 - momentum)) in single. *finite = 1; where one of these is not finite, 0,
   and they stay as they are. rows > 0; scale is a power of two; out (2, channels). */
void bl_batch_statistics(int variant, const void *y, int y_type, double scale, double momentum, float *mean,
                         float *spread, intptr_t rows, intptr_t channels, double *out, uint8_t *finite);

/* norm_bounds to bounds (3, channels), then sign_pass to out. */
void bl_norm_signs(int variant, const void *y, int y_type, const double *mean, const double *spread, const float *shift,
                   int32_t *bounds, intptr_t rows, intptr_t channels, uint64_t *out);

/* gradient_sums, l2_factors to factors (3, channels), shift[c] = (float)(sum * worth), and with the peak
   *step = peak / limit in single, at least the smallest normal float, 1 where the peak is 0; then norm_gradient to out.
   Where the peak is not finite *step is not, and out stays as it is. */
void bl_batch_gradient(int variant, const void *d, int d_type, const uint64_t *passes, const void *x, int x_type,
                       const double *mean, const double *spread, double scale, double worth, int32_t limit,
                       float *factors, float *shift, float *step, intptr_t rows, intptr_t channels, void *out);

/* The sizes of max pooling, images NHWC: windows of window x window, out_height x out_width of them, all inside. The
   place of a tap in its window, row by row, has `planes` bits: as many as window * window - 1 has. */
#define BL_POOL_PLANES 16
typedef struct {
    intptr_t batch, height, width, channels;
    intptr_t out_height, out_width;
    intptr_t window, stride;
    int planes;
} bl_pool2d;

/* out[b, r, s, c] = the largest x of the window. x (batch, height, width, channels),
   out (batch, out_height, out_width, channels) of the same type. */
void bl_max_pool(int variant, const void *x, int x_type, const bl_pool2d *shape, void *out);

/* Bit p of the first place of the window that holds the largest value. out (batch, out_height, out_width, planes, words);
   at most BL_POOL_PLANES planes. */
void bl_max_pool_places(int variant, const void *x, int x_type, const bl_pool2d *shape, uint64_t *out);

/* d of each window at its place, added up where windows overlap, 0 elsewhere; out (batch, height, width, channels) of
   d_type, BL_INT8, BL_INT16 or BL_FLOAT32, or of BL_INT32 where integers overlap. */
void bl_max_pool_gradient(int variant, const void *d, int d_type, const uint64_t *places, const bl_pool2d *shape,
                          void *out, int out_type);

/* --- The loss ---------------------------------------------------------------------------------------------------
   Softmax cross-entropy in double, one operation at a time. With x = scores[i, j] - max scores[i]: terms[1, i] = x of the
   label; scores[i, j] becomes exp(x), 2^k times the Taylor series of degree 13 of x - k * ln 2 (in two parts) by Horner's
   rule, 0 below -700; terms[0, i] = their sum in order; out[i, j] = (float)((exp(x) / sum - [j is the label]) / rows).
   labels (rows) in [0, classes), scores (rows, classes) finite, classes > 0, terms (2, rows), out (rows, classes). */
void bl_softmax_gradient(int variant, const int64_t *labels, intptr_t rows, intptr_t classes, double *scores,
                         double *terms, float *out);

/* --- Updates of parameters --------------------------------------------------------------------------------------
   One pass over a parameter, in float32, one IEEE operation after the other in the order written. weight, mean, square
   and moment (rows, n), of types BL_FLOAT32 or BL_UINT16, the bits of float16, rounded to nearest even where they are
   stored; they are changed in place. No value that becomes a float16 is NaN. The gradient G[i, j] by g_type:
   BL_FLOAT32: g (rows, n) itself; BL_INT32 and BL_INT64: g (rows, n) times *scale in float64, rounded to float32, times
   1[|weight| <= 1]; BL_UINT64: g (rows, ceil(n / 64)) packed signs, +1 or -1, times 1[|weight| <= 1]. */

/* mean = mean * beta1 + G * rest1; square = square * beta2 + (G * G) * rest2;
   weight = weight - rate * mean / (sqrt(square) + epsilon). coefficients: beta1, rest1, beta2, rest2, rate, epsilon. */
void bl_adam_update(int variant, const void *g, int g_type, const double *scale, const float *coefficients,
                    intptr_t rows, int64_t n, void *weight, int weight_type, void *mean, void *square,
                    int moment_type);

/* moment = moment * momentum + G * factor; weight = weight - rate * moment. coefficients: momentum, factor, rate. */
void bl_sgd_update(int variant, const void *g, int g_type, const double *scale, const float *coefficients,
                   intptr_t rows, int64_t n, void *weight, int weight_type, void *moment, int moment_type);

/* moment = moment * keep + G * factor; weight = -weight where weight * moment > threshold. coefficients: keep, factor,
   threshold. */
void bl_bop_update(int variant, const void *g, int g_type, const double *scale, const float *coefficients,
                   intptr_t rows, int64_t n, void *weight, int weight_type, void *moment, int moment_type);
