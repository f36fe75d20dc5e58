/* Sums of gradients times bits by tables in registers. A term is +g or -g, so no product is needed:
       sum of +-g = 2 * (sum of the g whose bit is set) - sum of all g.
   A register holds the subset sums of a few terms of a row, and a permutation looks up as many columns as it has lanes, each
   by its bits of these terms: vpermw five terms of int8 in 32 columns, vpermb six terms of -7 to 7 in 64. A look-up and an
   addition are 160 or 384 multiply-adds, where two dot instructions are 128. Values of 16 bits are two planes of bytes,
   256 * high + low, of which the second has no sign; both are looked up by one index.

   A type says how wide its tables are; two drivers (table_products.h) walk over the shapes. A tile is `rows` rows by 128
   columns. Tables lie as [group of terms][row of the tile], indices as [group][columns]. */
#ifndef BL_TABLES_H
#define BL_TABLES_H

#include "../scratch.h"
#include "avx512.h"

/* Words of columns of a tile, and the most rows that one has. */
#define BL_TABLE_WORDS 2
#define BL_TABLE_ROWS 6

typedef struct {
    /* Terms of a table; tables that are taken at a time; rows of a tile; terms that a tile may have. */
    int terms, step, rows, most;
    /* Bytes of the index of a group, and of the sums of a row of a plane, for 64 columns. */
    int index_bytes, sum_bytes;
    /* What a look-up has too much, and the largest that may be among a tile's sums and all that are added to them: of `terms`
       terms and `groups` groups it is largest_term * terms + offset * groups. */
    int offset, largest_term;
    int32_t largest;

    /* The tables of the rows of a tile, `count` terms each: whole steps, and up to 7 groups more are written.
       totals[r] = the sum of row r. */
    void (*tables)(const int8_t *const *rows, intptr_t count, void *out, int32_t *totals);

    /* The index of 64 columns from their bits of each term, words behind the last one 0; a group's is `stride` bytes behind
       that of the one before. */
    void (*index)(const uint64_t *bits, intptr_t groups, intptr_t stride, char *out);

    /* sums[2 r] and sums[2 r + 1] = or += (where `add`) those of row r in the first and the other 64 columns. */
    void (*tile)(const void *tables, intptr_t groups, const void *index, char *const *sums, int add);

    /* The sums of 64 columns as int32; NULL where they are. */
    void (*widen)(const char *sums, int32_t *out);
} bl_table_type;

/* Of -7 to 7, of int8, and of bytes without a sign, whose tables are as large as those of int8. */
extern const bl_table_type bl_tables_of_4, bl_tables_of_8, bl_tables_of_low;

static inline intptr_t bl_table_groups(const bl_table_type *type, intptr_t terms)
{
    const intptr_t at_once = type->terms * type->step;
    return (terms + at_once - 1) / at_once * type->step;
}

/* What the kernels of the variant do where tables are faster; 0 where they are not, and nothing was done. */
#define BL_DECLARE_TABLES(name, parameters, arguments) int bl_##name##_tables parameters;
BL_GRADIENT_KERNELS(BL_DECLARE_TABLES)

#ifdef BL_X86_64
#define BL_TARGET_TABLES BL_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni,gfni")
#endif

#endif
