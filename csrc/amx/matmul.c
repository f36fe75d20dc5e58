/* Products of packed matrices on the tile unit, from the panels that every variant takes. */
#include "engine.h"

#ifdef BL_TILES

/* Strips of columns whose terms are kept at a time. */
#define TERM_STRIPS 32

typedef struct {
    bl_product base;
    bl_bit_rows rows;
    bl_bit_columns columns;
    int64_t n;
    /* n less twice the set bits of a column, or those bits: of the strips that stay, and of the last that moved. */
    int32_t terms[TERM_STRIPS][BL_STRIP];
    intptr_t counted; /* the strip that moved last */
} matrix_product;

static void count_strips(bl_product *product, intptr_t from, intptr_t to)
{
    matrix_product *p = (matrix_product *)product;
    for (intptr_t j = from; j < to; j++) {
        int32_t *terms = p->terms[j % TERM_STRIPS];
        memset(terms, 0, sizeof p->terms[0]);
        bl_count_strip(&p->columns, j, 0, product->steps, terms);
        for (int c = 0; c < BL_STRIP && !product->result->mismatches; c++)
            terms[c] = (int32_t)((uint32_t)p->n - 2 * (uint32_t)terms[c]);
    }
}

static void find(bl_product *product, intptr_t row_strip, intptr_t column_strip, const int32_t *terms[BL_STRIP])
{
    matrix_product *p = (matrix_product *)product;
    if (!product->rows_move && p->counted != column_strip) {
        count_strips(product, column_strip, column_strip + 1);
        p->counted = column_strip;
    }
    (void)row_strip;
    for (int r = 0; r < BL_STRIP; r++)
        terms[r] = p->terms[column_strip % TERM_STRIPS];
}

/* Tiles take panels; what is recoded is for others, and needs scratch that the caller may not have given. */
void bl_xnor_matmul_amx(const uint64_t *a, const uint64_t *b, int b_panels, const uint8_t *recoded, intptr_t m,
                        intptr_t k, intptr_t words, int64_t n, int mismatches, const int32_t *threshold, void *out,
                        int out_type, uint8_t *scratch)
{
    (void)recoded;
    if (!b_panels || !bl_engine_is_ready()) {
        bl_xnor_matmul_avx512(a, b, b_panels, NULL, m, k, words, n, mismatches, threshold, out, out_type, scratch);
        return;
    }
    const bl_xnor_result result = bl_result_of(mismatches, threshold, out, out_type, k);
    matrix_product p = {.rows = bl_rows_of_bits(a, m, words),
                        .columns = bl_columns_of_panels(b, k, words),
                        .n = n,
                        .counted = -1};
    p.base = (bl_product){.rows = &p.rows.base,
                          .columns = &p.columns.base,
                          .result = &result,
                          .steps = words,
                          .most = TERM_STRIPS,
                          .rows_move = m >= k,
                          .find = find};
    /* The operand that stays is written to the second-level cache, which takes longer than the first. */
    if (p.base.rows_move)
        p.base.begin = count_strips;
    BL_TILES_CONFIGURE();
    bl_multiply_strips(&p.base);
    BL_TILES_RELEASE();
}

#endif
