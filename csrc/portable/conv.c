/* The convolution of bits with bits: a product whose rows are windows, gathered four at a time. */
#include "portable.h"

/* The words of a window held at a time, per pixel: 8 KiB for the values of four pixels and 8 KiB for their masks. */
#define WINDOW 256

/* One output pixel: its image, its place in the output and that of its window, and the range of taps inside the image. */
typedef struct {
    intptr_t image, row, column, top, left;
    intptr_t i0, i1, j0, j1;
} pixel;

static void find_rows(const bl_conv2d *shape, pixel *p)
{
    p->top = p->row * shape->stride_height - shape->pad_top;
    p->i0 = bl_max(0, bl_min(shape->kernel_height, -p->top));
    p->i1 = bl_max(p->i0, bl_min(shape->kernel_height, shape->height - p->top));
}

static void find_columns(const bl_conv2d *shape, pixel *p)
{
    p->left = p->column * shape->stride_width - shape->pad_left;
    p->j0 = bl_max(0, bl_min(shape->kernel_width, -p->left));
    p->j1 = bl_max(p->j0, bl_min(shape->kernel_width, shape->width - p->left));
}

static pixel locate(const bl_conv2d *shape, intptr_t index)
{
    pixel p = {.column = index % shape->out_width};
    index /= shape->out_width;
    p.row = index % shape->out_height;
    p.image = index / shape->out_height;
    find_rows(shape, &p);
    find_columns(shape, &p);
    return p;
}

/* The pixel after one: divisions take as long as a window's products with a few channels. */
static pixel next(const bl_conv2d *shape, pixel p)
{
    if (++p.column == shape->out_width) {
        p.column = 0;
        if (++p.row == shape->out_height) {
            p.row = 0;
            p.image++;
        }
        find_rows(shape, &p);
    }
    find_columns(shape, &p);
    return p;
}

/* Write what the words [from, to) of a window hold outside the image. */
static void fill(const bl_conv2d *shape, uint64_t *values, uint64_t *valid, intptr_t from, intptr_t to)
{
    for (intptr_t at = from; at < to; at++) {
        uint64_t ones = (at + 1) % shape->words ? ~UINT64_C(0) : bl_tail_mask(shape->n);
        *values++ = shape->pad_value > 0 ? ones : 0;
        if (valid)
            *valid++ = shape->pad_value ? ~UINT64_C(0) : 0;
    }
}

/* Gather words [start, start + count) of a window. Taps of one row lie side by side in the image as in the kernel,
   so a row of the window is at most one copy between two stretches of padding. valid may be NULL. */
static void gather(const bl_conv2d *shape, const uint64_t *x, const pixel *p, intptr_t start, intptr_t count,
                   uint64_t *values, uint64_t *valid)
{
    intptr_t row = shape->kernel_width * shape->words;
    for (intptr_t i = row ? start / row : 0; i * row < start + count; i++) {
        int inside = i >= p->i0 && i < p->i1;
        intptr_t from = bl_max(start, i * row), to = bl_min(start + count, (i + 1) * row);
        intptr_t copy_from = bl_max(from, bl_min(to, i * row + (inside ? p->j0 * shape->words : 0)));
        intptr_t copy_to = bl_max(copy_from, bl_min(to, i * row + (inside ? p->j1 * shape->words : 0)));
        size_t bytes = (size_t)(copy_to - copy_from) * sizeof *values;
        fill(shape, values + (from - start), valid ? valid + (from - start) : NULL, from, copy_from);
        if (bytes) {
            intptr_t line = (p->image * shape->height + p->top + i) * shape->width + p->left;
            memcpy(values + (copy_from - start), x + (line * shape->words + copy_from - i * row), bytes);
            if (valid)
                memset(valid + (copy_from - start), 0xff, bytes);
        }
        fill(shape, values + (copy_to - start), valid ? valid + (copy_to - start) : NULL, copy_to, to);
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

/* With the kernels in panels: the windows of a block of pixels are gathered once, into a buffer that stays in the cache,
   and are then the rows of a product with each panel. A true zero is gathered as a word of zeros, which counts as -1;
   what that has counted is given back in the base of a border's pixel. Where `quads` is given, the windows are recoded
   for it, and the panels serve for those counts alone. */
#define BLOCK_PIXELS BL_QUADS_PIXELS
#define TABLE 8192
#define MOST_COLUMNS BL_QUAD_PANEL

typedef struct {
    const bl_conv2d *shape;
    intptr_t taps, window;
} panel_taps;

/* The parts of the kernel that are inside the image for some rows, or columns, of the output: each range of taps once. */
#define MOST_RANGES 8
typedef struct {
    intptr_t from[MOST_RANGES], to[MOST_RANGES];
    int count; /* 0 where there are more */
} tap_ranges;

static int range_of(const tap_ranges *ranges, intptr_t from, intptr_t to)
{
    int i = 0;
    while (i < ranges->count && (ranges->from[i] != from || ranges->to[i] != to))
        i++;
    return i;
}

static tap_ranges ranges_of(intptr_t size, intptr_t out_size, intptr_t kernel, intptr_t stride, intptr_t pad)
{
    tap_ranges ranges = {.count = 0};
    for (intptr_t o = 0; o < out_size; o++) {
        const intptr_t from = bl_max(0, bl_min(kernel, pad - o * stride));
        const intptr_t to = bl_max(from, bl_min(kernel, size + pad - o * stride));
        const int i = range_of(&ranges, from, to);
        if (i < ranges.count)
            continue;
        if (i == MOST_RANGES)
            return (tap_ranges){.count = 0};
        ranges.from[i] = from;
        ranges.to[i] = to;
        ranges.count++;
    }
    return ranges;
}

/* The bases of pixels whose taps [i0, i1) x [j0, j1) are inside, for a panel: n for each of them, and twice the set bits
   of the others, which zeros have counted. */
static void find_bases(const panel_taps *t, intptr_t i0, intptr_t i1, intptr_t j0, intptr_t j1, const uint64_t *panel,
                       intptr_t stride, int32_t bases[BL_PANEL])
{
    const bl_conv2d *shape = t->shape;
    const intptr_t inside = (i1 - i0) * (j1 - j0);
    for (int c = 0; c < BL_PANEL; c++)
        bases[c] = (int32_t)(shape->n * (shape->pad_value ? t->taps : inside));
    if (shape->pad_value)
        return;
    for (intptr_t tap = 0; tap < t->taps; tap++) {
        const intptr_t i = tap / shape->kernel_width, j = tap % shape->kernel_width;
        if (i >= i0 && i < i1 && j >= j0 && j < j1)
            continue;
        for (intptr_t p = tap * shape->words; p < (tap + 1) * shape->words; p++)
            for (intptr_t c = 0; c < stride; c++)
                bases[c] += 2 * (int32_t)popcount64(panel[p * stride + c]);
    }
}

static void convolve_panels(bl_panel_block *block, const bl_quads *quads, const uint64_t *x, const uint64_t *panels,
                            const bl_conv2d *shape, const bl_xnor_result *result)
{
    const intptr_t columns = quads ? BL_QUAD_PANEL : BL_PANEL;
    intptr_t pixels = shape->batch * shape->out_height * shape->out_width, k = shape->out_channels;
    panel_taps t = {.shape = shape, .taps = shape->kernel_height * shape->kernel_width};
    t.window = t.taps * shape->words;
    intptr_t step = bl_max(1, bl_min(BLOCK_PIXELS, BL_PANEL_WINDOW / bl_max(t.window, 1)));
    if (quads)
        step = bl_min(step, bl_quads_step(t.window)); /* for which there is scratch */
    const tap_ranges rows =
        ranges_of(shape->height, shape->out_height, shape->kernel_height, shape->stride_height, shape->pad_top);
    const tap_ranges lines =
        ranges_of(shape->width, shape->out_width, shape->kernel_width, shape->stride_width, shape->pad_left);
    const int kinds = rows.count * lines.count;
    intptr_t tabled = shape->pad_value || !kinds ? 0 : TABLE / (kinds * columns);
    intptr_t group = columns * bl_max(tabled, shape->pad_value ? k / columns + 1 : 1);
    if (result->kind == BL_SIGNS)
        memset(result->out, 0, (size_t)(pixels * bl_words(k)) * sizeof(uint64_t));
    for (intptr_t from = 0; from < k; from += group) {
        intptr_t to = bl_min(k, from + group);
        int32_t table[TABLE];
        for (intptr_t j = from; tabled && j < to; j += BL_PANEL)
            for (int kind = 0; kind < kinds; kind++) {
                const int i = kind / lines.count, l = kind % lines.count;
                find_bases(&t, rows.from[i], rows.to[i], lines.from[l], lines.to[l], panels + j * t.window,
                           (bl_min(BL_PANEL, k - j) + 7) / 8 * 8, table + kind * group + (j - from));
            }
        int32_t bases[BLOCK_PIXELS][MOST_COLUMNS];
        /* Pixels away from the borders have one base for all columns: it is written where another stands. */
        int other[BLOCK_PIXELS];
        for (int r = 0; r < BLOCK_PIXELS; r++)
            other[r] = 1;
        for (intptr_t first = 0; first < pixels; first += step) {
            uint64_t windows[BL_PANEL_WINDOW];
            pixel at[BLOCK_PIXELS];
            int kind[BLOCK_PIXELS];
            intptr_t count = bl_min(step, pixels - first), cut = 0;
            bl_xnor_result part = *result;
            if (result->kind == BL_SIGNS)
                part.out = (uint64_t *)result->out + first * bl_words(k);
            else
                part.out = (char *)result->out + first * k * (result->out_type == BL_INT16 ? 2 : 4);
            for (intptr_t r = 0; r < count; r++) {
                at[r] = r ? next(shape, at[r - 1]) : locate(shape, first);
                cut |= (at[r].i1 - at[r].i0) * (at[r].j1 - at[r].j0) < t.taps;
                if (tabled)
                    kind[r] = range_of(&rows, at[r].i0, at[r].i1) * lines.count + range_of(&lines, at[r].j0, at[r].j1);
                gather(shape, x, &at[r], 0, t.window, windows + r * t.window, NULL);
            }
            cut = cut && !shape->pad_value;
            if (quads)
                quads->recode(windows, count, t.window, quads->scratch);
            for (intptr_t j = from; j < to; j += columns) {
                intptr_t width = bl_min(columns, k - j), stride = cut ? MOST_COLUMNS : 0;
                for (intptr_t r = 0; r < (cut ? count : 1); r++) {
                    int border = (at[r].i1 - at[r].i0) * (at[r].j1 - at[r].j0) < t.taps;
                    if (!border && !other[r])
                        continue;
                    /* Later columns of a group are no wider than its first ones, which have filled all that is read. */
                    if (tabled) /* no memcpy, of which GCC makes a slow instruction */
                        for (intptr_t c = 0; c < columns; c++)
                            bases[r][c] = table[kind[r] * group + (j - from) + c];
                    else
                        for (intptr_t c = 0; c < width; c += BL_PANEL)
                            find_bases(&t, at[r].i0, at[r].i1, at[r].j0, at[r].j1, panels + (j + c) * t.window,
                                       (bl_min(BL_PANEL, k - j - c) + 7) / 8 * 8, bases[r] + c);
                    other[r] = border;
                }
                if (quads)
                    quads->block(quads->scratch, quads->columns + bl_quads_of_columns(j, t.window), count, t.window, j,
                                 width, bases[0], stride, &part);
                else
                    block(windows, panels + j * t.window, count, t.window, j, width, bases[0], stride, &part);
            }
        }
    }
}

void bl_xnor_conv2d_panels_blocked(bl_panel_block *block, const uint64_t *x, const uint64_t *panels,
                                   const bl_conv2d *shape, void *out, int out_type)
{
    bl_xnor_result result = {.kind = BL_DOTS, .out_type = out_type, .out = out, .columns = shape->out_channels};
    convolve_panels(block, NULL, x, panels, shape, &result);
}

void bl_xnor_conv2d_sign_panels_blocked(bl_panel_block *block, const uint64_t *x, const uint64_t *panels,
                                        const bl_conv2d *shape, const int32_t *threshold, uint64_t *out)
{
    bl_xnor_result result = {
        .kind = BL_SIGNS, .threshold = threshold, .out = out, .columns = shape->out_channels};
    convolve_panels(block, NULL, x, panels, shape, &result);
}

void bl_conv2d_quads_blocked(const bl_quads *quads, const uint64_t *x, const uint64_t *panels, const bl_conv2d *shape,
                             const bl_xnor_result *result)
{
    convolve_panels(NULL, quads, x, panels, shape, result);
}
