/* Products of bits with bits: the portable block, the drivers of the matrix products, and the results of all. */
#include "portable.h"

/* Write dots or mismatches in the type of the result. */
static void store(const bl_xnor_result *result, intptr_t at, intptr_t width, const int32_t *values)
{
    if (result->out_type == BL_INT16)
        for (intptr_t c = 0; c < width; c++)
            ((int16_t *)result->out)[at + c] = (int16_t)values[c];
    else if (result->out_type == BL_INT32)
        memcpy((int32_t *)result->out + at, values, (size_t)width * sizeof *values);
    else
        for (intptr_t c = 0; c < width; c++)
            ((float *)result->out)[at + c] = (float)values[c];
}

void bl_xnor_finish(const bl_xnor_result *result, intptr_t row, intptr_t column, intptr_t width, int32_t base,
                    const int32_t *counts)
{
    int32_t values[BL_COLUMNS];
    intptr_t at = row * result->columns + column;
    for (intptr_t c = 0; c < width; c++)
        values[c] = result->kind == BL_MISMATCHES ? counts[c] : base - counts[c] - counts[c];
    if (result->kind == BL_SIGNS) {
        uint8_t flags[BL_COLUMNS] = {0};
        for (intptr_t c = 0; c < width; c++)
            flags[c] = values[c] >= result->threshold[column + c];
        ((uint64_t *)result->out)[row * bl_words(result->columns) + column / 64] = bl_pack_flags(flags);
    } else
        store(result, at, width, values);
}

/* The columns of b are the outer loop: 64 of them stay in the cache while all rows of a pass by. */
static void product(bl_xnor_block *block, const uint64_t *a, const uint64_t *b, intptr_t m, intptr_t k, intptr_t words,
                    int64_t n, const bl_xnor_result *result)
{
    for (intptr_t j = 0; j < k; j += BL_COLUMNS) {
        intptr_t width = bl_min(BL_COLUMNS, k - j);
        for (intptr_t i = 0; i < m; i += BL_ROWS) {
            int32_t counts[BL_ROWS][BL_COLUMNS] = {{0}};
            const uint64_t *rows[BL_ROWS];
            /* Past the last row the last one is computed again, which is cheaper than a block of another height. */
            for (int r = 0; r < BL_ROWS; r++)
                rows[r] = a + bl_min(i + r, m - 1) * words;
            block(rows, NULL, b + j * words, words, width, words, counts);
            for (int r = 0; r < BL_ROWS && i + r < m; r++)
                bl_xnor_finish(result, i + r, j, width, (int32_t)n, counts[r]);
        }
    }
}

void bl_hamming_blocked(bl_xnor_block *block, const uint64_t *a, const uint64_t *b, intptr_t m, intptr_t k,
                        intptr_t words, void *out, int out_type)
{
    bl_xnor_result result = {.kind = BL_MISMATCHES, .out_type = out_type, .out = out, .columns = k};
    product(block, a, b, m, k, words, 0, &result);
}

void bl_xnor_matmul_blocked(bl_xnor_block *block, const uint64_t *a, const uint64_t *b, intptr_t m, intptr_t k,
                            intptr_t words, int64_t n, void *out, int out_type)
{
    bl_xnor_result result = {.kind = BL_DOTS, .out_type = out_type, .out = out, .columns = k};
    product(block, a, b, m, k, words, n, &result);
}

void bl_xnor_matmul_sign_blocked(bl_xnor_block *block, const uint64_t *a, const uint64_t *b, intptr_t m, intptr_t k,
                                 intptr_t words, int64_t n, const int32_t *threshold, uint64_t *out)
{
    bl_xnor_result result = {.kind = BL_SIGNS, .threshold = threshold, .out = out, .columns = k};
    product(block, a, b, m, k, words, n, &result);
}

void bl_xnor_block_portable(const uint64_t *const a[BL_ROWS], const uint64_t *const valid[BL_ROWS], const uint64_t *b,
                            intptr_t b_stride, intptr_t columns, intptr_t words, int32_t counts[BL_ROWS][BL_COLUMNS])
{
    for (intptr_t c = 0; c < columns; c++, b += b_stride)
        for (int r = 0; r < BL_ROWS; r++)
            for (intptr_t from = 0; from < words; from += 31) {
                intptr_t to = bl_min(from + 31, words);
                uint64_t bytes = 0;
                if (valid)
                    for (intptr_t p = from; p < to; p++)
                        bytes += bl_popcount_bytes((a[r][p] ^ b[p]) & valid[r][p]);
                else
                    for (intptr_t p = from; p < to; p++)
                        bytes += bl_popcount_bytes(a[r][p] ^ b[p]);
                counts[r][c] += (int32_t)bl_sum_bytes(bytes);
            }
}

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_portable parameters { bl_##name##_blocked(bl_xnor_block_portable, BL_UNWRAP arguments); }
BL_XNOR_KERNELS(KERNEL)
