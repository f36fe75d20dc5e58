/* Products of operands in strips of 32 rows or columns. A step is 64 values of a strip, expanded to bytes as two tiles
   one after the other: of rows a line of 64 values each, of columns 16 lines of 4 values of 16 columns.

   One operand stays: so many of its strips as fit a part of the second-level cache are expanded whole, during the
   products with the first strip that moves past them. The other moves: each of its strips is expanded a chunk at a
   time, small enough for the first-level cache, during the products with the first strip that stays. So nothing is
   expanded in a pass of its own, whose stores would wait for the second-level cache while the tiles wait for them. */
#ifndef BL_ENGINE_H
#define BL_ENGINE_H

#include "amx.h"

#ifdef BL_TILES

#define BL_STRIP (2 * BL_TILE_ROWS)
#define BL_STEP_BYTES (2 * BL_TILE_ROWS * BL_TILE_BYTES)

typedef struct bl_operand bl_operand;
struct bl_operand {
    intptr_t count; /* rows or columns */
    /* Make ready a strip that moves; NULL where nothing is to be done. */
    void (*open)(bl_operand *operand, intptr_t strip);
    /* Expand a step of a strip; rows or columns past the last are anything that is readable. */
    void (*expand)(const bl_operand *operand, intptr_t strip, intptr_t step, char *to);
};

/* Sums of two strips that are not yet written: they are, some rows after each step of the next product, since at its
   end a product waits for its tiles. */
typedef struct {
    intptr_t row, rows, done, column;
    const int32_t *terms[BL_STRIP];
    const int32_t *sums;
} bl_pending;

typedef struct bl_product bl_product;
struct bl_product {
    bl_operand *rows, *columns;
    const bl_xnor_result *result;
    intptr_t steps;
    int rows_move;
    intptr_t most; /* strips that stay at a time, at most */
    /* Column strips [from, to) are next, NULL where nobody needs to know; only where rows move. */
    void (*begin)(bl_product *product, intptr_t from, intptr_t to);
    /* The terms of the rows of two strips, as bl_finish_strip takes them; they are read during the next product too. */
    void (*find)(bl_product *product, intptr_t row_strip, intptr_t column_strip, const int32_t *terms[BL_STRIP]);
    bl_pending pending;
};

/* Whether this thread has the scratch of these products: it is allocated at the first look, and freed with the thread. */
int bl_engine_is_ready(void);

/* With the tiles configured, where the engine is ready. */
void bl_multiply_strips(bl_product *product);

static inline intptr_t bl_strips(intptr_t count) { return (count + BL_STRIP - 1) / BL_STRIP; }

/* Rows of bits, as bytes 1 and 0. */
typedef struct {
    bl_operand base;
    const uint64_t *bits;
    intptr_t words;
} bl_bit_rows;
bl_bit_rows bl_rows_of_bits(const uint64_t *bits, intptr_t count, intptr_t words);

/* Column panels, as bytes +1 and -1. With rows of 1 and 0 a product is twice the sum less the sum of the column's
   values; with +1 and -1 on both sides bits past the last value would count, and the tiles would take more power. */
typedef struct {
    bl_operand base;
    const uint64_t *panels;
    intptr_t words;
} bl_bit_columns;
bl_bit_columns bl_columns_of_panels(const uint64_t *panels, intptr_t count, intptr_t words);

/* counts[c] += set bits of column c of a strip in words [from, to). */
void bl_count_strip(const bl_bit_columns *columns, intptr_t strip, intptr_t from, intptr_t to,
                    int32_t counts[BL_STRIP]);

/* Write the dots terms[r] + 2 * sums, their bits, or the mismatches terms[r] - sums, of `rows` rows from `row` on: in
   the columns of a strip, those that the result has. The first column is a multiple of 32. */
void bl_finish_strip(const bl_xnor_result *result, intptr_t row, intptr_t rows, intptr_t column,
                     const int32_t *const *terms, const int32_t *sums);

#endif
#endif
