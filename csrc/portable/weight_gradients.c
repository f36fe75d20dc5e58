/* The gradient of the weights, in blocks: rows are output channels, terms the output positions that a tap sees inside the
   image, or padded with a value. A matrix product is the convolution of one line of pixels by one tap. */
#include "product.h"

/* The terms collected for a block: for each the gradients of an output position, and the words of the pixel that the
   tap sees there, or NULL for padding. */
typedef struct {
    product *p;
    bl_gradient_result rest;
    intptr_t base, stride, word;
    uint64_t pad[BL_BLOCK_WORDS];
    intptr_t count;
    const char *g[BL_GROUP_BYTES * BL_BLOCK_GROUPS];
    const uint64_t *x[BL_GROUP_BYTES * BL_BLOCK_GROUPS];
} collector;

static void multiply_terms(collector *all)
{
    static const char zeros[BL_BLOCK_ROWS * BL_GROUP_BYTES];
    product *p = all->p;
    intptr_t groups = (all->count + p->per_group - 1) / p->per_group;
    make_room(p, &all->rest, all->count, all->base, all->stride, all->word);
    for (intptr_t t = all->count; t < p->per_group * groups; t++)
        all->g[t] = zeros;
    p->type->interleave(all->g, groups, p->rows, p->gathered, &p->at, p->totals);
    for (intptr_t t = 0; t < all->count; t++)
        gather(p, t, all->x[t] ? all->x[t] : all->pad);
    multiply(p, all->count, groups);
    all->count = 0;
}

/* Collect `count` positions whose gradients lie side by side, and the pixels from x on, `step` words apart. */
static void collect(collector *all, intptr_t count, const char *g, intptr_t channels, const uint64_t *x, intptr_t step)
{
    intptr_t most = all->p->per_group * BL_BLOCK_GROUPS;
    for (intptr_t t = 0; t < count; t++) {
        all->g[all->count] = g + t * channels;
        all->x[all->count] = x ? x + t * step : NULL;
        if (++all->count == most)
            multiply_terms(all);
    }
}

/* The first output position whose tap falls at or past `edge`, given where the tap of position 0 falls. */
static intptr_t first_at(intptr_t edge, intptr_t origin, intptr_t stride, intptr_t positions)
{
    return bl_min(positions, bl_max(0, (edge - origin + stride - 1) / stride));
}

/* The sums of tap (i, j): over every output position whose tap is inside, or padded with a value. */
static void weight_tap(collector *all, const char *g, const uint64_t *x, const bl_conv2d *shape, intptr_t i,
                       intptr_t j)
{
    intptr_t origin = j - shape->padding_left, step = shape->stride_width * shape->words;
    intptr_t from = first_at(0, origin, shape->stride_width, shape->out_width);
    intptr_t to = bl_max(from, first_at(shape->width, origin, shape->stride_width, shape->out_width));
    intptr_t channels = shape->out_channels * all->p->size;
    for (intptr_t image = 0; image < shape->batch; image++)
        for (intptr_t line = 0; line < shape->out_height; line++, g += shape->out_width * channels) {
            intptr_t row = line * shape->stride_height + i - shape->padding_top;
            intptr_t inside = row >= 0 && row < shape->height ? to : from;
            if (shape->pad_value)
                collect(all, from, g, channels, NULL, 0);
            if (inside > from) {
                intptr_t first = (image * shape->height + row) * shape->width + from * shape->stride_width + origin;
                collect(all, inside - from, g + from * channels, channels, x + first * shape->words + all->word, step);
            }
            if (shape->pad_value)
                collect(all, shape->out_width - inside, g + inside * channels, channels, NULL, 0);
        }
    if (all->count)
        multiply_terms(all);
}

static void weight_gradient(const bl_gradient_types *types, const char *g, const uint64_t *x, const bl_conv2d *shape,
                            intptr_t first, intptr_t k, const bl_gradient_result *result)
{
    intptr_t taps = shape->kernel_height * shape->kernel_width;
    product p;
    collector all = {.p = &p, .stride = taps};
    start(&p, types, result);
    memset(all.pad, shape->pad_value > 0 ? 0xff : 0, sizeof all.pad);
    intptr_t rows = block_rows(&p, k, shape->batch * shape->out_height * shape->out_width);
    for (intptr_t o = 0; o < k; o += rows)
        for (intptr_t tap = 0; tap < taps; tap++)
            for (intptr_t word = 0; word < shape->words; word += BL_BLOCK_WORDS) {
                all.rest = *result;
                all.base = o * taps + tap;
                all.word = word;
                clear(&p, bl_min(rows, k - o), bl_min(BL_BLOCK_WORDS, shape->words - word));
                memset(p.totals, 0, sizeof p.totals);
                weight_tap(&all, g + (first + o) * p.size, x, shape, tap / shape->kernel_width,
                           tap % shape->kernel_width);
                finish(&p, &all.rest, all.base, taps, word);
            }
}

void bl_conv2d_grad_weight_blocked(const bl_gradient_types *types, const void *g, int g_type, const uint64_t *x,
                                   const bl_conv2d *shape, intptr_t first, intptr_t k, int accumulate, void *out)
{
    bl_gradient_result result = {.kind = accumulate ? BL_ADD : BL_STORE, .g_type = g_type, .out = out, .n = shape->n};
    weight_gradient(types, g, x, shape, first, k, &result);
}

void bl_conv2d_grad_weight_sign_blocked(const bl_gradient_types *types, const void *g, int g_type, const uint64_t *x,
                                        const bl_conv2d *shape, intptr_t first, intptr_t k, const void *threshold,
                                        const uint64_t *mask, uint64_t *out)
{
    bl_gradient_result result = {.kind = BL_COMPARE,
                                 .g_type = g_type,
                                 .threshold = threshold,
                                 .rows_per_threshold = shape->kernel_height * shape->kernel_width,
                                 .mask = mask,
                                 .out = out,
                                 .n = shape->n};
    weight_gradient(types, g, x, shape, first, k, &result);
}


void bl_grad_weight_blocked(const bl_gradient_types *types, const void *g, int g_type, const uint64_t *x, intptr_t m,
                            intptr_t channels, int64_t n, intptr_t first, intptr_t k, int accumulate, void *out)
{
    bl_conv2d shape = line_of(m, channels, n);
    bl_conv2d_grad_weight_blocked(types, g, g_type, x, &shape, first, k, accumulate, out);
}

void bl_grad_weight_sign_blocked(const bl_gradient_types *types, const void *g, int g_type, const uint64_t *x,
                                 intptr_t m, intptr_t channels, int64_t n, intptr_t first, intptr_t k,
                                 const void *threshold, const uint64_t *mask, uint64_t *out)
{
    bl_conv2d shape = line_of(m, channels, n);
    bl_conv2d_grad_weight_sign_blocked(types, g, g_type, x, &shape, first, k, threshold, mask, out);
}
