/* How the products are cut into blocks, so that a variant brings two or three short functions, not eleven kernels.

   A driver (bl_<kernel>_blocked, in portable/) walks over the shapes, gathers windows, looks after edges and
   padding and writes the results; a block does the arithmetic for BL_ROWS rows and up to 64 columns. The drivers
   are compiled once, for the baseline: they take a few percent of the time, since a block is hundreds of
   operations. */
#ifndef BL_BLOCKS_H
#define BL_BLOCKS_H

#include "variants.h"

#define BL_ROWS 4
#define BL_COLUMNS 64
/* The most terms of one gradient block. 256 * 128 = 32768: a sum of int8 terms where the bit is set stays within
   int16, for -32768 is reached and +32768 is not. A sum of int16 terms is below 2^23 * 2, far within int32. */
#define BL_TERMS 256

/* counts[r][c] += popcount((a[r] ^ b[c]) & valid[r]) over `words` words; column c is b + c * b_stride, c < columns.
   All four rows are readable; valid is NULL where every word counts. Columns up to the next multiple of 4 may be
   written, with anything. */
typedef void bl_xnor_block(const uint64_t *const a[BL_ROWS], const uint64_t *const valid[BL_ROWS], const uint64_t *b,
                           intptr_t b_stride, intptr_t columns, intptr_t words,
                           int32_t counts[BL_ROWS][BL_COLUMNS]);

/* The gradients of a block, widened to the type it sums in: int16 for int8, int32 for int16, float for float. */
typedef union {
    int16_t int8[BL_ROWS][BL_TERMS];
    int32_t int16[BL_ROWS][BL_TERMS];
    float float32[BL_ROWS][BL_TERMS];
} bl_terms;

typedef union {
    int64_t integer[BL_ROWS][BL_COLUMNS];
    float real[BL_ROWS][BL_COLUMNS];
} bl_sums;

/* sums[r][c] += sum over t < count of terms[r][t] * sign(bit c of bits[t * stride]), for all rows and columns. */
typedef void bl_gradient_block(const bl_terms *terms, const uint64_t *bits, intptr_t stride, intptr_t count,
                               bl_sums *sums);

/* The gradient blocks of a variant, one for each type of gradient. */
typedef struct {
    bl_gradient_block *int8, *int16, *float32;
} bl_gradient_blocks;

/* What becomes of the sums of bit products: dots of a type, mismatches (for hamming) of a type, or bits. */
enum { BL_DOTS, BL_MISMATCHES, BL_SIGNS };
typedef struct {
    int kind, out_type;
    const int32_t *threshold;
    void *out;
    intptr_t columns;
} bl_xnor_result;

/* Finish columns [column, column + width) of a row. The dot is base - 2 * count; base < 2^31. */
void bl_xnor_finish(const bl_xnor_result *result, intptr_t row, intptr_t column, intptr_t width, int32_t base,
                    const int32_t *counts);

/* Columns of a full panel. */
#define BL_PANEL 32

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

/* As bl_xnor_finish for the columns of a panel; the bits of a result are clear before. */
void bl_panel_finish(const bl_xnor_result *result, intptr_t row, intptr_t column, intptr_t width, const int32_t *base,
                     const int32_t counts[BL_PANEL]);

/* Columns of a panel of quads (avx512/quads.h). */
#define BL_QUAD_PANEL 64

/* Bytes of k columns, and of 8 rows, of so many words. */
static inline intptr_t bl_quads_of_columns(intptr_t k, intptr_t words)
{
    return (k + BL_QUAD_PANEL - 1) / BL_QUAD_PANEL * (words * 1024 + 64);
}
static inline intptr_t bl_quads_of_rows(intptr_t words) { return words * 256 + 64; }

/* So many bytes of recoded rows are passed by all panels before the next ones: they stay in the second-level cache. */
#define BL_QUADS_BLOCK (96 * 1024)

/* Rows that are recoded at a time: a multiple of 16. */
static inline intptr_t bl_quads_step(intptr_t words)
{
    return bl_max(16, BL_QUADS_BLOCK / bl_quads_of_rows(words) / 2 * 16);
}

/* What becomes of the sums of gradients. threshold has one entry a group of `rows_per_threshold` rows. */
enum { BL_STORE, BL_ADD, BL_COMPARE };
typedef struct {
    int kind, g_type;
    const void *threshold;
    intptr_t rows_per_threshold;
    const uint64_t *mask;
    void *out;
    int64_t n;
} bl_gradient_result;

/* Finish word column `word` of a row: its columns [64 * word, min(64 * word + 64, n)). `r` is its place in sums. */
void bl_gradient_finish(const bl_gradient_result *result, intptr_t row, intptr_t word, int r, const bl_sums *sums);

/* terms[r][to + t] = g[offset + t] for t < count; g may be NULL for zeros. */
void bl_load_terms(bl_terms *terms, int r, intptr_t to, const void *g, int g_type, intptr_t offset, intptr_t count);

BL_INLINE bl_gradient_block *bl_block_of(const bl_gradient_blocks *blocks, int g_type)
{
    return g_type == BL_INT8 ? blocks->int8 : g_type == BL_INT16 ? blocks->int16 : blocks->float32;
}

#define BL_DECLARE_XNOR_DRIVER(name, parameters, arguments)                                                            \
    void bl_##name##_blocked(bl_xnor_block *block, BL_UNWRAP parameters);
BL_XNOR_KERNELS(BL_DECLARE_XNOR_DRIVER)

#define BL_DECLARE_PANEL_DRIVER(name, parameters, arguments)                                                           \
    void bl_##name##_blocked(bl_panel_block *block, BL_UNWRAP parameters);
BL_PANEL_KERNELS(BL_DECLARE_PANEL_DRIVER)

#define BL_DECLARE_GRADIENT_DRIVER(name, parameters, arguments)                                                        \
    void bl_##name##_blocked(const bl_gradient_blocks *blocks, BL_UNWRAP parameters);
BL_GRADIENT_KERNELS(BL_DECLARE_GRADIENT_DRIVER)

#endif
