/* Products of gradients with bits: the portable blocks, the drivers of the matrix products, and the results of all. */
#include "portable.h"

void bl_load_terms(bl_terms *terms, int r, intptr_t to, const void *g, int g_type, intptr_t offset, intptr_t count)
{
    if (g_type == BL_INT8) {
        int16_t *row = terms->int8[r] + to;
        for (intptr_t t = 0; t < count; t++)
            row[t] = g ? ((const int8_t *)g)[offset + t] : 0;
    } else if (g_type == BL_INT16) {
        int32_t *row = terms->int16[r] + to;
        for (intptr_t t = 0; t < count; t++)
            row[t] = g ? ((const int16_t *)g)[offset + t] : 0;
    } else {
        float *row = terms->float32[r] + to;
        for (intptr_t t = 0; t < count; t++)
            row[t] = g ? ((const float *)g)[offset + t] : 0.0f;
    }
}

static void finish_bits(const bl_gradient_result *result, intptr_t row, intptr_t word, int r, const bl_sums *sums)
{
    uint8_t flags[BL_COLUMNS];
    intptr_t group = row / result->rows_per_threshold, at = row * bl_words(result->n) + word;
    if (result->g_type == BL_FLOAT32) {
        float threshold = ((const float *)result->threshold)[group];
        for (int c = 0; c < BL_COLUMNS; c++)
            flags[c] = sums->real[r][c] >= threshold;
    } else {
        int64_t threshold = ((const int64_t *)result->threshold)[group];
        for (int c = 0; c < BL_COLUMNS; c++)
            flags[c] = sums->integer[r][c] >= threshold;
    }
    /* The mask's zero tail clears the columns past n. */
    ((uint64_t *)result->out)[at] = bl_pack_flags(flags) & result->mask[at];
}

void bl_gradient_finish(const bl_gradient_result *result, intptr_t row, intptr_t word, int r, const bl_sums *sums)
{
    if (result->kind == BL_COMPARE) {
        finish_bits(result, row, word, r, sums);
        return;
    }
    intptr_t at = (intptr_t)(row * result->n) + 64 * word;
    intptr_t width = bl_min(BL_COLUMNS, (intptr_t)result->n - 64 * word);
    int add = result->kind == BL_ADD;
    if (result->g_type == BL_INT8) {
        int32_t *out = (int32_t *)result->out + at;
        for (intptr_t c = 0; c < width; c++)
            out[c] = (add ? out[c] : 0) + (int32_t)sums->integer[r][c];
    } else if (result->g_type == BL_INT16) {
        int64_t *out = (int64_t *)result->out + at;
        for (intptr_t c = 0; c < width; c++)
            out[c] = (add ? out[c] : 0) + sums->integer[r][c];
    } else {
        float *out = (float *)result->out + at;
        for (intptr_t c = 0; c < width; c++)
            out[c] = (add ? out[c] : 0.0f) + sums->real[r][c];
    }
}

/* sums of g (rows, terms) with bits (terms, words), one word column and four rows at a time. */
static void product(const bl_gradient_blocks *blocks, const void *g, const uint64_t *bits, intptr_t rows,
                    intptr_t terms, const bl_gradient_result *result)
{
    bl_gradient_block *block = bl_block_of(blocks, result->g_type);
    intptr_t words = bl_words(result->n);
    bl_terms buffer;
    for (intptr_t i = 0; i < rows; i += BL_ROWS)
        for (intptr_t word = 0; word < words; word++) {
            bl_sums sums;
            memset(&sums, 0, sizeof sums);
            for (intptr_t from = 0; from < terms; from += BL_TERMS) {
                intptr_t count = bl_min(BL_TERMS, terms - from);
                for (int r = 0; r < BL_ROWS; r++)
                    bl_load_terms(&buffer, r, 0, g, result->g_type, bl_min(i + r, rows - 1) * terms + from, count);
                block(&buffer, bits + from * words + word, words, count, &sums);
            }
            for (int r = 0; r < BL_ROWS && i + r < rows; r++)
                bl_gradient_finish(result, i + r, word, r, &sums);
        }
}

void bl_grad_input_blocked(const bl_gradient_blocks *blocks, const void *g, int g_type, const uint64_t *w, intptr_t m,
                           intptr_t k, int64_t n, void *out)
{
    bl_gradient_result result = {.kind = BL_STORE, .g_type = g_type, .out = out, .n = n};
    product(blocks, g, w, m, k, &result);
}

void bl_grad_weight_blocked(const bl_gradient_blocks *blocks, const void *gt, int g_type, const uint64_t *x,
                            intptr_t k, intptr_t m, int64_t n, void *out)
{
    bl_gradient_result result = {.kind = BL_ADD, .g_type = g_type, .out = out, .n = n};
    product(blocks, gt, x, k, m, &result);
}

void bl_grad_weight_sign_blocked(const bl_gradient_blocks *blocks, const void *gt, int g_type, const uint64_t *x,
                                 intptr_t k, intptr_t m, int64_t n, const void *threshold, const uint64_t *mask,
                                 uint64_t *out)
{
    bl_gradient_result result = {.kind = BL_COMPARE,
                                 .g_type = g_type,
                                 .threshold = threshold,
                                 .rows_per_threshold = 1,
                                 .mask = mask,
                                 .out = out,
                                 .n = n};
    product(blocks, gt, x, k, m, &result);
}

/* The bits of a block as bytes of 0 and 1, made before the sums and not among them: a vector load that follows the
   stores of its parts too closely waits for them, which took half of the time. */
typedef uint8_t block_flags[BL_TERMS][BL_COLUMNS];

static void expand(const uint64_t *bits, intptr_t stride, intptr_t count, block_flags flags)
{
    for (intptr_t t = 0; t < count; t++)
        bl_unpack_flags(bits[t * stride], flags[t]);
}

static void block_int8(const bl_terms *terms, const uint64_t *bits, intptr_t stride, intptr_t count, bl_sums *sums)
{
    block_flags flags;
    int16_t set[BL_ROWS][BL_COLUMNS] = {{0}};
    int32_t total[BL_ROWS] = {0};
    expand(bits, stride, count, flags);
    for (intptr_t t = 0; t < count; t++)
        for (int r = 0; r < BL_ROWS; r++) {
            int16_t g = terms->int8[r][t];
            total[r] += g;
            for (int c = 0; c < BL_COLUMNS; c++)
                set[r][c] = (int16_t)(set[r][c] + (g & -flags[t][c]));
        }
    for (int r = 0; r < BL_ROWS; r++)
        for (int c = 0; c < BL_COLUMNS; c++)
            sums->integer[r][c] += 2 * set[r][c] - total[r];
}

static void block_int16(const bl_terms *terms, const uint64_t *bits, intptr_t stride, intptr_t count, bl_sums *sums)
{
    block_flags flags;
    int32_t set[BL_ROWS][BL_COLUMNS] = {{0}};
    int32_t total[BL_ROWS] = {0};
    expand(bits, stride, count, flags);
    for (intptr_t t = 0; t < count; t++)
        for (int r = 0; r < BL_ROWS; r++) {
            int32_t g = terms->int16[r][t];
            total[r] += g;
            for (int c = 0; c < BL_COLUMNS; c++)
                set[r][c] += g & -flags[t][c];
        }
    for (int r = 0; r < BL_ROWS; r++)
        for (int c = 0; c < BL_COLUMNS; c++)
            sums->integer[r][c] += 2 * set[r][c] - total[r];
}

static void block_float32(const bl_terms *terms, const uint64_t *bits, intptr_t stride, intptr_t count, bl_sums *sums)
{
    block_flags flags;
    float sum[BL_ROWS][BL_COLUMNS] = {{0}};
    expand(bits, stride, count, flags);
    for (intptr_t t = 0; t < count; t++) {
        float sign[BL_COLUMNS];
        for (int c = 0; c < BL_COLUMNS; c++)
            sign[c] = (float)(2 * flags[t][c] - 1);
        for (int r = 0; r < BL_ROWS; r++)
            for (int c = 0; c < BL_COLUMNS; c++)
                sum[r][c] += terms->float32[r][t] * sign[c];
    }
    for (int r = 0; r < BL_ROWS; r++)
        for (int c = 0; c < BL_COLUMNS; c++)
            sums->real[r][c] += sum[r][c];
}

static const bl_gradient_blocks blocks = {.int8 = block_int8, .int16 = block_int16, .float32 = block_float32};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_portable parameters { bl_##name##_blocked(&blocks, BL_UNWRAP arguments); }
BL_GRADIENT_KERNELS(KERNEL)
