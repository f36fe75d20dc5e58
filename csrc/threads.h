/* The other part of the C contract: kernels of a few microseconds whose rows are cut into `threads` ranges here, on
   threads that wait for them (pool.h). The arguments and the results are those of kernels.h and steps.h, and kernels.h
   has the rules of this text too. The threads are all that is kept between calls. */

/* 1 where this build has threads of its own, else 0: then one thread does all. */
int bl_has_threads(void);

void bl_grad_input_on_threads(int threads, int variant, const void *g, int g_type, const uint64_t *w, intptr_t m,
                              intptr_t k, int64_t n, void *out);
void bl_grad_weight_on_threads(int threads, int variant, const void *g, int g_type, const uint64_t *x, intptr_t m,
                               intptr_t channels, int64_t n, intptr_t first, intptr_t k, int accumulate, void *out);
void bl_codes_grad_weight_on_threads(int threads, int variant, const void *g, int g_type, const int8_t *codes,
                                     intptr_t m, intptr_t channels, int64_t n, intptr_t first, intptr_t k,
                                     int accumulate, void *out, int out_type);
void bl_adam_update_on_threads(int threads, int variant, const void *g, int g_type, const double *scale,
                               const float *coefficients, intptr_t rows, int64_t n, void *weight, int weight_type,
                               void *mean, void *square, int moment_type);

/* scratch has threads * bl_quads_scratch(m, words) bytes. */
void bl_xnor_matmul_quads_on_threads(int threads, int variant, const uint64_t *a, const uint8_t *columns, intptr_t m,
                                     intptr_t k, intptr_t words, int64_t n, void *out, int out_type, uint8_t *scratch);
