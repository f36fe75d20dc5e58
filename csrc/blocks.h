/* How the products are cut into blocks, so that a variant brings two or three short functions, not nine kernels.

   A driver (bl_<kernel>_blocked, in portable/) walks over the shapes, gathers windows, looks after edges and
   padding and writes the results; a block does the arithmetic for BL_ROWS rows and up to 64 columns. The drivers
   are compiled once, for the baseline: they take a few percent of the time, since a block is hundreds of
   operations. */
#ifndef BL_BLOCKS_H
#define BL_BLOCKS_H

#include "variants.h"

#define BL_ROWS 4
#define BL_COLUMNS 64

/* counts[r][c] += popcount((a[r] ^ b[c]) & valid[r]) over `words` words; column c is b + c * b_stride, c < columns.
   All four rows are readable; valid is NULL where every word counts. Columns up to the next multiple of 4 may be
   written, with anything. */
typedef void bl_xnor_block(const uint64_t *const a[BL_ROWS], const uint64_t *const valid[BL_ROWS], const uint64_t *b,
                           intptr_t b_stride, intptr_t columns, intptr_t words,
                           int32_t counts[BL_ROWS][BL_COLUMNS]);

/* What becomes of the sums of bit products: dots of a type, or bits; and mismatches of a type. */
enum { BL_AS_INT16, BL_AS_INT32, BL_AS_FLOAT32, BL_AS_BITS };
typedef struct {
    int form, mismatches;
    const int32_t *threshold;
    void *out;
    intptr_t columns;
} bl_xnor_result;

/* The result of a kernel, as its arguments say. */
static inline bl_xnor_result bl_result_of(int mismatches, const int32_t *threshold, void *out, int out_type,
                                          intptr_t columns)
{
    int form = out_type == BL_INT16 ? BL_AS_INT16
               : out_type == BL_INT32 ? BL_AS_INT32
               : out_type == BL_UINT64 ? BL_AS_BITS
                                       : BL_AS_FLOAT32;
    return (bl_xnor_result){form, mismatches, threshold, out, columns};
}

/* The same from a row on. */
static inline bl_xnor_result bl_result_from(const bl_xnor_result *result, intptr_t row)
{
    bl_xnor_result part = *result;
    intptr_t bytes = result->form == BL_AS_BITS ? 8 * bl_words(result->columns)
                                                : result->columns * (result->form == BL_AS_INT16 ? 2 : 4);
    part.out = (char *)result->out + row * bytes;
    return part;
}

/* Finish columns [column, column + width) of a row, 64 at most. The dot of each is its base - 2 * count; bits are added to
   those that are there, so they are clear before. */
void bl_xnor_finish(const bl_xnor_result *result, intptr_t row, intptr_t column, intptr_t width, const int32_t *base,
                    const int32_t *counts);

/* Columns of a full panel. */
#define BL_PANEL 32

/* The columns that the first panel of so many stores: rounded up to 8. */
static inline intptr_t bl_panel_width(intptr_t columns) { return (bl_min(BL_PANEL, columns) + 7) / 8 * 8; }

/* counts[c] = set bits of column c in words [from, to) of a panel that stores `stride` columns. */
void bl_count_panel(const uint64_t *panel, intptr_t stride, intptr_t from, intptr_t to, int32_t counts[BL_PANEL]);

/* Products of m rows of a with the columns [column, column + width) in one panel, finished: the dot of row i and column
   c is bases[i * bases_stride + c - column] - 2 * count. bases_stride is 0 where all rows have the same. */
typedef void bl_panel_block(const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words, intptr_t column,
                            intptr_t width, const int32_t *bases, intptr_t bases_stride,
                            const bl_xnor_result *result);

/* counts[r * BL_PANEL + c] = differing bits of row r and column c, for eight columns of a panel, whose next word is
   `stride` further on. All four rows are readable. */
typedef void bl_panel_tile(const uint64_t *const a[BL_ROWS], const uint64_t *panel, intptr_t stride, intptr_t words,
                           int32_t *counts);

/* A bl_panel_block made of tiles. */
void bl_panel_block_of_tiles(bl_panel_tile *tile, const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words,
                             intptr_t column, intptr_t width, const int32_t *bases, intptr_t bases_stride,
                             const bl_xnor_result *result);

/* Columns of a panel of quads (avx512/quads.h). */
#define BL_QUAD_PANEL 64

/* The same on rows and columns that a variant has recoded; bases are 64 a row, or 64 in all. */
typedef void bl_quad_block(const uint8_t *rows, const uint8_t *columns, intptr_t m, intptr_t words, intptr_t column,
                           intptr_t width, const int32_t *bases, intptr_t bases_stride, const bl_xnor_result *result);

/* out[i] = differing bits of a and row i of b, of out_type BL_INT16 or BL_INT32. */
typedef void bl_differing_rows(const uint64_t *a, const uint64_t *b, intptr_t rows, intptr_t words, int out_type,
                               void *out);
/* That of all variants for x86-64 (avx2/rows.c). */
bl_differing_rows bl_differing_rows_avx2;

/* What a variant has for products of bits: on words as they lie, on panels, and on recoded ones or NULL; and for one row
   with many, or NULL where words as they lie are as fast. */
typedef struct {
    bl_xnor_block *words;
    bl_panel_block *panel;
    bl_quad_block *quads;
    void (*recode_rows)(const uint64_t *a, intptr_t m, intptr_t words, uint8_t *out);
    bl_differing_rows *rows;
} bl_product_blocks;

/* Bytes of k columns, and of 8 rows, of so many words. */
static inline intptr_t bl_quads_of_columns(intptr_t k, intptr_t words)
{
    return (k + BL_QUAD_PANEL - 1) / BL_QUAD_PANEL * (words * 1024 + 64);
}
static inline intptr_t bl_quads_of_rows(intptr_t words) { return words * 256 + 64; }

/* So many bytes of recoded rows are passed by all panels before the next ones: they stay in the second-level cache. */
#define BL_QUADS_BLOCK (96 * 1024)

/* Rows of integers of so many planes (1 for rows of bits) that are recoded at a time: a multiple of 16. */
static inline intptr_t bl_quads_step(int bits, intptr_t words)
{
    return bl_max(16, BL_QUADS_BLOCK / (bits * bl_quads_of_rows(words)) / 2 * 16);
}

/* The right operand of a product: columns in panels, or recoded, with room for rows that are. */
typedef struct {
    const bl_product_blocks *blocks;
    const uint64_t *panels;
    const uint8_t *recoded;
    uint8_t *scratch;
    intptr_t words;
} bl_columns;

static inline intptr_t bl_columns_at_once(const bl_columns *b) { return b->recoded ? BL_QUAD_PANEL : BL_PANEL; }

/* Multiply m rows, or those that are recoded in the scratch, with the columns of the panel that begins with `column`. */
static inline void bl_multiply_panel(const bl_columns *b, const uint64_t *rows, intptr_t m, intptr_t column,
                                     const int32_t *bases, intptr_t bases_stride, const bl_xnor_result *result)
{
    const intptr_t width = bl_min(bl_columns_at_once(b), result->columns - column);
    if (b->recoded)
        b->blocks->quads(b->scratch, b->recoded + bl_quads_of_columns(column, b->words), m, b->words, column, width,
                         bases, bases_stride, result);
    else
        b->blocks->panel(rows, b->panels + column * b->words, m, b->words, column, width, bases, bases_stride, result);
}

/* Multiply m rows with all columns, one base for all dots. */
void bl_multiply_panels(bl_columns b, const uint64_t *a, intptr_t m, int32_t base, const bl_xnor_result *result);

/* Products of gradients with bits. A group is four bytes of a gradient, 4 int8, 2 int16 or 1 float32 terms; a block is
   at most BL_BLOCK_ROWS rows by BL_BLOCK_GROUPS groups by BL_BLOCK_WORDS words of bits. The bits of a word and a block
   are expanded once to a panel, which every row of the block reads: 256 bytes a group, 16 KiB, half of a small first
   cache. The sums (128 KiB) stay in the second. With the gradients gathered (32 KiB) a product takes about 206 KiB of
   stack; two words in the place of four, 136 KiB, cost 4 percent at 1024 cubed. */
#define BL_BLOCK_ROWS 128
#define BL_BLOCK_GROUPS 64
#define BL_BLOCK_WORDS 4
#define BL_GROUP_BYTES 4
#define BL_PANEL_BYTES 256

/* The rows of a block: group g of row r is at at[r] + g * step; its sums are those of row slot[r]. */
typedef struct {
    const char *at[BL_BLOCK_ROWS];
    intptr_t slot[BL_BLOCK_ROWS];
    intptr_t count, step;
} bl_gradient_rows;

/* What becomes of the sums of gradients. BL_STREAM is BL_STORE of a result that no cache holds: a variant that has stores
   past the caches may use them, for whole lines are written, and would be read for nothing first. threshold has one entry
   a group of `rows_per_threshold` rows. */
enum { BL_STORE, BL_ADD, BL_COMPARE, BL_STREAM };
typedef struct {
    int kind, g_type;
    const void *threshold;
    intptr_t rows_per_threshold;
    const uint64_t *mask;
    void *out;
    int64_t n;
} bl_gradient_result;

/* Finish word column `word` of a row, its columns [64 * word, min(64 * word + 64, n)), from 64 sums: the result is
   sums << shift minus total, plus `before` where that is not NULL (int16 compared alone). */
typedef void bl_gradient_finish_row(const bl_gradient_result *result, intptr_t row, intptr_t word, const void *sums,
                                    int shift, int32_t total, const int64_t *before);
bl_gradient_finish_row bl_gradient_finish;

/* What a variant does for one type of gradient. int32 sums of integers, float sums of floats. */
typedef struct {
    /* The panel of groups * (terms a group) words, in the variant's own order. */
    void (*expand)(const uint64_t *bits, intptr_t groups, void *panel);

    /* Lay `count` rows out from terms[t], the gradients of all of them at term t, all readable: fill in `at` and `step`
       of rows, with what they point to in `out` (BL_BLOCK_ROWS * BL_BLOCK_GROUPS * BL_GROUP_BYTES bytes). Where totals
       are kept, totals[r] += the sum of row r. */
    void (*interleave)(const char *const *terms, intptr_t groups, intptr_t count, void *out, bl_gradient_rows *rows,
                       int32_t *totals);

    /* Where the panel holds 1 and 0, not +1 and -1: totals[slot[r]] += the sum of row r, whose groups lie side by side.
       The result is then 2 * sum - total. NULL where it is the sum. */
    void (*total)(const bl_gradient_rows *rows, intptr_t groups, int32_t *totals);

    /* sums[64 * slot[r] + c] = or += (where `add`) the sum over the groups (one or more) of row r with column c of the
       panel. */
    void (*product)(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums, int add);

    bl_gradient_finish_row *finish;

    /* As product; and expand the groups of `next`, the next panel's bits, to next_panel, between the products. NULL where
       that is no faster than one after the other; `next` is NULL where there is no next panel. */
    void (*product_expanding)(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums, int add,
                              const uint64_t *next, void *next_panel);
} bl_gradient_type;

/* The types of a variant. */
typedef struct {
    bl_gradient_type int8, int16, float32;
} bl_gradient_types;

/* The interleave of a variant that keeps no totals, with the rows in their order. */
void bl_interleave_int8(const char *const *terms, intptr_t groups, intptr_t count, void *out, bl_gradient_rows *rows,
                        int32_t *totals);
void bl_interleave_int16(const char *const *terms, intptr_t groups, intptr_t count, void *out, bl_gradient_rows *rows,
                         int32_t *totals);
void bl_interleave_float32(const char *const *terms, intptr_t groups, intptr_t count, void *out,
                           bl_gradient_rows *rows, int32_t *totals);

#define BL_DECLARE_XNOR_DRIVER(name, parameters, arguments)                                                            \
    void bl_##name##_blocked(const bl_product_blocks *blocks, BL_UNWRAP parameters);
BL_XNOR_KERNELS(BL_DECLARE_XNOR_DRIVER)

#define BL_DECLARE_GRADIENT_DRIVER(name, parameters, arguments)                                                        \
    void bl_##name##_blocked(const bl_gradient_types *types, BL_UNWRAP parameters);
BL_GRADIENT_KERNELS(BL_DECLARE_GRADIENT_DRIVER)

#endif
