/* Kernels whose rows are cut over threads here and not by the caller: those of a few microseconds, of which a small
   network's step has many. */
#include "pool.h"

#include "kernels.h"
#include "steps.h"
#include "threads.h"

static intptr_t bytes_of(int type)
{
    switch (type) {
    case BL_INT8:
    case BL_UINT8:
        return 1;
    case BL_INT16:
    case BL_UINT16:
    case BL_FLOAT16:
        return 2;
    case BL_INT64:
    case BL_UINT64:
    case BL_FLOAT64:
        return 8;
    }
    return 4;
}

/* Bytes of a sum of gradients: int64 of int16, else 4. */
static intptr_t bytes_of_sum(int g_type) { return g_type == BL_INT16 ? 8 : 4; }

typedef struct {
    int variant, g_type, accumulate, out_type;
    const char *g;
    const void *bits; /* words, or codes */
    intptr_t m, channels, first;
    int64_t n;
    char *out;
} gradient_call;

static void grad_input_part(const void *call, int thread, intptr_t start, intptr_t stop)
{
    const gradient_call *c = call;
    (void)thread;
    bl_grad_input(c->variant, c->g + start * c->channels * bytes_of(c->g_type), c->g_type, c->bits, stop - start,
                  c->channels, c->n, c->out + start * (intptr_t)c->n * bytes_of_sum(c->g_type));
}

void bl_grad_input_on_threads(int threads, int variant, const void *g, int g_type, const uint64_t *w, intptr_t m,
                              intptr_t k, int64_t n, void *out)
{
    const gradient_call call = {.variant = variant, .g_type = g_type, .g = g, .bits = w, .channels = k, .n = n, .out = out};
    bl_over_parts(threads, threads, m, grad_input_part, &call);
}

static void grad_weight_part(const void *call, int thread, intptr_t start, intptr_t stop)
{
    const gradient_call *c = call;
    (void)thread;
    bl_grad_weight(c->variant, c->g, c->g_type, c->bits, c->m, c->channels, c->n, c->first + start, stop - start,
                   c->accumulate, c->out + start * (intptr_t)c->n * bytes_of_sum(c->g_type));
}

void bl_grad_weight_on_threads(int threads, int variant, const void *g, int g_type, const uint64_t *x, intptr_t m,
                               intptr_t channels, int64_t n, intptr_t first, intptr_t k, int accumulate, void *out)
{
    const gradient_call call = {variant, g_type, accumulate, 0, g, x, m, channels, first, n, out};
    bl_over_parts(threads, threads, k, grad_weight_part, &call);
}

static void codes_grad_weight_part(const void *call, int thread, intptr_t start, intptr_t stop)
{
    const gradient_call *c = call;
    (void)thread;
    bl_codes_grad_weight(c->variant, c->g, c->g_type, c->bits, c->m, c->channels, c->n, c->first + start, stop - start,
                         c->accumulate, c->out + start * (intptr_t)c->n * bytes_of(c->out_type), c->out_type);
}

void bl_codes_grad_weight_on_threads(int threads, int variant, const void *g, int g_type, const int8_t *codes,
                                     intptr_t m, intptr_t channels, int64_t n, intptr_t first, intptr_t k,
                                     int accumulate, void *out, int out_type)
{
    const gradient_call call = {variant, g_type, accumulate, out_type, g, codes, m, channels, first, n, out};
    bl_over_parts(threads, threads, k, codes_grad_weight_part, &call);
}

typedef struct {
    int variant, out_type;
    const uint64_t *a;
    const uint8_t *columns;
    intptr_t k, words, scratch_bytes;
    int64_t n;
    char *out;
    uint8_t *scratch;
} product_call;

static void xnor_matmul_quads_part(const void *call, int thread, intptr_t start, intptr_t stop)
{
    const product_call *c = call;
    bl_xnor_matmul_quads(c->variant, c->a + start * c->words, c->columns, stop - start, c->k, c->words, c->n,
                         c->out + start * c->k * bytes_of(c->out_type), c->out_type,
                         c->scratch + thread * c->scratch_bytes);
}

/* Parts a thread: a thread that was asleep comes 40 microseconds late, and then takes fewer. The kernels of gradients
   expand their bits once a part, so they have one. */
#define BL_PARTS 4

void bl_xnor_matmul_quads_on_threads(int threads, int variant, const uint64_t *a, const uint8_t *columns, intptr_t m,
                                     intptr_t k, intptr_t words, int64_t n, void *out, int out_type, uint8_t *scratch)
{
    const product_call call = {variant, out_type, a, columns, k, words, bl_quads_scratch(m, words), n, out, scratch};
    bl_over_parts(threads, BL_PARTS * threads, m, xnor_matmul_quads_part, &call);
}

typedef struct {
    int variant, g_type, weight_type, moment_type;
    const char *g;
    const double *scale;
    const float *coefficients;
    int64_t n;
    char *weight, *mean, *square;
} adam_call;

static void adam_update_part(const void *call, int thread, intptr_t start, intptr_t stop)
{
    const adam_call *c = call;
    const intptr_t before = start * (intptr_t)c->n, moment = bytes_of(c->moment_type);
    const intptr_t g_row = c->g_type == BL_UINT64 ? bl_words(c->n) * 8 : (intptr_t)c->n * bytes_of(c->g_type);
    (void)thread;
    bl_adam_update(c->variant, c->g + start * g_row, c->g_type, c->scale, c->coefficients, stop - start, c->n,
                   c->weight + before * bytes_of(c->weight_type), c->weight_type, c->mean + before * moment,
                   c->square + before * moment, c->moment_type);
}

void bl_adam_update_on_threads(int threads, int variant, const void *g, int g_type, const double *scale,
                               const float *coefficients, intptr_t rows, int64_t n, void *weight, int weight_type,
                               void *mean, void *square, int moment_type)
{
    const adam_call call = {variant, g_type, weight_type, moment_type, g, scale, coefficients, n, weight, mean, square};
    bl_over_parts(threads, threads, rows, adam_update_part, &call);
}
