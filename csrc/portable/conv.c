/* The convolution of bits with bits: a product whose rows are windows, gathered four at a time. */
#include "portable.h"

#include "../windows.h"

/* The words of a window held at a time, per pixel: 8 KiB for the values of four pixels and 8 KiB for their masks. */
#define WINDOW 256

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
static void gather(const bl_conv2d *shape, const uint64_t *x, const bl_window *p, intptr_t start, intptr_t count,
                   uint64_t *values, uint64_t *valid)
{
    intptr_t row = shape->kernel_width * shape->words;
    for (intptr_t i = row ? start / row : 0; i * row < start + count; i++) {
        int inside = i >= p->lines.from && i < p->lines.to;
        intptr_t from = bl_max(start, i * row), to = bl_min(start + count, (i + 1) * row);
        intptr_t copy_from = bl_max(from, bl_min(to, i * row + (inside ? p->columns.from * shape->words : 0)));
        intptr_t copy_to = bl_max(copy_from, bl_min(to, i * row + (inside ? p->columns.to * shape->words : 0)));
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

static void multiply(bl_xnor_block *block, const uint64_t *x, const uint64_t *w, const bl_conv2d *shape,
                     const bl_xnor_result *result)
{
    intptr_t pixels = shape->batch * shape->out_height * shape->out_width;
    intptr_t taps = shape->kernel_height * shape->kernel_width;
    intptr_t window = taps * shape->words;
    for (intptr_t first = 0; first < pixels; first += BL_ROWS) {
        uint64_t values[BL_ROWS][WINDOW], valid[BL_ROWS][WINDOW];
        const uint64_t *value_rows[BL_ROWS], *valid_rows[BL_ROWS];
        bl_window at[BL_ROWS];
        int32_t bases[BL_ROWS][BL_COLUMNS];
        int masked = 0;
        for (int r = 0; r < BL_ROWS; r++) {
            at[r] = bl_window_of(shape, bl_min(first + r, pixels - 1));
            intptr_t inside = bl_count_inside(&at[r]);
            for (int c = 0; c < BL_COLUMNS; c++)
                bases[r][c] = (int32_t)(shape->n * (shape->pad_value ? taps : inside));
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
                bl_xnor_finish(result, first + r, o, width, bases[r], counts[r]);
        }
    }
}

/* With the kernels in panels: the windows of a block of pixels are gathered once, into a buffer that stays in the cache,
   and are then the rows of a product with each panel. A true zero is gathered as a word of zeros, which counts as -1;
   what that has counted is given back in the base of a border's pixel. Where columns are recoded, the windows are too, and
   the panels serve for those counts alone. */
#define BLOCK_PIXELS BL_QUADS_PIXELS
#define TABLE 8192
#define MOST_COLUMNS BL_QUAD_PANEL

typedef struct {
    const bl_conv2d *shape;
    intptr_t taps, window;
} panel_taps;

/* So many kinds of lines, and of columns, have their bases in a table. */
#define MOST_RANGES 8

/* The bases of a pixel for a panel: n for each tap inside, and twice the set bits of the others, which zeros have counted. */
static void find_bases(const panel_taps *t, const bl_window *w, const uint64_t *panel, intptr_t stride,
                       int32_t bases[BL_PANEL])
{
    const bl_conv2d *shape = t->shape;
    for (int c = 0; c < BL_PANEL; c++)
        bases[c] = (int32_t)(shape->n * (shape->pad_value ? t->taps : bl_count_inside(w)));
    for (intptr_t tap = 0; tap < t->taps && !shape->pad_value; tap++) {
        if (bl_is_inside(w, tap / shape->kernel_width, tap % shape->kernel_width))
            continue;
        int32_t counts[BL_PANEL];
        bl_count_panel(panel, stride, tap * shape->words, (tap + 1) * shape->words, counts);
        for (int c = 0; c < BL_PANEL; c++)
            bases[c] += 2 * counts[c];
    }
}

static void multiply_panels(const bl_columns *b, const uint64_t *x, const bl_conv2d *shape, const bl_xnor_result *result)
{
    const intptr_t columns = bl_columns_at_once(b);
    intptr_t pixels = shape->batch * shape->out_height * shape->out_width, k = shape->out_channels;
    panel_taps t = {.shape = shape, .taps = shape->kernel_height * shape->kernel_width, .window = b->words};
    intptr_t step = bl_max(1, bl_min(BLOCK_PIXELS, BL_PANEL_WINDOW / bl_max(t.window, 1)));
    if (b->recoded)
        step = bl_min(step, bl_quads_step(1, t.window)); /* for which there is scratch */
    bl_taps lines[MOST_RANGES], places[MOST_RANGES];
    const int line_kinds = bl_list_ranges(shape->out_height, shape->stride_height, shape->padding_top,
                                          shape->kernel_height, shape->height, MOST_RANGES, lines);
    const int place_kinds = bl_list_ranges(shape->out_width, shape->stride_width, shape->padding_left,
                                           shape->kernel_width, shape->width, MOST_RANGES, places);
    const int kinds = line_kinds > MOST_RANGES || place_kinds > MOST_RANGES ? 0 : line_kinds * place_kinds;
    intptr_t tabled = shape->pad_value || !kinds ? 0 : TABLE / (kinds * columns);
    intptr_t group = columns * bl_max(tabled, shape->pad_value ? k / columns + 1 : 1);
    for (intptr_t from = 0; from < k; from += group) {
        intptr_t to = bl_min(k, from + group);
        int32_t table[TABLE];
        for (intptr_t j = from; tabled && j < to; j += BL_PANEL)
            for (int kind = 0; kind < kinds; kind++) {
                const bl_window w = {.lines = lines[kind / place_kinds], .columns = places[kind % place_kinds]};
                find_bases(&t, &w, b->panels + j * t.window, bl_panel_width(k - j), table + kind * group + (j - from));
            }
        int32_t bases[BLOCK_PIXELS][MOST_COLUMNS];
        /* Pixels away from the borders have one base for all columns: it is written where another stands. */
        int other[BLOCK_PIXELS];
        for (int r = 0; r < BLOCK_PIXELS; r++)
            other[r] = 1;
        for (intptr_t first = 0; first < pixels; first += step) {
            uint64_t windows[BL_PANEL_WINDOW];
            bl_window at[BLOCK_PIXELS];
            int kind[BLOCK_PIXELS];
            intptr_t count = bl_min(step, pixels - first), cut = 0;
            const bl_xnor_result part = bl_result_from(result, first);
            for (intptr_t r = 0; r < count; r++) {
                at[r] = r ? bl_next_window(shape, at[r - 1]) : bl_window_of(shape, first);
                if (tabled)
                    kind[r] = bl_find_range(lines, line_kinds, at[r].lines) * place_kinds +
                              bl_find_range(places, place_kinds, at[r].columns);
                cut |= bl_count_inside(&at[r]) < t.taps;
                gather(shape, x, &at[r], 0, t.window, windows + r * t.window, NULL);
            }
            cut = cut && !shape->pad_value;
            if (b->recoded)
                b->blocks->recode_rows(windows, count, t.window, b->scratch);
            for (intptr_t j = from; j < to; j += columns) {
                for (intptr_t r = 0; r < (cut ? count : 1); r++) {
                    int border = bl_count_inside(&at[r]) < t.taps;
                    if (!border && !other[r])
                        continue;
                    /* Later columns of a group are no wider than its first ones, which have filled all that is read. */
                    if (tabled) /* no memcpy, of which GCC makes a slow instruction */
                        for (intptr_t c = 0; c < columns; c++)
                            bases[r][c] = table[kind[r] * group + (j - from) + c];
                    else
                        for (intptr_t c = j; c < bl_min(j + columns, k); c += BL_PANEL)
                            find_bases(&t, &at[r], b->panels + c * t.window, bl_panel_width(k - c), bases[r] + (c - j));
                    other[r] = border;
                }
                bl_multiply_panel(b, windows, count, j, bases[0], cut ? MOST_COLUMNS : 0, &part);
            }
        }
    }
}

void bl_xnor_conv2d_blocked(const bl_product_blocks *blocks, const uint64_t *x, const uint64_t *w, int w_panels,
                            const uint8_t *recoded, const bl_conv2d *shape, const int32_t *threshold, void *out,
                            int out_type, uint8_t *scratch)
{
    bl_xnor_result result = bl_result_of(0, threshold, out, out_type, shape->out_channels);
    intptr_t window = shape->kernel_height * shape->kernel_width * shape->words;
    bl_columns columns = {blocks, w, blocks->quads ? recoded : NULL, scratch, window};
    if (w_panels)
        multiply_panels(&columns, x, shape, &result);
    else
        multiply(blocks->words, x, w, shape, &result);
}
