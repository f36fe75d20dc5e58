/* The gradient of the input, in blocks: rows are pixels, terms the channels of one tap. A matrix product is the
   convolution of one line of pixels by one tap: nothing is unfolded in memory, and taps outside an image are left out,
   not multiplied by zero. */
#include "product.h"

/* From so many bytes on a result is taken to be in no cache when it is read. */
#define STREAM_BYTES (32.0 * 1024 * 1024)
/* From so many bytes on a result is written while the next rows are multiplied: one that stays in a second-level cache
   waits for nothing, and loses a twentieth by being written in small parts. */
#define OVERLAP_BYTES (1024.0 * 1024)

/* A pixel, in steps of the stride: (row, column) after padding = stride * quotient + remainder. */
typedef struct {
    intptr_t image, row, row_rest, column, column_rest;
} pixel;

static pixel locate(const bl_conv2d *shape, intptr_t index)
{
    intptr_t column = index % shape->width + shape->padding_left, line = index / shape->width;
    intptr_t row = line % shape->height + shape->padding_top;
    return (pixel){.image = line / shape->height,
                   .row = row / shape->stride_height,
                   .row_rest = row % shape->stride_height,
                   .column = column / shape->stride_width,
                   .column_rest = column % shape->stride_width};
}

/* List the pixels whose tap (i, j) lies on an output position, with the gradients there. */
static void reach(product *p, const bl_conv2d *shape, const pixel *pixels, const char *g, intptr_t i, intptr_t j)
{
    intptr_t row_rest = i % shape->stride_height, column_rest = j % shape->stride_width, count = 0;
    i /= shape->stride_height;
    j /= shape->stride_width;
    for (intptr_t r = 0; r < p->rows; r++) {
        const pixel *at = pixels + r;
        intptr_t row = at->row - i, column = at->column - j;
        if (at->row_rest != row_rest || at->column_rest != column_rest || row < 0 || row >= shape->out_height ||
            column < 0 || column >= shape->out_width)
            continue;
        intptr_t position = (at->image * shape->out_height + row) * shape->out_width + column;
        p->at.at[count] = g + position * shape->out_channels * p->size;
        p->at.slot[count++] = r;
    }
    p->at.count = count;
    p->at.step = BL_GROUP_BYTES;
}

/* List rows [base, base + count) of a matrix: what the two functions above find for a line of pixels, with eight divisions
   each. */
static void list_rows(product *p, const char *g, intptr_t base, intptr_t count, intptr_t k)
{
    for (intptr_t r = 0; r < count; r++) {
        p->at.at[r] = g + (base + r) * k * p->size;
        p->at.slot[r] = r;
    }
    p->at.count = count;
    p->at.step = BL_GROUP_BYTES;
}

/* Copy rows of `count` terms that do not fill their last group, zeros after them. */
static void copy_rows(product *p, const char *const *from, intptr_t count, intptr_t groups)
{
    for (intptr_t r = 0; r < p->at.count; r++) {
        char *to = p->gathered + r * BL_BLOCK_GROUPS * BL_GROUP_BYTES;
        memset(to + (groups - 1) * BL_GROUP_BYTES, 0, BL_GROUP_BYTES);
        memcpy(to, from[r], (size_t)(count * p->size));
        p->at.at[r] = to;
    }
}

/* Add tap number `tap` to the sums of the listed pixels; where it is the only one, and they are all, finish them. */
static void input_tap(product *p, const bl_conv2d *shape, const uint64_t *w, intptr_t tap, intptr_t word,
                      bl_gradient_result *rest, intptr_t base, int only)
{
    intptr_t k = shape->out_channels, most = p->per_group * BL_BLOCK_GROUPS;
    intptr_t stride = shape->kernel_height * shape->kernel_width * shape->words;
    const char *row[BL_BLOCK_ROWS];
    memcpy(row, p->at.at, (size_t)p->at.count * sizeof *row);
    for (intptr_t from = 0; from < k; from += most) {
        intptr_t count = bl_min(most, k - from), groups = (count + p->per_group - 1) / p->per_group;
        make_room(p, rest, count, base, 1, word);
        for (intptr_t r = 0; r < p->at.count; r++)
            p->at.at[r] = row[r] + from * p->size;
        if (count % p->per_group)
            copy_rows(p, p->at.at, count, groups);
        if (p->type->total && word == 0)
            p->type->total(&p->at, groups, p->totals);
        const uint64_t *bits = w + from * stride + tap * shape->words + word;
        for (intptr_t t = 0; t < count; t++)
            gather(p, t, bits + t * stride);
        if (only && from + count == k)
            multiply_and_finish(p, rest, count, groups, base, word);
        else
            multiply(p, count, groups);
    }
}

void bl_conv2d_grad_input_blocked(const bl_gradient_types *types, const void *g, int g_type, const uint64_t *w,
                                  const bl_conv2d *shape, void *out)
{
    const double bytes = (double)shape->batch * (double)(shape->height * shape->width) * (double)shape->n * 4;
    bl_gradient_result result = {
        .kind = bytes < STREAM_BYTES ? BL_STORE : BL_STREAM, .g_type = g_type, .out = out, .n = shape->n};
    intptr_t taps = shape->kernel_height * shape->kernel_width, all = shape->batch * shape->height * shape->width;
    product p;
    pixel pixels[BL_BLOCK_ROWS];
    start(&p, types, &result);
    intptr_t rows = block_rows(&p, all, shape->out_channels * taps);
    const int matrix = taps == 1 && shape->height == 1 && shape->batch == 1 && shape->stride_width == 1 &&
                       shape->out_height == 1 && shape->out_width == shape->width && shape->padding_left == 0 &&
                       shape->padding_top == 0;
    const int overlaps =
        taps == 1 && shape->out_channels > 0 && bytes >= OVERLAP_BYTES && !p.type->product_expanding;
    for (intptr_t base = 0; base < all; base += rows) {
        intptr_t count = bl_min(rows, all - base);
        for (intptr_t r = 0; r < count && !matrix; r++)
            pixels[r] = locate(shape, base + r);
        memset(p.totals, 0, sizeof p.totals);
        for (intptr_t word = 0; word < shape->words; word += BL_BLOCK_WORDS) {
            bl_gradient_result rest = result;
            int only = 0;
            clear(&p, count, bl_min(BL_BLOCK_WORDS, shape->words - word));
            for (intptr_t tap = 0; tap < taps; tap++) {
                if (matrix)
                    list_rows(&p, g, base, count, shape->out_channels);
                else
                    reach(&p, shape, pixels, g, tap / shape->kernel_width, tap % shape->kernel_width);
                only = overlaps && p.at.count == count;
                if (p.at.count)
                    input_tap(&p, shape, w, tap, word, &rest, base, only);
            }
            if (!only)
                finish(&p, &rest, base, 1, word);
        }
    }
    if (result.kind == BL_STREAM)
        BL_STORES_DONE();
}

void bl_grad_input_blocked(const bl_gradient_types *types, const void *g, int g_type, const uint64_t *w, intptr_t m,
                           intptr_t k, int64_t n, void *out)
{
    bl_conv2d shape = line_of(m, k, n);
    bl_conv2d_grad_input_blocked(types, g, g_type, w, &shape, out);
}
