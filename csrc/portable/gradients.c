/* How the products of gradients are cut into blocks. A matrix product is the convolution of one line of pixels by one
   tap, so that two drivers do for all six kernels: nothing is unfolded in memory, and taps outside an image are left
   out, not multiplied by zero. */
#include "portable.h"

/* So many int16 terms stay within int32: 65535 * 32768 < 2^31. */
#define INT16_TERMS 65535
/* The rows whose longer sums, int64 beside int32, fit the same storage where they are only compared. */
#define LONG_ROWS (BL_BLOCK_ROWS / 3)

/* How many rows before it is written a row of the result is fetched. */
#define ROWS_AHEAD 24

/* A product of one block of rows under way. */
typedef struct {
    const bl_gradient_type *type;
    const bl_gradient_result *result;
    intptr_t size, per_group;
    intptr_t rows, words;
    /* Terms summed so far, at most; and the int64 sums of those before, where there are any. */
    intptr_t terms;
    int64_t *before;
    int filled;
    bl_gradient_rows at;
    int32_t totals[BL_BLOCK_ROWS];
    uint64_t bits[BL_BLOCK_WORDS][BL_GROUP_BYTES * BL_BLOCK_GROUPS];
    _Alignas(64) char gathered[BL_BLOCK_ROWS * BL_BLOCK_GROUPS * BL_GROUP_BYTES];
    _Alignas(64) char panel[BL_BLOCK_GROUPS * BL_PANEL_BYTES];
    _Alignas(64) int32_t sums[BL_BLOCK_WORDS * BL_BLOCK_ROWS * BL_COLUMNS];
} product;

/* m rows as one line of as many pixels. */
static bl_conv2d line_of(intptr_t m, intptr_t channels, int64_t n)
{
    return (bl_conv2d){.batch = 1, .height = 1, .width = m, .words = bl_words(n), .out_height = 1, .out_width = m,
                       .out_channels = channels, .kernel_height = 1, .kernel_width = 1, .stride_height = 1,
                       .stride_width = 1, .n = n};
}

static void start(product *p, const bl_gradient_types *types, const bl_gradient_result *result)
{
    p->result = result;
    p->type = result->g_type == BL_INT8 ? &types->int8 : result->g_type == BL_INT16 ? &types->int16 : &types->float32;
    p->size = result->g_type == BL_INT8 ? 1 : result->g_type == BL_INT16 ? 2 : 4;
    p->per_group = BL_GROUP_BYTES / p->size;
}

/* The rows of a block of `count` in all: as even as can be, for each block expands all bits again. */
static intptr_t block_rows(const product *p, intptr_t count, intptr_t terms)
{
    int longer = p->result->kind == BL_COMPARE && p->result->g_type == BL_INT16 && terms > INT16_TERMS;
    intptr_t most = longer ? LONG_ROWS : BL_BLOCK_ROWS;
    intptr_t blocks = (count + most - 1) / most;
    return blocks ? (count + blocks - 1) / blocks : 1;
}

static void clear(product *p, intptr_t rows, intptr_t words)
{
    p->rows = rows;
    p->words = words;
    p->terms = 0;
    p->before = NULL;
    p->filled = 0;
}

/* The first block that has all rows sets their sums; before another the sums are cleared. */
static int sets_sums(product *p, intptr_t rows)
{
    if (p->filled)
        return 0;
    p->filled = 1;
    if (rows < p->rows)
        memset(p->sums, 0, (size_t)(p->words * p->rows * BL_COLUMNS) * sizeof *p->sums);
    return rows == p->rows;
}

/* Hand on the sums to result, in row `base + r * stride` for row r of the block. The rows of the result lie far apart:
   the processor has to be told early. */
static void finish(product *p, const bl_gradient_result *result, intptr_t base, intptr_t stride, intptr_t word)
{
    int shift = p->type->total != NULL;
    intptr_t size = result->kind == BL_COMPARE ? 0 : result->g_type == BL_INT16 ? 8 : 4;
    sets_sums(p, 0);
    for (intptr_t r = 0; r < p->rows; r++) {
        uintptr_t far = (uintptr_t)result->out;
        far += (uintptr_t)(((base + (r + ROWS_AHEAD) * stride) * (intptr_t)result->n + BL_COLUMNS * word) * size);
        for (intptr_t line = 0; line < p->words * BL_COLUMNS * size; line += 64)
            BL_PREFETCH_WRITE((void *)(far + (uintptr_t)line));
        for (intptr_t w = 0; w < p->words; w++) {
            intptr_t at = (w * p->rows + r) * BL_COLUMNS;
            p->type->finish(result, base + r * stride, word + w, p->sums + at, shift, p->totals[r],
                            p->before ? p->before + at : NULL);
        }
    }
}

/* Make room for more int16 terms: add the sums to the result, or to int64 sums where the result is bits. */
static void make_room(product *p, bl_gradient_result *rest, intptr_t terms, intptr_t base, intptr_t stride,
                      intptr_t word)
{
    p->terms += terms;
    if (p->terms <= INT16_TERMS || p->result->g_type != BL_INT16)
        return;
    intptr_t count = p->words * p->rows * BL_COLUMNS;
    if (p->result->kind == BL_COMPARE) {
        int64_t *wide = (int64_t *)(void *)(p->sums + BL_BLOCK_WORDS * LONG_ROWS * BL_COLUMNS);
        for (intptr_t i = 0; i < count; i++)
            wide[i] = (p->before ? wide[i] : 0) + p->sums[i];
        p->before = wide;
    } else {
        finish(p, rest, base, stride, word);
        rest->kind = BL_ADD;
    }
    p->filled = 0;
    p->terms = terms;
}

/* Add the products of a block's gradients with `count` gathered words of each column, zeros after them. */
static void multiply(product *p, intptr_t count, intptr_t groups)
{
    int set = sets_sums(p, p->at.count);
    for (intptr_t w = 0; w < p->words; w++) {
        for (intptr_t t = count; t < p->per_group * groups; t++)
            p->bits[w][t] = 0;
        p->type->expand(p->bits[w], groups, p->panel);
        p->type->product(&p->at, p->panel, groups, p->sums + w * p->rows * BL_COLUMNS, !set);
    }
}

/* Term t of each column. */
static inline void gather(product *p, intptr_t t, const uint64_t *from)
{
    for (intptr_t w = 0; w < p->words; w++)
        p->bits[w][t] = from[w];
}

/* --- The gradient of the input: rows are pixels, terms the channels of one tap ------------------------------------ */

/* A pixel, in steps of the stride: (row, column) after padding = stride * quotient + remainder. */
typedef struct {
    intptr_t image, row, row_rest, column, column_rest;
} pixel;

static pixel locate(const bl_conv2d *shape, intptr_t index)
{
    intptr_t column = index % shape->width + shape->pad_left, line = index / shape->width;
    intptr_t row = line % shape->height + shape->pad_top;
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

/* Add tap number `tap` to the sums of the listed pixels. */
static void input_tap(product *p, const bl_conv2d *shape, const uint64_t *w, intptr_t tap, intptr_t word,
                      bl_gradient_result *rest, intptr_t base)
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
        multiply(p, count, groups);
    }
}

void bl_conv2d_grad_input_blocked(const bl_gradient_types *types, const void *g, int g_type, const uint64_t *w,
                                  const bl_conv2d *shape, void *out)
{
    bl_gradient_result result = {.kind = BL_STORE, .g_type = g_type, .out = out, .n = shape->n};
    intptr_t taps = shape->kernel_height * shape->kernel_width, all = shape->batch * shape->height * shape->width;
    product p;
    pixel pixels[BL_BLOCK_ROWS];
    start(&p, types, &result);
    intptr_t rows = block_rows(&p, all, shape->out_channels * taps);
    for (intptr_t base = 0; base < all; base += rows) {
        intptr_t count = bl_min(rows, all - base);
        for (intptr_t r = 0; r < count; r++)
            pixels[r] = locate(shape, base + r);
        memset(p.totals, 0, sizeof p.totals);
        for (intptr_t word = 0; word < shape->words; word += BL_BLOCK_WORDS) {
            bl_gradient_result rest = result;
            clear(&p, count, bl_min(BL_BLOCK_WORDS, shape->words - word));
            for (intptr_t tap = 0; tap < taps; tap++) {
                reach(&p, shape, pixels, g, tap / shape->kernel_width, tap % shape->kernel_width);
                if (p.at.count)
                    input_tap(&p, shape, w, tap, word, &rest, base);
            }
            finish(&p, &rest, base, 1, word);
        }
    }
}

void bl_grad_input_blocked(const bl_gradient_types *types, const void *g, int g_type, const uint64_t *w, intptr_t m,
                           intptr_t k, int64_t n, void *out)
{
    bl_conv2d shape = line_of(m, k, n);
    bl_conv2d_grad_input_blocked(types, g, g_type, w, &shape, out);
}

/* --- The gradient of the weights: rows are output channels, terms the output positions ---------------------------- */

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
    intptr_t origin = j - shape->pad_left, step = shape->stride_width * shape->words;
    intptr_t from = first_at(0, origin, shape->stride_width, shape->out_width);
    intptr_t to = bl_max(from, first_at(shape->width, origin, shape->stride_width, shape->out_width));
    intptr_t channels = shape->out_channels * all->p->size;
    for (intptr_t image = 0; image < shape->batch; image++)
        for (intptr_t line = 0; line < shape->out_height; line++, g += shape->out_width * channels) {
            intptr_t row = line * shape->stride_height + i - shape->pad_top;
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
