/* How a variant is described: a struct of one function pointer a kernel, NULL where it has none of its own.

   A kernel is one line in the lists below, X(name, (parameters), (arguments)): its signature in the contract without the
   variant. The struct, the declarations and the dispatching functions are made from it, and the compiler compares it with
   the contract. The header of a variant's folder declares bl_<kernel>_<variant> for all of them, defined there or not, so
   that no definition can differ from the list. */
#ifndef BL_VARIANTS_H
#define BL_VARIANTS_H

#include "contract.h"

#define BL_PACK_KERNELS(X)                                                                                             \
    X(pack,                                                                                                            \
      (const void *x, int x_type, intptr_t outer, intptr_t rows, int64_t n, intptr_t outer_stride,                     \
       intptr_t row_stride, intptr_t value_stride, const void *threshold, int each, uint64_t *out),                    \
      (x, x_type, outer, rows, n, outer_stride, row_stride, value_stride, threshold, each, out))                       \
    X(unpack, (const uint64_t *words, intptr_t rows, int64_t n, void *out, int out_type),                              \
      (words, rows, n, out, out_type))

#define BL_COUNT_KERNELS(X)                                                                                            \
    X(popcount,                                                                                                        \
      (const uint64_t *x, intptr_t outer, intptr_t rows, intptr_t words, intptr_t outer_stride, intptr_t row_stride,   \
       intptr_t word_stride, int64_t *out),                                                                            \
      (x, outer, rows, words, outer_stride, row_stride, word_stride, out))

#define BL_TRANSPOSE_KERNELS(X)                                                                                        \
    X(transpose_bits, (const uint64_t *words, intptr_t m, int64_t n, uint64_t *out), (words, m, n, out))

#define BL_FORMAT_KERNELS(X) BL_PACK_KERNELS(X) BL_COUNT_KERNELS(X) BL_TRANSPOSE_KERNELS(X)

#define BL_LAYOUT_KERNELS(X)                                                                                           \
    X(pack_panels, (const uint64_t *b, intptr_t k, intptr_t words, uint64_t *out), (b, k, words, out))

/* What only a variant has that recodes operands for itself: NULL in the others. */
#define BL_RECODING_KERNELS(X)                                                                                         \
    X(recode_panels, (const uint64_t *panels, intptr_t k, intptr_t words, uint8_t *out), (panels, k, words, out))

#define BL_SPLIT_KERNELS(X)                                                                                            \
    X(split_planes, (const int8_t *g, intptr_t m, intptr_t k, int bits, uint64_t *out, uint8_t *outside),              \
      (g, m, k, bits, out, outside))                                                                                   \
    X(split_columns,                                                                                                   \
      (const int8_t *g, intptr_t m, intptr_t channels, intptr_t first, intptr_t k, int bits, uint64_t *out,            \
       uint8_t *outside),                                                                                              \
      (g, m, channels, first, k, bits, out, outside))

#define BL_WINDOW_KERNELS(X)                                                                                           \
    X(plane_windows,                                                                                                   \
      (const uint64_t *planes, int bits, const bl_conv2d *shape, intptr_t first, intptr_t count, uint64_t *out),       \
      (planes, bits, shape, first, count, out))

#define BL_MATMUL_KERNELS(X)                                                                                           \
    X(xnor_matmul,                                                                                                     \
      (const uint64_t *a, const uint64_t *b, int b_panels, const uint8_t *recoded, intptr_t m, intptr_t k,             \
       intptr_t words, int64_t n, int mismatches, const int32_t *threshold, void *out, int out_type,                   \
       uint8_t *scratch),                                                                                              \
      (a, b, b_panels, recoded, m, k, words, n, mismatches, threshold, out, out_type, scratch))

#define BL_CONV2D_KERNELS(X)                                                                                           \
    X(xnor_conv2d,                                                                                                     \
      (const uint64_t *x, const uint64_t *w, int w_panels, const uint8_t *recoded, const bl_conv2d *shape,             \
       const int32_t *threshold, void *out, int out_type, uint8_t *scratch),                                           \
      (x, w, w_panels, recoded, shape, threshold, out, out_type, scratch))

#define BL_PLANES_KERNELS(X)                                                                                           \
    X(planes_matmul,                                                                                                   \
      (const uint64_t *planes, int bits, const uint64_t *panels, const uint8_t *recoded, intptr_t m, intptr_t k,       \
       intptr_t words, int64_t n, int accumulate, int32_t *out, uint8_t *scratch),                                     \
      (planes, bits, panels, recoded, m, k, words, n, accumulate, out, scratch))

#define BL_NEAREST_KERNELS(X)                                                                                          \
    X(nearest,                                                                                                         \
      (const uint64_t *a, const uint64_t *b, intptr_t m, intptr_t k, intptr_t words, int64_t n, intptr_t count,        \
       int64_t *indices, int32_t *distances),                                                                          \
      (a, b, m, k, words, n, count, indices, distances))

#define BL_XNOR_KERNELS(X) BL_MATMUL_KERNELS(X) BL_CONV2D_KERNELS(X) BL_PLANES_KERNELS(X) BL_NEAREST_KERNELS(X)

#define BL_PRODUCT_GRADIENT_KERNELS(X)                                                                                 \
    X(grad_input, (const void *g, int g_type, const uint64_t *w, intptr_t m, intptr_t k, int64_t n, void *out),        \
      (g, g_type, w, m, k, n, out))                                                                                    \
    X(grad_weight,                                                                                                     \
      (const void *g, int g_type, const uint64_t *x, intptr_t m, intptr_t channels, int64_t n, intptr_t first,         \
       intptr_t k, int accumulate, void *out),                                                                         \
      (g, g_type, x, m, channels, n, first, k, accumulate, out))                                                       \
    X(grad_weight_sign,                                                                                                \
      (const void *g, int g_type, const uint64_t *x, intptr_t m, intptr_t channels, int64_t n, intptr_t first,         \
       intptr_t k, const void *threshold, const uint64_t *mask, uint64_t *out),                                        \
      (g, g_type, x, m, channels, n, first, k, threshold, mask, out))

#define BL_CONV2D_GRADIENT_KERNELS(X)                                                                                  \
    X(conv2d_grad_input, (const void *g, int g_type, const uint64_t *w, const bl_conv2d *shape, void *out),            \
      (g, g_type, w, shape, out))                                                                                      \
    X(conv2d_grad_weight,                                                                                              \
      (const void *g, int g_type, const uint64_t *x, const bl_conv2d *shape, intptr_t first, intptr_t k,               \
       int accumulate, void *out),                                                                                     \
      (g, g_type, x, shape, first, k, accumulate, out))                                                                \
    X(conv2d_grad_weight_sign,                                                                                         \
      (const void *g, int g_type, const uint64_t *x, const bl_conv2d *shape, intptr_t first, intptr_t k,               \
       const void *threshold, const uint64_t *mask, uint64_t *out),                                                    \
      (g, g_type, x, shape, first, k, threshold, mask, out))

#define BL_GRADIENT_KERNELS(X) BL_PRODUCT_GRADIENT_KERNELS(X) BL_CONV2D_GRADIENT_KERNELS(X)

#define BL_QUANTIZE_KERNELS(X)                                                                                         \
    X(largest_magnitude, (const void *x, int x_type, intptr_t outer, intptr_t channels, intptr_t inner, void *out),    \
      (x, x_type, outer, channels, inner, out))                                                                        \
    X(quantize_linear,                                                                                                 \
      (const void *x, int x_type, const void *scale, const int64_t *zero_point, intptr_t outer, intptr_t channels,     \
       intptr_t inner, int32_t low, int32_t high, const uint32_t *noise, void *out, int out_type),                     \
      (x, x_type, scale, zero_point, outer, channels, inner, low, high, noise, out, out_type))                         \
    X(peaks, (const void *x, int x_type, intptr_t rows, intptr_t n, double *out), (x, x_type, rows, n, out))           \
    X(channel_peaks, (const void *x, int x_type, intptr_t groups, intptr_t rows, intptr_t channels, double *out),      \
      (x, x_type, groups, rows, channels, out))                                                                        \
    X(quantize,                                                                                                        \
      (const float *x, const double *scale, int32_t limit, intptr_t rows, intptr_t n, void *out, int out_type),        \
      (x, scale, limit, rows, n, out, out_type))                                                                       \
    X(requantize,                                                                                                      \
      (const void *x, int x_type, const double *step, int step_each, int32_t limit, intptr_t rows, intptr_t n,         \
       void *out, int out_type),                                                                                       \
      (x, x_type, step, step_each, limit, rows, n, out, out_type))                                                     \
    X(requantize_rows,                                                                                                 \
      (const void *x, int x_type, const double *scale, int scale_each, int32_t limit, intptr_t rows, intptr_t n,       \
       double *row_scale, void *out, int out_type),                                                                    \
      (x, x_type, scale, scale_each, limit, rows, n, row_scale, out, out_type))                                        \
    X(equalize_rows,                                                                                                   \
      (const double *row_scale, const double *scale, int32_t limit, intptr_t rows, intptr_t n, void *codes,            \
       int codes_type),                                                                                                \
      (row_scale, scale, limit, rows, n, codes, codes_type))                                                           \
    X(narrow,                                                                                                          \
      (const void *x, int x_type, const double *step, int axis, int32_t limit, const uint32_t *key, int64_t first,     \
       int64_t total, intptr_t rows, intptr_t n, void *out, int out_type),                                             \
      (x, x_type, step, axis, limit, key, first, total, rows, n, out, out_type))                                       \
    X(random_words, (const uint32_t *key, int64_t start, int64_t stride, intptr_t rows, intptr_t n, uint32_t *out),    \
      (key, start, stride, rows, n, out))

/* What a code is worth, and how many steps were made: a few operations. */
#define BL_SCALE_KERNELS(X)                                                                                            \
    X(quantize_step, (const double *peaks, intptr_t groups, int32_t limit, double *out, uint8_t *finite),              \
      (peaks, groups, limit, out, finite))                                                                             \
    X(requantize_step,                                                                                                 \
      (const double *peaks, intptr_t rows, int32_t limit, const double *scale, intptr_t scales, double *step,          \
       intptr_t steps, double *out),                                                                                   \
      (peaks, rows, limit, scale, scales, step, steps, out))                                                           \
    X(largest_scale, (const double *row_scale, intptr_t rows, double *out), (row_scale, rows, out))                    \
    X(narrow_step,                                                                                                     \
      (const double *peaks, intptr_t groups, intptr_t channels, int32_t limit, const double *scale, double *step,      \
       double *out),                                                                                                   \
      (peaks, groups, channels, limit, scale, step, out))                                                              \
    X(count_step, (intptr_t n, int64_t *counts), (n, counts))

#define BL_UPDATE_KERNELS(X)                                                                                           \
    X(adam_update,                                                                                                     \
      (const void *g, int g_type, const double *scale, int scale_each, float clip, const float *coefficients,          \
       intptr_t rows, int64_t n, void *weight, int weight_type, void *mean, void *square, int mean_type),              \
      (g, g_type, scale, scale_each, clip, coefficients, rows, n, weight, weight_type, mean, square, mean_type))       \
    X(sgd_update,                                                                                                      \
      (const void *g, int g_type, const double *scale, int scale_each, float clip, const float *coefficients,          \
       intptr_t rows, int64_t n, void *weight, int weight_type, void *moment, int moment_type),                        \
      (g, g_type, scale, scale_each, clip, coefficients, rows, n, weight, weight_type, moment, moment_type))           \
    X(descent_update,                                                                                                  \
      (const void *g, int g_type, const double *scale, int scale_each, float clip, const float *coefficients,          \
       intptr_t rows, int64_t n, void *weight, int weight_type),                                                       \
      (g, g_type, scale, scale_each, clip, coefficients, rows, n, weight, weight_type))                                \
    X(bop_update,                                                                                                      \
      (const void *g, int g_type, const double *scale, int scale_each, float clip, const float *coefficients,          \
       intptr_t rows, int64_t n, void *weight, int weight_type, void *moment, int moment_type),                        \
      (g, g_type, scale, scale_each, clip, coefficients, rows, n, weight, weight_type, moment, moment_type))

/* Updates that round to a few bits. */
#define BL_QUANTIZED_UPDATE_KERNELS(X)                                                                                 \
    X(quantized_update,                                                                                                \
      (const void *g, int g_type, const double *scale, int scale_each, const float *coefficients, int signs,           \
       int32_t limit, const uint32_t *key, int64_t first, intptr_t rows, int64_t n, void *weight, int weight_type),    \
      (g, g_type, scale, scale_each, coefficients, signs, limit, key, first, rows, n, weight, weight_type))            \
    X(round_weights,                                                                                                   \
      (const double *scale, int32_t limit, int whole, const uint32_t *key, int64_t first, intptr_t rows, int64_t n,    \
       float *weight),                                                                                                 \
      (scale, limit, whole, key, first, rows, n, weight))                                                              \
    X(load_moments,                                                                                                    \
      (const void *codes, int codes_type, const float *scale, intptr_t rows, intptr_t n, float *out),                  \
      (codes, codes_type, scale, rows, n, out))                                                                        \
    X(store_moments,                                                                                                   \
      (const float *values, const uint32_t *key, int64_t first, intptr_t rows, intptr_t n, void *codes,                \
       int codes_type, float *scale),                                                                                  \
      (values, key, first, rows, n, codes, codes_type, scale))                                                         \
    X(powers_of_two, (intptr_t rows, intptr_t n, int16_t *x), (rows, n, x))

#define BL_NORM_KERNELS(X)                                                                                             \
    X(channel_sums, (const void *y, int y_type, intptr_t groups, intptr_t rows, intptr_t channels, int64_t *out),      \
      (y, y_type, groups, rows, channels, out))                                                                        \
    X(channel_sums_above,                                                                                              \
      (const void *y, int y_type, const int32_t *bound, intptr_t groups, intptr_t rows, intptr_t channels,             \
       int64_t *out),                                                                                                  \
      (y, y_type, bound, groups, rows, channels, out))                                                                 \
    X(norm_signs,                                                                                                      \
      (const void *y, int y_type, const int32_t *bounds, intptr_t rows, intptr_t channels, uint64_t *signs,            \
       uint64_t *mask),                                                                                                \
      (y, y_type, bounds, rows, channels, signs, mask))                                                                \
    X(norm_values,                                                                                                     \
      (const void *y, int y_type, double scale, const float *centre, const float *bias, intptr_t rows,                 \
       intptr_t channels, float *out),                                                                                 \
      (y, y_type, scale, centre, bias, rows, channels, out))                                                           \
    X(gradient_sums,                                                                                                   \
      (const void *d, int d_type, const uint64_t *mask, const void *x, int x_type, intptr_t groups, intptr_t rows,     \
       intptr_t channels, void *out),                                                                                  \
      (d, d_type, mask, x, x_type, groups, rows, channels, out))                                                       \
    X(norm_gradient_peak,                                                                                              \
      (const void *d, int d_type, const uint64_t *mask, const void *x, int x_type, const float *factors,               \
       intptr_t groups, intptr_t rows, intptr_t channels, float *out),                                                 \
      (d, d_type, mask, x, x_type, factors, groups, rows, channels, out))                                              \
    X(norm_gradient,                                                                                                   \
      (const void *d, int d_type, const uint64_t *mask, const void *x, int x_type, const float *factors,               \
       const float *step, int32_t limit, intptr_t rows, intptr_t channels, void *out),                                 \
      (d, d_type, mask, x, x_type, factors, step, limit, rows, channels, out))

#define BL_POOL_KERNELS(X)                                                                                             \
    X(max_pool, (const void *x, int x_type, const bl_pool2d *shape, void *out), (x, x_type, shape, out))               \
    X(max_pool_places, (const void *x, int x_type, const bl_pool2d *shape, uint64_t *out), (x, x_type, shape, out))    \
    X(max_pool_gradient,                                                                                               \
      (const void *d, int d_type, const uint64_t *places, const bl_pool2d *shape, void *out, int out_type),            \
      (d, d_type, places, shape, out, out_type))

/* Words are vectors on any processor. */
#define BL_BIT_POOL_KERNELS(X)                                                                                         \
    X(bit_pool, (const uint64_t *x, const bl_pool2d *shape, uint64_t *out), (x, shape, out))                           \
    X(bit_pool_places, (const uint64_t *x, const bl_pool2d *shape, uint64_t *out), (x, shape, out))

/* First-layer codes, which are no bits. */
#define BL_CODE_PRODUCT_KERNELS(X)                                                                                     \
    X(codes_grad_weight,                                                                                               \
      (const void *g, int g_type, const int8_t *codes, intptr_t m, intptr_t channels, int64_t n, intptr_t first,       \
       intptr_t k, int accumulate, void *out, int out_type),                                                           \
      (g, g_type, codes, m, channels, n, first, k, accumulate, out, out_type))

#define BL_CODE_KERNELS(X)                                                                                             \
    BL_CODE_PRODUCT_KERNELS(X)                                                                                         \
    X(unfold_codes, (const int8_t *x, const bl_conv2d *shape, int8_t *out), (x, shape, out))

/* What becomes of a channel's sums: a few operations a channel, for which a call is what they cost. */
#define BL_CHANNEL_KERNELS(X)                                                                                          \
    X(mean_bounds, (const int64_t *sums, intptr_t groups, int64_t count, intptr_t channels, int32_t *out),             \
      (sums, groups, count, channels, out))                                                                            \
    X(batch_statistics,                                                                                                \
      (const int64_t *sums, intptr_t groups, const int64_t *above, intptr_t above_groups, int64_t count,               \
       double scale, double momentum, int half, const float *mean, const float *std, intptr_t channels, double *out,   \
       float *moved, uint8_t *finite),                                                                                 \
      (sums, groups, above, above_groups, count, scale, momentum, half, mean, std, channels, out, moved, finite))      \
    X(norm_bounds, (const double *statistics, const float *bias, double clip, intptr_t channels, int32_t *out,         \
      uint8_t *finite), (statistics, bias, clip, channels, out, finite))                                               \
    X(mean_magnitude,                                                                                                  \
      (const int64_t *sums, intptr_t groups, const int64_t *above, intptr_t above_groups, int64_t count,               \
       const double *statistics, const float *bias, intptr_t channels, int half, double *out),                         \
      (sums, groups, above, above_groups, count, statistics, bias, channels, half, out))                               \
    X(mean_inverse, (const double *statistics, intptr_t channels, float *out), (statistics, channels, out))            \
    X(bias_gradient,                                                                                                   \
      (const void *sums, int sums_type, intptr_t groups, const double *scale, intptr_t channels, float *out),          \
      (sums, sums_type, groups, scale, channels, out))                                                                 \
    X(l2_factors,                                                                                                      \
      (const void *sums, int sums_type, intptr_t groups, const double *statistics, int64_t count, double scale,        \
       intptr_t channels, float *out),                                                                                 \
      (sums, sums_type, groups, statistics, count, scale, channels, out))                                              \
    X(l1_factors,                                                                                                      \
      (const void *sums, int sums_type, intptr_t groups, const double *magnitude, const double *statistics,            \
       int64_t count, double scale, intptr_t channels, float *out),                                                    \
      (sums, sums_type, groups, magnitude, statistics, count, scale, channels, out))                                   \
    X(l1_exact_factors,                                                                                                \
      (const void *sums, int sums_type, intptr_t groups, const int64_t *above, intptr_t above_groups,                  \
       const double *statistics, int64_t count, double scale, intptr_t channels, float *out),                          \
      (sums, sums_type, groups, above, above_groups, statistics, count, scale, channels, out))                         \
    X(norm_step, (const float *peaks, intptr_t groups, int32_t limit, const double *scale, float *step, double *out),  \
      (peaks, groups, limit, scale, step, out))

#define BL_ARRAY_KERNELS(X)                                                                                            \
    X(all_finite, (const void *x, int x_type, intptr_t rows, intptr_t n, uint8_t *finite),                             \
      (x, x_type, rows, n, finite))                                                                                    \
    X(pack_finite, (const void *x, int x_type, intptr_t rows, intptr_t n, uint64_t *out, uint8_t *finite),             \
      (x, x_type, rows, n, out, finite))                                                                               \
    X(add_scaled,                                                                                                      \
      (const void *a, int a_type, const double *scale_a, const void *b, int b_type, const double *scale_b,             \
       intptr_t rows, intptr_t n, float *out),                                                                         \
      (a, a_type, scale_a, b, b_type, scale_b, rows, n, out))                                                          \
    X(mask_gradient, (const void *d, int d_type, const uint64_t *mask, intptr_t rows, intptr_t n, void *out),          \
      (d, d_type, mask, rows, n, out))                                                                                 \
    X(sign_values, (const float *x, double clip, intptr_t rows, intptr_t n, uint64_t *signs, uint64_t *mask),          \
      (x, clip, rows, n, signs, mask))                                                                                 \
    X(approximate_sign_gradient,                                                                                       \
      (const void *d, int d_type, const double *scale, const float *x, intptr_t rows, intptr_t n, float *out),         \
      (d, d_type, scale, x, rows, n, out))                                                                             \
    X(integer_product,                                                                                                 \
      (const void *g, int g_type, const void *w, int w_type, intptr_t m, intptr_t k, intptr_t n, int64_t *out),        \
      (g, g_type, w, w_type, m, k, n, out))

#define BL_COPY_KERNELS(X)                                                                                             \
    X(copy, (const void *x, int x_type, intptr_t rows, intptr_t n, void *out), (x, x_type, rows, n, out))              \
    X(take,                                                                                                            \
      (const void *x, int x_type, const int64_t *kept_rows, const int64_t *kept_columns, intptr_t n, intptr_t k,       \
       intptr_t c, void *out),                                                                                         \
      (x, x_type, kept_rows, kept_columns, n, k, c, out))                                                              \
    X(spread,                                                                                                          \
      (const void *x, int x_type, const int64_t *kept_rows, const int64_t *kept_columns, intptr_t n, intptr_t k,       \
       intptr_t c, void *out),                                                                                         \
      (x, x_type, kept_rows, kept_columns, n, k, c, out))                                                              \
    X(take_bits,                                                                                                       \
      (const uint64_t *x, int64_t n, const int64_t *kept_rows, const int64_t *kept_columns, intptr_t k, intptr_t c,    \
       uint64_t *out),                                                                                                 \
      (x, n, kept_rows, kept_columns, k, c, out))                                                                      \
    X(cast, (const int32_t *x, intptr_t rows, intptr_t n, int16_t *out), (x, rows, n, out))                            \
    X(scale_sums,                                                                                                      \
      (const void *x, int x_type, const double *scale, int scale_each, intptr_t rows, intptr_t n, float *out),         \
      (x, x_type, scale, scale_each, rows, n, out))                                                                    \
    X(multiply_scales, (const double *a, const double *b, intptr_t n, double *out), (a, b, n, out))                    \
    X(scaled_transpose, (const void *x, int x_type, const double *scale, intptr_t m, intptr_t n, float *out),          \
      (x, x_type, scale, m, n, out))

#define BL_LOSS_KERNELS(X)                                                                                             \
    X(softmax_gradient,                                                                                                \
      (const int64_t *labels, const float *scores, intptr_t rows, intptr_t classes, double *powers, double *terms,     \
       float *out, uint8_t *finite),                                                                                   \
      (labels, scores, rows, classes, powers, terms, out, finite))                                                     \
    X(probability_gradient,                                                                                            \
      (const int64_t *labels, const double *powers, const double *terms, intptr_t rows, intptr_t classes,              \
       int32_t levels, int32_t *out),                                                                                  \
      (labels, powers, terms, rows, classes, levels, out))

#define BL_REAL_KERNELS(X)                                                                                             \
    X(real_sums,                                                                                                       \
      (const void *d, int d_type, const float *x, intptr_t groups, intptr_t rows, intptr_t channels, double *out),     \
      (d, d_type, x, groups, rows, channels, out))                                                                     \
    X(absolute_sums,                                                                                                   \
      (const float *x, const double *centre, intptr_t groups, intptr_t rows, intptr_t channels, double *out),          \
      (x, centre, groups, rows, channels, out))                                                                        \
    X(real_statistics,                                                                                                 \
      (const double *sums, intptr_t groups, int64_t count, int half, intptr_t channels, double *out),                  \
      (sums, groups, count, half, channels, out))                                                                      \
    X(absolute_mean, (const double *sums, intptr_t groups, int64_t count, int half, intptr_t channels, double *out),   \
      (sums, groups, count, half, channels, out))                                                                      \
    X(moved_statistics,                                                                                                \
      (const double *statistics, double momentum, const float *mean, const float *std, intptr_t channels, float *out,  \
       uint8_t *finite),                                                                                               \
      (statistics, momentum, mean, std, channels, out, finite))                                                        \
    X(average_pool,                                                                                                    \
      (const float *x, intptr_t height, intptr_t width, intptr_t batch, intptr_t h, intptr_t w, intptr_t c,            \
       intptr_t out_h, intptr_t out_w, float *out),                                                                    \
      (x, height, width, batch, h, w, c, out_h, out_w, out))                                                           \
    X(average_pool_gradient,                                                                                           \
      (const void *d, int d_type, intptr_t height, intptr_t width, intptr_t batch, intptr_t h, intptr_t w, intptr_t c, \
       intptr_t out_h, intptr_t out_w, void *out),                                                                     \
      (d, d_type, height, width, batch, h, w, c, out_h, out_w, out))                                                   \
    X(quantize_rows,                                                                                                   \
      (const float *x, int32_t limit, intptr_t rows, intptr_t n, double *row_scale, void *out, int out_type),          \
      (x, limit, rows, n, row_scale, out, out_type))                                                                   \
    X(mean_magnitudes, (const void *x, int x_type, intptr_t rows, intptr_t n, float *out), (x, x_type, rows, n, out))

#define BL_KERNELS(X)                                                                                                  \
    BL_FORMAT_KERNELS(X) BL_LAYOUT_KERNELS(X) BL_SPLIT_KERNELS(X) BL_WINDOW_KERNELS(X)                                 \
    BL_XNOR_KERNELS(X) BL_GRADIENT_KERNELS(X) BL_QUANTIZE_KERNELS(X)                                                   \
    BL_NORM_KERNELS(X) BL_UPDATE_KERNELS(X) BL_QUANTIZED_UPDATE_KERNELS(X) BL_CODE_KERNELS(X) BL_CHANNEL_KERNELS(X) BL_LOSS_KERNELS(X)                \
    BL_POOL_KERNELS(X) BL_BIT_POOL_KERNELS(X) BL_ARRAY_KERNELS(X) BL_COPY_KERNELS(X) BL_SCALE_KERNELS(X)               \
    BL_REAL_KERNELS(X)

/* Those and what a variant has for itself. */
#define BL_ALL_KERNELS(X) BL_KERNELS(X) BL_RECODING_KERNELS(X)

#define BL_UNWRAP(...) __VA_ARGS__

#define BL_KERNEL_MEMBER(name, parameters, arguments) void(*name) parameters;
typedef struct {
    BL_ALL_KERNELS(BL_KERNEL_MEMBER)
} bl_kernels;

/* The features of a processor that a variant may need, as bits. */
enum {
    BL_AVX2 = 1,
    BL_AVX512F = 2,
    BL_AVX512BW = 4,
    BL_AVX512VL = 8,
    BL_AVX512DQ = 16,
    BL_AVX512VPOPCNTDQ = 32,
    BL_NEON = 64,
    BL_AVX512VBMI = 128,
    BL_GFNI = 256,
    BL_AVX512VNNI = 512,
    BL_AMX_TILE = 1024,
    BL_AMX_INT8 = 2048,
    BL_DOTPROD = 4096,
};

/* The features of this processor that its operating system lets a program use. */
unsigned bl_cpu_features(void);

/* The kernels of a variant; those that it lacks are the next one's that runs here. */
const bl_kernels *bl_kernels_of(int variant);

#endif
