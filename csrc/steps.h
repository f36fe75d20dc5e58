/* The part of the C contract that is for what a training step does between its products, but for batch norms
   (norm_steps.h): pooling, passes over arrays, the loss, updates of parameters. The rules and the types are those of
   kernels.h, which comes before. What one kernel finds and another needs lies in arrays, of one element where it is one
   number. A `finite` (1) becomes 0 where that is said, and else stays as it is. */

/* --- Pooling ----------------------------------------------------------------------------------------------------
   The sizes of max pooling, images NHWC: windows of window x window, out_height x out_width of them, that all begin
   inside and are cut off at the lower and the right edge. The place of a tap in its window, row by row, has `planes`
   bits: as many as window * window - 1 has. */
#define BL_POOL_PLANES 16
typedef struct {
    intptr_t batch, height, width, channels;
    intptr_t out_height, out_width;
    intptr_t window, stride;
    int planes;
} bl_pool2d;

/* out[b, r, s, c] = the largest x of the window. x (batch, height, width, channels) of x_type BL_INT16, BL_INT32 or
   BL_FLOAT32, out (batch, out_height, out_width, channels) of the same type. Of floats -0 counts as +0, and none is
   NaN. */
void bl_max_pool(int variant, const void *x, int x_type, const bl_pool2d *shape, void *out);

/* Bit p of the first place of the window that holds the largest value. out (batch, out_height, out_width, planes,
   words); at most BL_POOL_PLANES planes. */
void bl_max_pool_places(int variant, const void *x, int x_type, const bl_pool2d *shape, uint64_t *out);

/* d of each window at its place, added up where windows overlap, 0 elsewhere; out (batch, height, width, channels) of
   d_type, BL_INT8, BL_INT16 or BL_FLOAT32, or of BL_INT32 where integers overlap. */
void bl_max_pool_gradient(int variant, const void *d, int d_type, const uint64_t *places, const bl_pool2d *shape,
                          void *out, int out_type);

/* The same of packed bits, of which shape->channels counts the words. out[b, r, s, j] = the OR of the window's words j.
   x (batch, height, width, channels), out (batch, out_height, out_width, channels). */
void bl_bit_pool(int variant, const uint64_t *x, const bl_pool2d *shape, uint64_t *out);

/* Bit p of the first place of the window that has the bit set, 0 where none has.
   out (batch, out_height, out_width, planes, channels); at most BL_POOL_PLANES planes. */
void bl_bit_pool_places(int variant, const uint64_t *x, const bl_pool2d *shape, uint64_t *out);

/* out[b, r, s, c] = (float)(the sum of the window's x, row by row in double, / (height * width)). Windows of height x
   width lie side by side, all inside. x (batch, h, w, c), out (batch, out_h, out_w, c). */
void bl_average_pool(int variant, const float *x, intptr_t height, intptr_t width, intptr_t batch, intptr_t h,
                     intptr_t w, intptr_t c, intptr_t out_h, intptr_t out_w, float *out);

/* out = d of each window at all its places, 0 outside; of a float32 d, d / (float)(height * width). d (batch, out_h,
   out_w, c) of d_type BL_INT8, BL_INT16 or BL_FLOAT32, out (batch, h, w, c) of the same type. */
void bl_average_pool_gradient(int variant, const void *d, int d_type, intptr_t height, intptr_t width, intptr_t batch,
                              intptr_t h, intptr_t w, intptr_t c, intptr_t out_h, intptr_t out_w, void *out);

/* --- Whole arrays -----------------------------------------------------------------------------------------------
   (rows, n) where no other shape is said; `words` = ceil(n / 64). A d, an a or a b is of BL_INT8, BL_INT16 or
   BL_FLOAT32. In single, one operation at a time; a factor that is double is rounded first. */

/* out = x, both of x_type, any of the eleven. */
void bl_copy(int variant, const void *x, int x_type, intptr_t rows, intptr_t n, void *out);

/* out[i, j] = x[kept_rows[i], kept_columns[j]], both of x_type BL_INT8, BL_INT16, BL_INT32, BL_INT64 or BL_FLOAT32. x
   (m, n), kept_rows (k) numbers of its rows, kept_columns (c) of its columns, out (k, c). */
void bl_take(int variant, const void *x, int x_type, const int64_t *kept_rows, const int64_t *kept_columns, intptr_t n,
             intptr_t k, intptr_t c, void *out);

/* out[kept_rows[i], kept_columns[j]] = x[i, j], both of x_type; other values of out (m, n) stay. x (k, c), kept_rows (k)
   and kept_columns (c) as above, each number once. */
void bl_spread(int variant, const void *x, int x_type, const int64_t *kept_rows, const int64_t *kept_columns, intptr_t n,
               intptr_t k, intptr_t c, void *out);

/* Bit out[i, j] = bit x[kept_rows[i], kept_columns[j]]. x (m, ceil(n / 64)), out (k, ceil(c / 64)). */
void bl_take_bits(int variant, const uint64_t *x, int64_t n, const int64_t *kept_rows, const int64_t *kept_columns,
                  intptr_t k, intptr_t c, uint64_t *out);

/* out = x, which int16 holds; x and out (rows, n). */
void bl_cast(int variant, const int32_t *x, intptr_t rows, intptr_t n, int16_t *out);

/* out[i, j] = (float)(x[i, j] * scale[i]) in double; scale has one for all rows, or where scale_each is not 0 one a row. x
   and out (rows, n), x_type BL_INT32 or BL_INT64. */
void bl_scale_sums(int variant, const void *x, int x_type, const double *scale, int scale_each, intptr_t rows,
                   intptr_t n, float *out);

/* out[i] = a[i] * *b; a and out (n). */
void bl_multiply_scales(int variant, const double *a, const double *b, intptr_t n, double *out);

/* *finite = 0 where a value of x is NaN or infinite; x_type BL_FLOAT32 or BL_FLOAT16. */
void bl_all_finite(int variant, const void *x, int x_type, intptr_t rows, intptr_t n, uint8_t *finite);

/* Bits x >= 0, clear for NaN, and *finite = 0 where a value of x is NaN or infinite; x_type BL_FLOAT32 or BL_FLOAT16,
   out (rows, words). */
void bl_pack_finite(int variant, const void *x, int x_type, intptr_t rows, intptr_t n, uint64_t *out, uint8_t *finite);

/* With step = max |x[i]| / (float)limit, at least the smallest normal float, 1 where that is 0: out[i] = clip(round(x[i] /
   step), -limit, limit), ties to even, row_scale[i] = step. x, which is finite, and out (rows, n), row_scale (rows),
   out_type BL_INT8 or BL_INT16, which limit > 0 fits. */
void bl_quantize_rows(int variant, const float *x, int32_t limit, intptr_t rows, intptr_t n, double *row_scale, void *out,
                      int out_type);

/* out[i] = (float)(the sum of |x[i]|, value by value in double, / n), 0 of nothing. x of x_type BL_FLOAT32 or BL_FLOAT16,
   out (rows). */
void bl_mean_magnitudes(int variant, const void *x, int x_type, intptr_t rows, intptr_t n, float *out);

/* out = a * *scale_a + b * *scale_b. */
void bl_add_scaled(int variant, const void *a, int a_type, const double *scale_a, const void *b, int b_type,
                   const double *scale_b, intptr_t rows, intptr_t n, float *out);

/* out = d where its bit in mask (rows, words) is set, else 0; out of d_type. */
void bl_mask_gradient(int variant, const void *d, int d_type, const uint64_t *mask, intptr_t rows, intptr_t n,
                      void *out);

/* Bits signs = x >= 0 and mask = |x| <= (float)clip, clear for NaN; signs and mask (rows, words). */
void bl_sign_values(int variant, const float *x, double clip, intptr_t rows, intptr_t n, uint64_t *signs,
                    uint64_t *mask);

/* out = d * *scale * max(2 - 2 * |x|, 0), NaN where x is. */
void bl_approximate_sign_gradient(int variant, const void *d, int d_type, const double *scale, const float *x,
                                  intptr_t rows, intptr_t n, float *out);

/* out[i, j] = sum over t of g[i, t] * w[t, j]. g (m, k) and w (k, n) of BL_INT8 or BL_INT16, out (m, n). */
void bl_integer_product(int variant, const void *g, int g_type, const void *w, int w_type, intptr_t m, intptr_t k,
                        intptr_t n, int64_t *out);

/* out[j, i] = (float)((double)x[i, j] * *scale). x (m, n) of x_type BL_INT32, BL_INT64 or BL_FLOAT32, out (n, m). */
void bl_scaled_transpose(int variant, const void *x, int x_type, const double *scale, intptr_t m, intptr_t n,
                         float *out);

/* --- The loss ---------------------------------------------------------------------------------------------------
   Softmax cross-entropy in double, one operation at a time. With x = scores[i, j] - max scores[i]: terms[1, i] = x of
   the label; powers[i, j] = exp(x), 2^k times the Taylor series of degree 13 of x - k * ln 2 (in two parts) by
   Horner's rule, 0 below -700; terms[0, i] = their sum in order; out[i, j] = (float)((exp(x) / sum - [j is the label])
   / rows). Where a score is not finite *finite = 0, and the rest stays as it is. labels (rows) in [0, classes),
   scores, powers and out (rows, classes), classes > 0, terms (2, rows). */
void bl_softmax_gradient(int variant, const int64_t *labels, const float *scores, intptr_t rows, intptr_t classes,
                         double *powers, double *terms, float *out, uint8_t *finite);

/* out[i, j] = round(powers[i, j] / terms[0, i] * levels) - levels * [j is the label], ties to even, of the powers and
   the terms of softmax_gradient. labels (rows) in [0, classes), powers and out (rows, classes), terms (2, rows),
   0 < levels < 2^30. */
void bl_probability_gradient(int variant, const int64_t *labels, const double *powers, const double *terms, intptr_t rows,
                             intptr_t classes, int32_t levels, int32_t *out);

/* --- Integers and floats to codes ------------------------------------------------------------------------------------
   With the scales in arrays, for kernels to write and to read. round(v) is to the nearest integer, ties to even, in the
   default rounding mode. Codes are of out_type BL_INT8 or BL_INT16, which limit > 0 fits; int64 magnitudes are at most
   2^53. All is in double, one operation at a time, but for `quantize`, which is in float. Of a step or a scale that is
   one or one a row, step_each or scale_each says which: 0 for one, which is then the only one read. */

/* out[i] = max |x[i]|, 0 of nothing; NaN where x[i] holds one. x (rows, n) of x_type BL_INT8 to BL_INT64 or BL_FLOAT32,
   out (rows). */
void bl_peaks(int variant, const void *x, int x_type, intptr_t rows, intptr_t n, double *out);

/* out[g, c] = max |x[g, :, c]|, 0 of nothing. x (groups, rows, channels) of x_type BL_INT8 or BL_INT16,
   out (groups, channels). */
void bl_channel_peaks(int variant, const void *x, int x_type, intptr_t groups, intptr_t rows, intptr_t channels,
                      double *out);

/* *out = (float)(max peaks) / (float)limit in float: at least the smallest normal float, 1 where that is 0, NaN where a
   peak is; *finite = 0 where it is not finite, else as before. peaks (groups), none below 0. */
void bl_quantize_step(int variant, const double *peaks, intptr_t groups, int32_t limit, double *out, uint8_t *finite);

/* out = clip(round(x / (float)*scale), -limit, limit), in float; -limit where the quotient is NaN. x, out (rows, n). */
void bl_quantize(int variant, const float *x, const double *scale, int32_t limit, intptr_t rows, intptr_t n, void *out,
                 int out_type);

/* scales 1: every step = max(max peaks / limit, 1), *out = *scale * that. Else, as many scales and steps as rows:
   *out = max(peaks[i] * scale[i]) / limit, 1 where that maximum is 0, step[i] = *out / scale[i]. *out is 2^30 at most
   when it is stored. peaks (rows), none below 0; scale (scales), step (steps). */
void bl_requantize_step(int variant, const double *peaks, intptr_t rows, int32_t limit, const double *scale,
                        intptr_t scales, double *step, intptr_t steps, double *out);

/* out[i] = clip(round(x[i] / step[i]), -limit, limit); -limit where the quotient is NaN. x (rows, n) of x_type BL_INT32
   or BL_INT64, step one or one a row, out (rows, n). */
void bl_requantize(int variant, const void *x, int x_type, const double *step, int step_each, int32_t limit,
                   intptr_t rows, intptr_t n, void *out, int out_type);

/* With step = max(max |x[i]| / limit, 1): out[i] = round(x[i] / step), row_scale[i] = scale[i] * step. x (rows, n) of
   x_type BL_INT32 or BL_INT64, scale one or one a row, row_scale (rows), out (rows, n). */
void bl_requantize_rows(int variant, const void *x, int x_type, const double *scale, int scale_each,
                        int32_t limit, intptr_t rows, intptr_t n, double *row_scale, void *out, int out_type);

/* *out = max row_scale, 1 where that is 0, at most 2^30. row_scale (rows), none below 0. */
void bl_largest_scale(int variant, const double *row_scale, intptr_t rows, double *out);

/* counts[i] += 1. The number of a step changes in the run that changes all else. counts (n). */
void bl_count_step(int variant, intptr_t n, int64_t *counts);

/* codes[i] = clip(round(codes[i] / max(*scale / row_scale[i], 1)), -limit, limit), in place. row_scale (rows), codes
   (rows, n) of codes_type, BL_INT8 or BL_INT16. */
void bl_equalize_rows(int variant, const double *row_scale, const double *scale, int32_t limit, intptr_t rows,
                      intptr_t n, void *codes, int codes_type);

/* step[c] = max(max peaks[:, c] / limit, 1), out[c] = *scale * step[c]. peaks (groups, channels), none below 0; step
   and out (channels). */
void bl_narrow_step(int variant, const double *peaks, intptr_t groups, intptr_t channels, int32_t limit,
                    const double *scale, double *step, double *out);

/* out = clip(round(x / step), -limit, limit). x (rows, n) of x_type BL_INT8 or BL_INT16, rows [first, first + rows) of
   `total`; step by axis: -1 one, 0 one a row of all (total), 1 one a column (n); out (rows, n). With a key that is
   not NULL, round(v) = floor(v), plus 1 where u < (v - floor(v)) * 2^32; u is the word number (first + i) * n + j, with
   axis 1 number j * total + first + i, of the stream of random_words. No quotient is NaN. */
void bl_narrow(int variant, const void *x, int x_type, const double *step, int axis, int32_t limit, const uint32_t *key,
               int64_t first, int64_t total, intptr_t rows, intptr_t n, void *out, int out_type);

/* --- Updates of parameters --------------------------------------------------------------------------------------
   One pass over a parameter, in float32, one IEEE operation after the other in the order written. weight, mean, square
   and moment (rows, n), of types BL_FLOAT32 or BL_UINT16, the bits of float16, rounded to nearest even where they are
   stored; they are changed in place. No value that becomes a float16 is NaN. The gradient G[i, j] by g_type:
   BL_FLOAT32: g (rows, n) itself; BL_INT32 and BL_INT64: g (rows, n) times scale in float64, rounded to float32, with
   one scale where scale_each is 0, else one a row, (rows); BL_UINT64: g (rows, ceil(n / 64)) packed signs, +1 or -1. Then
   all are multiplied by 1[|weight| <= clip], which is 0 for a weight that is NaN; clip is 0 or more, infinity too. */

/* mean = mean * beta1 + G * rest1; square = square * beta2 + (G * G) * rest2;
   weight = weight - rate * mean / (sqrt(square) + epsilon). coefficients: beta1, rest1, beta2, rest2, rate, epsilon. */
void bl_adam_update(int variant, const void *g, int g_type, const double *scale, int scale_each, float clip,
                    const float *coefficients, intptr_t rows, int64_t n, void *weight, int weight_type, void *mean,
                    void *square, int mean_type);

/* moment = moment * momentum + G * factor; weight = weight - rate * moment. coefficients: momentum, factor, rate. */
void bl_sgd_update(int variant, const void *g, int g_type, const double *scale, int scale_each, float clip,
                   const float *coefficients, intptr_t rows, int64_t n, void *weight, int weight_type, void *moment,
                   int moment_type);

/* weight = weight - rate * (G * factor). coefficients: factor, rate. */
void bl_descent_update(int variant, const void *g, int g_type, const double *scale, int scale_each, float clip,
                       const float *coefficients, intptr_t rows, int64_t n, void *weight, int weight_type);

/* moment = moment * keep + G * factor; weight = -weight where weight * moment > threshold. coefficients: keep, factor,
   threshold. */
void bl_bop_update(int variant, const void *g, int g_type, const double *scale, int scale_each, float clip,
                   const float *coefficients, intptr_t rows, int64_t n, void *weight, int weight_type, void *moment,
                   int moment_type);

/* weight = clip(round(base - limit * (rate * (factor * G))), -limit, limit), G without a clip; coefficients: factor,
   rate. weight (rows, n) of weight_type BL_FLOAT32, BL_INT8 or BL_INT16, rows from `first` on. base = weight, or where
   signs is not 0 the limit with the weight's sign, + for 0. A BL_FLOAT32 weight is not rounded, and with a limit of 0
   it is weight - rate * (factor * G). The change is in float, the rest in double. round is to the nearest integer, ties to
   even; with a key that is not NULL it is floor(v), plus 1 where u < (v - floor(v)) * 2^32, u the word number
   (first + i) * n + j of the stream of random_words. No integer weight gets NaN. */
void bl_quantized_update(int variant, const void *g, int g_type, const double *scale, int scale_each,
                         const float *coefficients, int signs, int32_t limit, const uint32_t *key, int64_t first,
                         intptr_t rows, int64_t n, void *weight, int weight_type);

/* out[i] = codes[i] * scale[i], of BL_UINT8 its square. codes (rows, n) of codes_type BL_INT8 or BL_UINT8, scale (rows),
   out (rows, n). */
void bl_load_moments(int variant, const void *codes, int codes_type, const float *scale, intptr_t rows, intptr_t n,
                     float *out);

/* codes[i] = round(v / scale[i]) with scale[i] = max |v| / most: v are the values, finite, and most is 127 where
   codes_type is BL_INT8; where it is BL_UINT8 they are the roots of values of 0 or more, and most is 255. round is at
   random by the key, as above. A root above 0 has a code of at least 1. Where scale[i] is 0, codes are those of 0. */
void bl_store_moments(int variant, const float *values, const uint32_t *key, int64_t first, intptr_t rows, intptr_t n,
                      void *codes, int codes_type, float *scale);

/* x = sign(x) * 2^min(round(log2(|x|)), 14), and 0 stays 0. x (rows, n). */
void bl_powers_of_two(int variant, intptr_t rows, intptr_t n, int16_t *x);

/* weight = (float)(clip(round(weight / step), -limit, limit) * step) in double, round as above, and 0 is +0. step = *scale, or where
   whole is not 0 the least power of two that is no smaller. weight (rows, n). */
void bl_round_weights(int variant, const double *scale, int32_t limit, int whole, const uint32_t *key, int64_t first,
                      intptr_t rows, int64_t n, float *weight);
