/* The convolution of bits with bits: a product whose rows are windows, gathered four at a time. */
#include "portable.h"

/* The words of a window held at a time, per pixel: 8 KiB for the values of four pixels and 8 KiB for their masks. */
#define WINDOW 256

/* One output pixel: its image, and the range of taps that fall inside it. */
typedef struct {
    intptr_t image, top, left;
    intptr_t i0, i1, j0, j1;
} pixel;

static pixel locate(const bl_conv2d *shape, intptr_t index)
{
    pixel p;
    p.left = index % shape->out_width * shape->stride_width - shape->pad_left;
    index /= shape->out_width;
    p.top = index % shape->out_height * shape->stride_height - shape->pad_top;
    p.image = index / shape->out_height;
    p.i0 = bl_max(0, bl_min(shape->kernel_height, -p.top));
    p.i1 = bl_max(p.i0, bl_min(shape->kernel_height, shape->height - p.top));
    p.j0 = bl_max(0, bl_min(shape->kernel_width, -p.left));
    p.j1 = bl_max(p.j0, bl_min(shape->kernel_width, shape->width - p.left));
    return p;
}

/* Write what the words [from, to) of a window hold outside the image. */
static void fill(const bl_conv2d *shape, uint64_t *values, uint64_t *valid, intptr_t from, intptr_t to)
{
    for (intptr_t at = from; at < to; at++) {
        uint64_t ones = (at + 1) % shape->words ? ~UINT64_C(0) : bl_tail_mask(shape->n);
        *values++ = shape->pad_value > 0 ? ones : 0;
        *valid++ = shape->pad_value ? ~UINT64_C(0) : 0;
    }
}

/* Gather words [start, start + count) of a window. Taps of one row lie side by side in the image as in the kernel,
   so a row of the window is at most one copy between two stretches of padding. */
static void gather(const bl_conv2d *shape, const uint64_t *x, const pixel *p, intptr_t start, intptr_t count,
                   uint64_t *values, uint64_t *valid)
{
    intptr_t row = shape->kernel_width * shape->words;
    for (intptr_t i = start / row; i * row < start + count; i++) {
        int inside = i >= p->i0 && i < p->i1;
        intptr_t from = bl_max(start, i * row), to = bl_min(start + count, (i + 1) * row);
        intptr_t copy_from = bl_max(from, bl_min(to, i * row + (inside ? p->j0 * shape->words : 0)));
        intptr_t copy_to = bl_max(copy_from, bl_min(to, i * row + (inside ? p->j1 * shape->words : 0)));
        size_t bytes = (size_t)(copy_to - copy_from) * sizeof *values;
        fill(shape, values + (from - start), valid + (from - start), from, copy_from);
        if (bytes) {
            intptr_t line = (p->image * shape->height + p->top + i) * shape->width + p->left;
            memcpy(values + (copy_from - start), x + (line * shape->words + copy_from - i * row), bytes);
            memset(valid + (copy_from - start), 0xff, bytes);
        }
        fill(shape, values + (copy_to - start), valid + (copy_to - start), copy_to, to);
    }
}

static void convolve(bl_xnor_block *block, const uint64_t *x, const uint64_t *w, const bl_conv2d *shape,
                     const bl_xnor_result *result)
{
    intptr_t pixels = shape->batch * shape->out_height * shape->out_width;
    intptr_t taps = shape->kernel_height * shape->kernel_width;
    intptr_t window = taps * shape->words;
    for (intptr_t first = 0; first < pixels; first += BL_ROWS) {
        uint64_t values[BL_ROWS][WINDOW], valid[BL_ROWS][WINDOW];
        const uint64_t *value_rows[BL_ROWS], *valid_rows[BL_ROWS];
        pixel at[BL_ROWS];
        int32_t base[BL_ROWS];
        int masked = 0;
        for (int r = 0; r < BL_ROWS; r++) {
            at[r] = locate(shape, bl_min(first + r, pixels - 1));
            intptr_t inside = (at[r].i1 - at[r].i0) * (at[r].j1 - at[r].j0);
            base[r] = (int32_t)(shape->n * (shape->pad_value ? taps : inside));
            masked |= !shape->pad_value && inside < taps;
            value_rows[r] = values[r];
            valid_rows[r] = valid[r];
        }
        for (intptr_t o = 0; o < shape->out_channels; o += BL_COLUMNS) {
            intptr_t width = bl_min(BL_COLUMNS, shape->out_channels - o);
            int32_t counts[BL_ROWS][BL_COLUMNS] = {{0}};
            for (intptr_t start = 0; start < window; start += WINDOW) {
                intptr_t count = bl_min(WINDOW, window - start);
                /* A window that fits is gathered once for all output channels. */
                if (o == 0 || window > WINDOW)
                    for (int r = 0; r < BL_ROWS; r++)
                        gather(shape, x, &at[r], start, count, values[r], valid[r]);
                block(value_rows, masked ? valid_rows : NULL, w + o * window + start, window, width, count, counts);
            }
            for (int r = 0; r < BL_ROWS && first + r < pixels; r++)
                bl_xnor_finish(result, first + r, o, width, base[r], counts[r]);
        }
    }
}

void bl_xnor_conv2d_blocked(bl_xnor_block *block, const uint64_t *x, const uint64_t *w, const bl_conv2d *shape,
                            void *out, int out_type)
{
    bl_xnor_result result = {.kind = BL_DOTS, .out_type = out_type, .out = out, .columns = shape->out_channels};
    convolve(block, x, w, shape, &result);
}

void bl_xnor_conv2d_sign_blocked(bl_xnor_block *block, const uint64_t *x, const uint64_t *w, const bl_conv2d *shape,
                                 const int32_t *threshold, uint64_t *out)
{
    bl_xnor_result result = {
        .kind = BL_SIGNS, .threshold = threshold, .out = out, .columns = shape->out_channels};
    convolve(block, x, w, shape, &result);
}
