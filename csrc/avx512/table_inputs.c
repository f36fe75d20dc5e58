/* The gradient of the input on tables. */
#include "table_products.h"

#ifdef BL_X86_64

/* The terms of a row that is split into planes, and what is written behind them. */
#define PLANE_TERMS (256 + 64)

typedef struct {
    const bl_table_type *type;
    const bl_conv2d *shape;
    /* Terms of this pass, from `from` on; words of this chunk of columns, from `word` on; pixels of a line of sums, and how
       many lines there are. */
    intptr_t taps, from, terms, groups, word, words, line, lines;
    /* Bytes of a value: its planes. The tables and the sums of a second one are in the second half. */
    int bytes;
    _Alignas(64) char index[INDEX_BYTES];
    _Alignas(64) char tables[TABLES_BYTES];
    _Alignas(64) char sums[SUMS_BYTES];
    _Alignas(64) char spare[BL_TABLE_ROWS * 256];
    int8_t planes[2][BL_TABLE_ROWS][PLANE_TERMS];
    int32_t totals[MOST_PIXELS][2];
    uint64_t bits[MOST_TERMS + 32];
} input_product;

_Static_assert(sizeof(input_product) <= BL_TABLES_SCRATCH, "as much as kernels.h says");

/* The columns of all taps, word by word. */
BL_TARGET_TABLES static void index_kernels(input_product *p, const uint64_t *w)
{
    const intptr_t words = p->shape->words;
    for (intptr_t tap = 0; tap < p->taps; tap++)
        for (intptr_t word = 0; word < p->words; word++) {
            for (intptr_t t = 0; t < p->terms; t++)
                p->bits[t] = w[((p->from + t) * p->taps + tap) * words + p->word + word];
            make_index(p->type, p->bits, p->terms, tap * p->words + word, p->index);
        }
}

/* A pixel of a gradient: its row and column, and the line of sums on which its first tap falls. */
typedef struct {
    intptr_t row, column, line;
} place;

static place next_place(const input_product *p, place at)
{
    if (++at.column < p->shape->out_width)
        return at;
    at.line += p->shape->stride_height;
    while (at.line >= p->lines)
        at.line -= p->lines;
    return (place){at.row + 1, 0, at.line};
}

/* Row r of a tile, whose values are at g, plane by plane; zeros where there is none. */
static void take_row(input_product *p, const char *g, intptr_t r, const int8_t *rows[2][BL_TABLE_ROWS])
{
    if (p->bytes == 2 && g)
        split_planes((const int16_t *)(const void *)g, p->terms, p->planes[0][r], p->planes[1][r]);
    for (int plane = 0; plane < p->bytes; plane++)
        rows[plane][r] = !g ? zeros : p->bytes == 2 ? p->planes[plane][r] : (const int8_t *)g;
}

/* Add what the pixels from `at` on, whose gradients begin at g, give to the sums around them: a tile of them. Returns the
   place behind them. */
static place add_pixels(input_product *p, const char *g, place at)
{
    const bl_table_type *type = p->type;
    const bl_conv2d *shape = p->shape;
    const intptr_t stride = p->words * type->sum_bytes, all = p->taps * p->words;
    const int8_t *rows[2][BL_TABLE_ROWS];
    int32_t totals[2][BL_TABLE_ROWS];
    place places[BL_TABLE_ROWS];
    /* Where the sums of a tap are, NULL outside the image. */
    char *to[MOST_TAPS][BL_TABLE_ROWS];
    for (intptr_t r = 0; r < type->rows; r++, at = next_place(p, at)) {
        const int there = at.row < shape->out_height;
        take_row(p, there ? g + (r * shape->out_channels + p->from) * p->bytes : NULL, r, rows);
        places[r] = at;
    }
    for (int plane = 0; plane < p->bytes; plane++)
        tables_of_plane(type, plane)
            ->tables(rows[plane], p->terms, p->tables + plane * (TABLES_BYTES / 2), totals[plane]);
    for (intptr_t r = 0; r < type->rows; r++) {
        const int32_t offset = 2 * type->offset * (int32_t)p->groups;
        intptr_t line = places[r].line, y = places[r].row * shape->stride_height - shape->padding_top, tap = 0;
        for (intptr_t i = 0; i < shape->kernel_height; i++, y++, line = line + 1 < p->lines ? line + 1 : 0) {
            const int inside = places[r].row < shape->out_height && y >= 0 && y < shape->height;
            const intptr_t first = line * p->line + places[r].column * shape->stride_width;
            for (intptr_t j = 0; j < shape->kernel_width; j++, tap++) {
                to[tap][r] = inside ? p->sums + (first + j) * stride : NULL;
                for (int plane = 0; plane < p->bytes && inside; plane++)
                    p->totals[first + j][plane] += totals[plane][r] + offset;
            }
        }
    }
    for (intptr_t v = 0, tap = 0, word = 0; v < all; v += BL_TABLE_WORDS) {
        char *sums[2][BL_TABLE_WORDS * BL_TABLE_ROWS];
        for (intptr_t h = 0; h < BL_TABLE_WORDS; h++) {
            for (intptr_t r = 0; r < type->rows; r++) {
                char *here = tap < p->taps && to[tap][r] ? to[tap][r] + word * type->sum_bytes : NULL;
                for (int plane = 0; plane < p->bytes; plane++)
                    sums[plane][BL_TABLE_WORDS * r + h] =
                        here ? here + plane * (SUMS_BYTES / 2) : p->spare + r * type->sum_bytes;
            }
            if (++word == p->words) {
                word = 0;
                tap++;
            }
        }
        for (int plane = 0; plane < p->bytes; plane++)
            tables_of_plane(type, plane)->tile(p->tables + plane * (TABLES_BYTES / 2), p->groups,
                                               p->index + v * p->groups * type->index_bytes, sums[plane], p->taps > 1);
    }
    return at;
}

/* Hand on the sums of line y, which is row `first` of the result and following, and clear it. */
static void finish_line(input_product *p, const bl_gradient_result *result, intptr_t first, intptr_t y)
{
    const intptr_t stride = p->words * p->type->sum_bytes, line = y % p->lines * p->line;
    for (intptr_t x = 0; x < p->shape->width; x++) {
        const intptr_t at = line + x + p->shape->padding_left;
        const char *sums = p->sums + at * stride;
        if (p->bytes == 2)
            finish_planes(result, first + x, p->word, p->words, sums, sums + SUMS_BYTES / 2, p->totals[at]);
        else
            finish_row(p->type, result, first + x, p->word, p->words, sums, p->totals[at][0]);
    }
    memset(p->totals + line, 0, (size_t)p->line * sizeof *p->totals);
    /* Where there is but one tap a sum is written, not added to; but it may see only some of the pixels. */
    if (p->taps > 1 || p->shape->width != p->shape->out_width || p->shape->height != p->shape->out_height)
        for (int plane = 0; plane < p->bytes; plane++)
            memset(p->sums + plane * (SUMS_BYTES / 2) + line * stride, 0, (size_t)(p->line * stride));
}

/* Find out of how many terms and words of columns there is room for sums at a time; 0 where of none. */
static int plan_input(input_product *p, intptr_t *terms, intptr_t *words)
{
    const bl_table_type *type = p->type;
    const bl_conv2d *shape = p->shape;
    p->taps = shape->kernel_height * shape->kernel_width;
    p->line = (shape->out_width - 1) * shape->stride_width + shape->kernel_width;
    p->line = bl_max(p->line, shape->width + shape->padding_left);
    /* A tile may begin on one line and end on another. */
    p->lines = shape->kernel_height;
    if (shape->out_width % type->rows)
        p->lines += (type->rows + shape->out_width - 2) / shape->out_width * shape->stride_height;
    if (p->taps > MOST_TAPS || p->line * p->lines > MOST_PIXELS || shape->padding_top > p->lines)
        return 0;
    if (p->bytes == 2 && !fits_int32(p->taps * shape->out_channels))
        return 0;
    for (intptr_t parts = 1;; parts++) {
        *terms = (shape->out_channels + parts - 1) / parts;
        const intptr_t groups = bl_table_groups(type, *terms);
        if (*terms > type->most || p->taps * largest_sum(type, groups, *terms) > type->largest)
            continue;
        /* The index of the last words is that of a pair. */
        *words = bl_min((INDEX_BYTES / (groups * type->index_bytes) - 1) / p->taps,
                        SUMS_BYTES / p->bytes / (p->line * p->lines * type->sum_bytes));
        if (*words > 0 || *terms < 64)
            break;
    }
    if (*words > 1)
        *words = bl_min(*words / BL_TABLE_WORDS * BL_TABLE_WORDS, shape->words);
    return *words > 0;
}

static int multiply_input(const bl_table_type *type, const char *g, int g_type, const uint64_t *w,
                          const bl_conv2d *shape, void *out, int kind)
{
    input_product *p = bl_scratch(sizeof *p);
    if (!p)
        return 0;
    intptr_t terms, words;
    p->type = type;
    p->shape = shape;
    p->bytes = bytes_of(g_type);
    if (!plan_input(p, &terms, &words))
        return 0;
    const intptr_t pixels = shape->out_height * shape->out_width;
    bl_gradient_result result = {.kind = kind, .g_type = g_type, .out = out, .n = shape->n};
    if (terms < shape->out_channels && kind == BL_STREAM)
        result.kind = BL_STORE;
    for (int plane = 0; plane < p->bytes; plane++)
        memset(p->sums + plane * (SUMS_BYTES / 2), 0, (size_t)(p->line * p->lines * words * type->sum_bytes));
    memset(p->totals, 0, sizeof p->totals);
    for (p->from = 0; p->from < shape->out_channels; p->from += terms, result.kind = BL_ADD) {
        p->terms = bl_min(terms, shape->out_channels - p->from);
        p->groups = bl_table_groups(type, p->terms);
        for (p->word = 0; p->word < shape->words; p->word += words) {
            p->words = bl_min(words, shape->words - p->word);
            index_kernels(p, w);
            for (intptr_t image = 0; image < shape->batch; image++) {
                place at = {.line = p->lines - shape->padding_top};
                if (at.line == p->lines)
                    at.line = 0;
                for (intptr_t done = 0, y = 0; done < pixels; done += type->rows) {
                    at = add_pixels(p, g + (image * pixels + done) * shape->out_channels * p->bytes, at);
                    const intptr_t whole = at.row * shape->stride_height - shape->padding_top;
                    for (; y < (at.row < shape->out_height ? bl_min(whole, shape->height) : shape->height); y++)
                        finish_line(p, &result, (image * shape->height + y) * shape->width, y);
                }
            }
        }
    }
    return 1;
}

/* From so many bytes on a result is taken to be in no cache when it is read. */
#define STREAM_BYTES (32.0 * 1024 * 1024)

static int kind_for(double sums) { return sums * sizeof(int32_t) < STREAM_BYTES ? BL_STORE : BL_STREAM; }

int bl_conv2d_grad_input_tables(const void *g, int g_type, const uint64_t *w, const bl_conv2d *shape, void *out)
{
    const intptr_t taps = shape->kernel_height * shape->kernel_width, channels = shape->out_channels;
    const intptr_t positions = shape->batch * shape->out_height * shape->out_width;
    const int bytes = bytes_of(g_type);
    if (!bytes || !is_large(bytes, taps, positions, channels, shape->n))
        return 0;
    const int kind = kind_for((double)shape->batch * (double)(shape->height * shape->width) * (double)shape->n);
    const bl_table_type *type = tables_for(g, bytes, positions, channels, channels);
    const int done = multiply_input(type, g, g_type, w, shape, out, kind);
    if (done && kind == BL_STREAM)
        BL_STORES_DONE();
    return done;
}

/* A matrix is images of one line, and of one tap. */
int bl_grad_input_tables(const void *g, int g_type, const uint64_t *w, intptr_t m, intptr_t k, int64_t n, void *out)
{
    const int bytes = bytes_of(g_type);
    if (!bytes || !is_large(bytes, 1, m, k, n))
        return 0;
    const bl_table_type *type = tables_for(g, bytes, m, k, k);
    const intptr_t whole = m / LINE_ROWS, rest = m % LINE_ROWS;
    const int kind = kind_for((double)m * (double)n);
    bl_conv2d shape = line_of(LINE_ROWS, k, n);
    shape.batch = whole;
    if (whole && !multiply_input(type, g, g_type, w, &shape, out, kind))
        return 0;
    shape = line_of(rest, k, n);
    /* Sums are int32, or int64 of values of 16 bits. */
    if (rest && !multiply_input(type, (const char *)g + whole * LINE_ROWS * k * bytes, g_type, w, &shape,
                                (char *)out + whole * LINE_ROWS * (intptr_t)n * 4 * bytes, kind))
        return 0;
    if (kind == BL_STREAM)
        BL_STORES_DONE();
    return 1;
}

#endif
