/* Products of bits with bits: the driver of matrix products, and the results of all. */
#include "portable.h"

void bl_xnor_finish(const bl_xnor_result *result, intptr_t row, intptr_t column, intptr_t width, const int32_t *base,
                    const int32_t *counts)
{
    int32_t values[BL_COLUMNS];
    const intptr_t at = row * result->columns + column;
    for (intptr_t c = 0; c < width; c++)
        values[c] = result->mismatches ? counts[c] : base[c] - counts[c] - counts[c];
    switch (result->form) {
    case BL_AS_INT16:
        for (intptr_t c = 0; c < width; c++)
            ((int16_t *)result->out)[at + c] = (int16_t)values[c];
        break;
    case BL_AS_INT32:
        memcpy((int32_t *)result->out + at, values, (size_t)width * sizeof *values);
        break;
    case BL_AS_FLOAT32:
        for (intptr_t c = 0; c < width; c++)
            ((float *)result->out)[at + c] = (float)values[c];
        break;
    default: {
        uint8_t flags[BL_COLUMNS] = {0};
        for (intptr_t c = 0; c < width; c++)
            flags[c] = values[c] >= result->threshold[column + c];
        /* A panel is half a word: the second half comes behind the first. */
        uint64_t *word = (uint64_t *)result->out + row * bl_words(result->columns) + column / 64;
        uint64_t bits = bl_pack_flags(flags, 32);
        if (width > 32)
            bits |= bl_pack_flags(flags + 32, 32) << 32;
        *word = (column % 64 ? *word : 0) | bits << (column % 64);
    }
    }
}

/* The columns of b are the outer loop: 64 of them stay in the cache while all rows of a pass by. */
static void multiply(bl_xnor_block *block, const uint64_t *a, const uint64_t *b, intptr_t m, intptr_t words,
                     int32_t base, const bl_xnor_result *result)
{
    int32_t bases[BL_COLUMNS];
    for (intptr_t c = 0; c < bl_min(BL_COLUMNS, result->columns); c++)
        bases[c] = base;
    for (intptr_t j = 0; j < result->columns; j += BL_COLUMNS) {
        intptr_t width = bl_min(BL_COLUMNS, result->columns - j);
        for (intptr_t i = 0; i < m; i += BL_ROWS) {
            int32_t counts[BL_ROWS][BL_COLUMNS] = {{0}};
            const uint64_t *rows[BL_ROWS];
            /* Past the last row the last one is computed again, which is cheaper than a block of another height. */
            for (int r = 0; r < BL_ROWS; r++)
                rows[r] = a + bl_min(i + r, m - 1) * words;
            block(rows, NULL, b + j * words, words, width, words, counts);
            for (int r = 0; r < BL_ROWS && i + r < m; r++)
                bl_xnor_finish(result, i + r, j, width, bases, counts[r]);
        }
    }
}

void bl_xnor_matmul_blocked(const bl_product_blocks *blocks, const uint64_t *a, const uint64_t *b, int b_panels,
                            const uint8_t *recoded, intptr_t m, intptr_t k, intptr_t words, int64_t n, int mismatches,
                            const int32_t *threshold, void *out, int out_type, uint8_t *scratch)
{
    bl_xnor_result result = bl_result_of(mismatches, threshold, out, out_type, k);
    bl_columns columns = {blocks, b, blocks->quads ? recoded : NULL, scratch, words};
    if (b_panels)
        bl_multiply_panels(columns, a, m, (int32_t)n, &result);
    else
        multiply(blocks->words, a, b, m, words, (int32_t)n, &result);
}
