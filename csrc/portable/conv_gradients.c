/* The two gradients of a convolution, as sums over taps: nothing is unfolded in memory. */
#include "portable.h"

/* Four pixels of an image row whose columns differ by the stride, so that the same taps of the kernel reach them. */
typedef struct {
    intptr_t image, row, column;
} pixels;

/* Add the terms of tap (i, j), for one word column of the channels. */
static void input_tap(bl_gradient_block *block, const void *g, int g_type, const uint64_t *w, const bl_conv2d *shape,
                      const pixels *at, intptr_t i, intptr_t j, intptr_t word, bl_sums *sums)
{
    intptr_t row = at->row + shape->pad_top - i, column = at->column + shape->pad_left - j;
    if (row % shape->stride_height || column % shape->stride_width)
        return;
    row /= shape->stride_height;
    column /= shape->stride_width;
    if (row < 0 || row >= shape->out_height || column + BL_ROWS <= 0 || column >= shape->out_width)
        return;
    intptr_t k = shape->out_channels, taps = shape->kernel_height * shape->kernel_width;
    intptr_t tap = i * shape->kernel_width + j;
    intptr_t first = ((at->image * shape->out_height + row) * shape->out_width + column) * k;
    bl_terms terms;
    for (intptr_t from = 0; from < k; from += BL_TERMS) {
        intptr_t count = bl_min(BL_TERMS, k - from);
        for (int r = 0; r < BL_ROWS; r++) {
            int inside = column + r >= 0 && column + r < shape->out_width;
            bl_load_terms(&terms, r, 0, inside ? g : NULL, g_type, first + r * k + from, count);
        }
        block(&terms, w + (from * taps + tap) * shape->words + word, taps * shape->words, count, sums);
    }
}

void bl_conv2d_grad_input_blocked(const bl_gradient_blocks *blocks, const void *g, int g_type, const uint64_t *w,
                                  const bl_conv2d *shape, void *out)
{
    bl_gradient_block *block = bl_block_of(blocks, g_type);
    bl_gradient_result result = {.kind = BL_STORE, .g_type = g_type, .out = out, .n = shape->n};
    intptr_t stride = shape->stride_width, phases = bl_min(stride, shape->width);
    for (intptr_t line = 0; line < shape->batch * shape->height; line++)
        for (intptr_t phase = 0; phase < phases; phase++)
            for (intptr_t column = phase; column < shape->width; column += BL_ROWS * stride)
                for (intptr_t word = 0; word < shape->words; word++) {
                    pixels at = {line / shape->height, line % shape->height, column};
                    bl_sums sums;
                    memset(&sums, 0, sizeof sums);
                    for (intptr_t i = 0; i < shape->kernel_height; i++)
                        for (intptr_t j = 0; j < shape->kernel_width; j++)
                            input_tap(block, g, g_type, w, shape, &at, i, j, word, &sums);
                    for (int r = 0; r < BL_ROWS && column + r * stride < shape->width; r++)
                        bl_gradient_finish(&result, line * shape->width + column + r * stride, word, r, &sums);
                }
}

/* The terms of a tap's gradient, collected until a block is full. */
typedef struct {
    bl_gradient_block *block;
    const void *gt;
    int g_type;
    intptr_t positions;
    intptr_t channel[BL_ROWS];
    intptr_t count;
    bl_terms terms;
    uint64_t bits[BL_TERMS];
    bl_sums sums;
} collector;

static void flush(collector *all)
{
    all->block(&all->terms, all->bits, 1, all->count, &all->sums);
    all->count = 0;
}

/* Collect the gradients of positions [position, position + count) with every step-th word of x, or with `pad` where
   x is NULL. */
static void collect(collector *all, intptr_t position, intptr_t count, const uint64_t *x, intptr_t step, uint64_t pad)
{
    while (count > 0) {
        intptr_t run = bl_min(count, BL_TERMS - all->count);
        for (int r = 0; r < BL_ROWS; r++)
            bl_load_terms(&all->terms, r, all->count, all->gt, all->g_type,
                          all->channel[r] * all->positions + position, run);
        for (intptr_t t = 0; t < run; t++)
            all->bits[all->count + t] = x ? x[t * step] : pad;
        all->count += run;
        position += run;
        count -= run;
        x = x && count > 0 ? x + run * step : NULL;
        if (all->count == BL_TERMS)
            flush(all);
    }
}

/* The first output position whose tap falls at or past `edge`, given where the tap of position 0 falls. */
static intptr_t first_at(intptr_t edge, intptr_t origin, intptr_t stride, intptr_t positions)
{
    return bl_min(positions, bl_max(0, (edge - origin + stride - 1) / stride));
}

/* The sums of tap (i, j) for one word column: over every output position whose tap is inside, or padded with a
   value. */
static void weight_tap(collector *all, const uint64_t *x, const bl_conv2d *shape, intptr_t i, intptr_t j,
                       intptr_t word)
{
    intptr_t origin = j - shape->pad_left, step = shape->stride_width * shape->words;
    intptr_t from = first_at(0, origin, shape->stride_width, shape->out_width);
    intptr_t to = bl_max(from, first_at(shape->width, origin, shape->stride_width, shape->out_width));
    uint64_t pad = shape->pad_value > 0 ? ~UINT64_C(0) : 0;
    all->count = 0;
    memset(&all->sums, 0, sizeof all->sums);
    for (intptr_t line = 0; line < shape->batch * shape->out_height; line++) {
        intptr_t row = line % shape->out_height * shape->stride_height + i - shape->pad_top;
        intptr_t inside = row >= 0 && row < shape->height ? to : from, position = line * shape->out_width;
        if (shape->pad_value)
            collect(all, position, from, NULL, 0, pad);
        if (inside > from) {
            intptr_t image_row = line / shape->out_height * shape->height + row;
            intptr_t column = from * shape->stride_width + origin;
            collect(all, position + from, inside - from,
                    x + (image_row * shape->width + column) * shape->words + word, step, pad);
        }
        if (shape->pad_value)
            collect(all, position + inside, shape->out_width - inside, NULL, 0, pad);
    }
    flush(all);
}

static void weight_gradient(const bl_gradient_blocks *blocks, const void *gt, const uint64_t *x,
                            const bl_conv2d *shape, const bl_gradient_result *result)
{
    collector all;
    all.block = bl_block_of(blocks, result->g_type);
    all.gt = gt;
    all.g_type = result->g_type;
    all.positions = shape->batch * shape->out_height * shape->out_width;
    for (intptr_t o = 0; o < shape->out_channels; o += BL_ROWS) {
        for (int r = 0; r < BL_ROWS; r++)
            all.channel[r] = bl_min(o + r, shape->out_channels - 1);
        for (intptr_t i = 0; i < shape->kernel_height; i++)
            for (intptr_t j = 0; j < shape->kernel_width; j++)
                for (intptr_t word = 0; word < shape->words; word++) {
                    weight_tap(&all, x, shape, i, j, word);
                    for (int r = 0; r < BL_ROWS && o + r < shape->out_channels; r++) {
                        intptr_t row = ((o + r) * shape->kernel_height + i) * shape->kernel_width + j;
                        bl_gradient_finish(result, row, word, r, &all.sums);
                    }
                }
    }
}

void bl_conv2d_grad_weight_blocked(const bl_gradient_blocks *blocks, const void *gt, int g_type, const uint64_t *x,
                                   const bl_conv2d *shape, void *out)
{
    bl_gradient_result result = {.kind = BL_ADD, .g_type = g_type, .out = out, .n = shape->n};
    weight_gradient(blocks, gt, x, shape, &result);
}

void bl_conv2d_grad_weight_sign_blocked(const bl_gradient_blocks *blocks, const void *gt, int g_type,
                                        const uint64_t *x, const bl_conv2d *shape, const void *threshold,
                                        const uint64_t *mask, uint64_t *out)
{
    bl_gradient_result result = {.kind = BL_COMPARE,
                                 .g_type = g_type,
                                 .threshold = threshold,
                                 .rows_per_threshold = shape->kernel_height * shape->kernel_width,
                                 .mask = mask,
                                 .out = out,
                                 .n = shape->n};
    weight_gradient(blocks, gt, x, shape, &result);
}
