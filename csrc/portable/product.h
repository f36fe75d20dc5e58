/* One block of rows of a product of gradients with bits, under way: gathered, multiplied, finished. Two drivers use it,
   that of the input's gradient and that of the weights'. */
#ifndef BL_PRODUCT_H
#define BL_PRODUCT_H

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
    _Alignas(64) char panel[2][BL_BLOCK_GROUPS * BL_PANEL_BYTES];
    _Alignas(64) int32_t sums[BL_BLOCK_WORDS * BL_BLOCK_ROWS * BL_COLUMNS];
} product;

/* m rows as one line of as many pixels. */
static inline bl_conv2d line_of(intptr_t m, intptr_t channels, int64_t n)
{
    return (bl_conv2d){.batch = 1, .height = 1, .width = m, .words = bl_words(n), .out_height = 1, .out_width = m,
                       .out_channels = channels, .kernel_height = 1, .kernel_width = 1, .stride_height = 1,
                       .stride_width = 1, .n = n};
}

static inline void start(product *p, const bl_gradient_types *types, const bl_gradient_result *result)
{
    p->result = result;
    p->type = result->g_type == BL_INT8 ? &types->int8 : result->g_type == BL_INT16 ? &types->int16 : &types->float32;
    p->size = result->g_type == BL_INT8 ? 1 : result->g_type == BL_INT16 ? 2 : 4;
    p->per_group = BL_GROUP_BYTES / p->size;
}

/* The rows of a block of `count` in all: as even as can be, for each block expands all bits again. */
static inline intptr_t block_rows(const product *p, intptr_t count, intptr_t terms)
{
    int longer = p->result->kind == BL_COMPARE && p->result->g_type == BL_INT16 && terms > INT16_TERMS;
    intptr_t most = longer ? LONG_ROWS : BL_BLOCK_ROWS;
    intptr_t blocks = (count + most - 1) / most;
    return blocks ? (count + blocks - 1) / blocks : 1;
}

static inline void clear(product *p, intptr_t rows, intptr_t words)
{
    p->rows = rows;
    p->words = words;
    p->terms = 0;
    p->before = NULL;
    p->filled = 0;
}

/* The first block that has all rows sets their sums; before another the sums are cleared. */
static inline int sets_sums(product *p, intptr_t rows)
{
    if (p->filled)
        return 0;
    p->filled = 1;
    if (rows < p->rows)
        memset(p->sums, 0, (size_t)(p->words * p->rows * BL_COLUMNS) * sizeof *p->sums);
    return rows == p->rows;
}

/* Fetch the lines of a row of the result, `words` words of columns from `word` on, that will be written: the rows lie far
   apart, so the processor has to be told early. */
static inline void fetch_row(const bl_gradient_result *result, intptr_t row, intptr_t word, intptr_t words)
{
    intptr_t size = result->kind == BL_COMPARE ? 0 : result->g_type == BL_INT16 ? 8 : 4, step = 64;
    if (result->kind == BL_STREAM) { /* a line that two words share is the only one that is not written whole */
        size = (uintptr_t)result->out % 64 ? size : 0;
        step = BL_COLUMNS * size;
    }
    uintptr_t far = (uintptr_t)result->out + (uintptr_t)((row * (intptr_t)result->n + BL_COLUMNS * word) * size);
    for (intptr_t line = 0; line < words * BL_COLUMNS * size; line += step)
        BL_PREFETCH_WRITE((void *)(far + (uintptr_t)line));
}

/* Hand on the sums to result, in row `base + r * stride` for row r of the block. */
static inline void finish(product *p, const bl_gradient_result *result, intptr_t base, intptr_t stride, intptr_t word)
{
    int shift = p->type->total != NULL;
    sets_sums(p, 0);
    for (intptr_t r = 0; r < p->rows; r++) {
        fetch_row(result, base + (r + ROWS_AHEAD) * stride, word, p->words);
        for (intptr_t w = 0; w < p->words; w++) {
            intptr_t at = (w * p->rows + r) * BL_COLUMNS;
            p->type->finish(result, base + r * stride, word + w, p->sums + at, shift, p->totals[r],
                            p->before ? p->before + at : NULL);
        }
    }
}

/* Make room for more int16 terms: add the sums to the result, or to int64 sums where the result is bits. */
static inline void make_room(product *p, bl_gradient_result *rest, intptr_t terms, intptr_t base, intptr_t stride,
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

/* Zeros behind `count` gathered words of each column, to the end of the last group. */
static inline void clear_past(product *p, intptr_t count, intptr_t groups)
{
    for (intptr_t w = 0; w < p->words; w++)
        for (intptr_t t = count; t < p->per_group * groups; t++)
            p->bits[w][t] = 0;
}

/* Add the products of a block's gradients with `count` gathered words of each column. */
static inline void multiply(product *p, intptr_t count, intptr_t groups)
{
    int set = sets_sums(p, p->at.count);
    clear_past(p, count, groups);
    for (intptr_t w = 0; w < p->words; w++) {
        int32_t *sums = p->sums + w * p->rows * BL_COLUMNS;
        const uint64_t *next = w + 1 < p->words ? p->bits[w + 1] : NULL;
        if (!p->type->product_expanding || w == 0)
            p->type->expand(p->bits[w], groups, p->panel[0]);
        if (p->type->product_expanding)
            p->type->product_expanding(&p->at, p->panel[w % 2], groups, sums, !set, next, p->panel[(w + 1) % 2]);
        else
            p->type->product(&p->at, p->panel[0], groups, sums, !set);
    }
}

/* So many rows are finished as soon as they are multiplied: a tile of the fastest variant. */
#define ROWS_AT_ONCE 6

/* The same for the last terms of rows, all of them listed in order; and hand on their sums. A few rows at a time are
   finished while the next ones are multiplied: the processor writes and multiplies at once. Twelve rows gained half as
   much, 24 nothing. */
static inline void multiply_and_finish(product *p, const bl_gradient_result *result, intptr_t count, intptr_t groups,
                                       intptr_t base, intptr_t word)
{
    const int set = sets_sums(p, p->rows), shift = p->type->total != NULL;
    bl_gradient_rows few;
    few.step = p->at.step;
    for (intptr_t r = 0; r < ROWS_AT_ONCE; r++)
        few.slot[r] = r;
    clear_past(p, count, groups);
    for (intptr_t w = 0; w < p->words; w++) {
        p->type->expand(p->bits[w], groups, p->panel[0]);
        for (intptr_t first = 0; first < p->rows; first += few.count) {
            int32_t *sums = p->sums + (set ? 0 : (w * p->rows + first) * BL_COLUMNS);
            few.count = bl_min(ROWS_AT_ONCE, p->rows - first);
            memcpy(few.at, p->at.at + first, (size_t)few.count * sizeof *few.at);
            for (intptr_t r = first; r < first + few.count; r++)
                fetch_row(result, base + r + ROWS_AT_ONCE, word + w, 1);
            p->type->product(&few, p->panel[0], groups, sums, !set);
            for (intptr_t r = 0; r < few.count; r++)
                p->type->finish(result, base + first + r, word + w, sums + BL_COLUMNS * r, shift, p->totals[first + r],
                                NULL);
        }
    }
}

/* Term t of each column. */
static inline void gather(product *p, intptr_t t, const uint64_t *from)
{
    for (intptr_t w = 0; w < p->words; w++)
        p->bits[w][t] = from[w];
}

#endif
