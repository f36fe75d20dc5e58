/* Products of gradients with bits: the portable blocks, and what becomes of sums. */
#include "portable.h"

/* --- Results ---------------------------------------------------------------------------------------------------- */

/* 2 * sum may leave int32 where the result does not: unsigned, so that it may wrap. */
static inline int32_t result_int8(int32_t sum, int shift, int32_t total)
{
    return (int32_t)(((uint32_t)sum << shift) - (uint32_t)total);
}

static void finish_bits(const bl_gradient_result *result, intptr_t row, intptr_t word, const void *sums, int shift,
                        int32_t total, const int64_t *before)
{
    uint8_t flags[BL_COLUMNS];
    intptr_t group = row / result->rows_per_threshold, at = row * bl_words(result->n) + word;
    if (result->g_type == BL_FLOAT32) {
        float threshold = ((const float *)result->threshold)[group];
        for (int c = 0; c < BL_COLUMNS; c++)
            flags[c] = ((const float *)sums)[c] >= threshold;
    } else if (result->g_type == BL_INT8) {
        int64_t threshold = ((const int64_t *)result->threshold)[group];
        for (int c = 0; c < BL_COLUMNS; c++)
            flags[c] = result_int8(((const int32_t *)sums)[c], shift, total) >= threshold;
    } else {
        int64_t threshold = ((const int64_t *)result->threshold)[group];
        for (int c = 0; c < BL_COLUMNS; c++)
            flags[c] = ((const int32_t *)sums)[c] + (before ? before[c] : 0) >= threshold;
    }
    /* The mask's zero tail clears the columns past n. */
    ((uint64_t *)result->out)[at] = bl_pack_flags(flags, 64) & result->mask[at];
}

/* out[c] = value, or out[c] += value: two loops that compile to vector code, the second for a last narrow word. */
#define WRITE(type, value)                                                                                             \
    do {                                                                                                               \
        type *out = (type *)result->out + at;                                                                          \
        if (result->kind == BL_ADD)                                                                                    \
            for (intptr_t c = 0; c < width; c++)                                                                       \
                out[c] += (value);                                                                                     \
        else                                                                                                           \
            for (intptr_t c = 0; c < width; c++)                                                                       \
                out[c] = (value);                                                                                      \
    } while (0)

void bl_gradient_finish(const bl_gradient_result *result, intptr_t row, intptr_t word, const void *sums, int shift,
                        int32_t total, const int64_t *before)
{
    if (result->kind == BL_COMPARE) {
        finish_bits(result, row, word, sums, shift, total, before);
        return;
    }
    intptr_t at = (intptr_t)(row * result->n) + 64 * word;
    intptr_t width = bl_min(BL_COLUMNS, (intptr_t)result->n - 64 * word);
    const int32_t *integer = sums;
    const float *real = sums;
    if (result->g_type == BL_INT8)
        WRITE(int32_t, result_int8(integer[c], shift, total));
    else if (result->g_type == BL_INT16)
        WRITE(int64_t, integer[c]);
    else
        WRITE(float, real[c]);
}

/* --- Layouts ---------------------------------------------------------------------------------------------------- */

/* Group g of row r is at out[g * step + 4 * r], its terms side by side. */
static void place_rows(intptr_t count, void *out, bl_gradient_rows *rows)
{
    rows->count = count;
    rows->step = BL_GROUP_BYTES * BL_BLOCK_ROWS;
    for (intptr_t r = 0; r < count; r++) {
        rows->at[r] = (const char *)out + BL_GROUP_BYTES * r;
        rows->slot[r] = r;
    }
}

void bl_interleave_int8(const char *const *terms, intptr_t groups, intptr_t count, void *out, bl_gradient_rows *rows,
                        int32_t *totals)
{
    (void)totals;
    place_rows(count, out, rows);
    for (intptr_t g = 0; g < groups; g++, terms += 4) {
        int8_t *to = (int8_t *)out + g * rows->step;
        const int8_t *a = (const int8_t *)terms[0], *b = (const int8_t *)terms[1];
        const int8_t *c = (const int8_t *)terms[2], *d = (const int8_t *)terms[3];
        for (intptr_t r = 0; r < count; r++) {
            to[4 * r] = a[r];
            to[4 * r + 1] = b[r];
            to[4 * r + 2] = c[r];
            to[4 * r + 3] = d[r];
        }
    }
}

void bl_interleave_int16(const char *const *terms, intptr_t groups, intptr_t count, void *out, bl_gradient_rows *rows,
                         int32_t *totals)
{
    (void)totals;
    place_rows(count, out, rows);
    for (intptr_t g = 0; g < groups; g++, terms += 2) {
        int16_t *to = (int16_t *)((char *)out + g * rows->step);
        const int16_t *a = (const int16_t *)terms[0], *b = (const int16_t *)terms[1];
        for (intptr_t r = 0; r < count; r++) {
            to[2 * r] = a[r];
            to[2 * r + 1] = b[r];
        }
    }
}

void bl_interleave_float32(const char *const *terms, intptr_t groups, intptr_t count, void *out,
                           bl_gradient_rows *rows, int32_t *totals)
{
    (void)totals;
    place_rows(count, out, rows);
    for (intptr_t g = 0; g < groups; g++)
        memcpy((char *)out + g * rows->step, terms[g], (size_t)(BL_GROUP_BYTES * count));
}

/* --- Blocks ----------------------------------------------------------------------------------------------------- */

/* The panel holds a byte for each term and column: 1 where the bit is set, else 0. Bits are expanded before the sums
   and not among them: a vector load that follows the stores of its parts too closely waits for them. */
static void expand(const uint64_t *bits, intptr_t terms, void *panel)
{
    for (intptr_t t = 0; t < terms; t++)
        bl_unpack_flags(bits[t], (uint8_t *)panel + BL_COLUMNS * t);
}

static void expand_int8(const uint64_t *bits, intptr_t groups, void *panel) { expand(bits, 4 * groups, panel); }
static void expand_int16(const uint64_t *bits, intptr_t groups, void *panel) { expand(bits, 2 * groups, panel); }
static void expand_float32(const uint64_t *bits, intptr_t groups, void *panel) { expand(bits, groups, panel); }

/* Four rows at a time, or as many as there are, read the flags of a term. Sums of a block where the bit is set: those
   of int8 fit int16, for -32768 = 256 * -128 is reached and +32768 is not. */
#define ROWS 4

#define READ(element, r)                                                                                               \
    element g;                                                                                                         \
    memcpy(&g, rows->at[bl_min(i + r, rows->count - 1)] + at, sizeof g)

#define PRODUCT(name, element, type, per_group)                                                                        \
    static void name(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums, int add)            \
    {                                                                                                                  \
        for (intptr_t i = 0; i < rows->count; i += ROWS) {                                                             \
            type set[ROWS][BL_COLUMNS] = {{0}};                                                                        \
            int32_t total[ROWS] = {0};                                                                                 \
            for (intptr_t t = 0; t < per_group * groups; t++) {                                                        \
                const uint8_t *flags = (const uint8_t *)panel + BL_COLUMNS * t;                                        \
                intptr_t at = t / per_group * rows->step + t % per_group * (intptr_t)sizeof(element);                  \
                for (int r = 0; r < ROWS; r++) {                                                                       \
                    READ(element, r);                                                                                  \
                    total[r] += g;                                                                                     \
                    for (int c = 0; c < BL_COLUMNS; c++)                                                               \
                        set[r][c] = (type)(set[r][c] + (g & -flags[c]));                                               \
                }                                                                                                      \
            }                                                                                                          \
            for (int r = 0; r < ROWS && i + r < rows->count; r++) {                                                    \
                int32_t *to = (int32_t *)sums + BL_COLUMNS * rows->slot[i + r];                                        \
                for (int c = 0; c < BL_COLUMNS; c++)                                                                   \
                    to[c] = (add ? to[c] : 0) + 2 * set[r][c] - total[r];                                              \
            }                                                                                                          \
        }                                                                                                              \
    }

PRODUCT(product_int8, int8_t, int16_t, 4)
PRODUCT(product_int16, int16_t, int32_t, 2)

static void product_float32(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums, int add)
{
    for (intptr_t i = 0; i < rows->count; i += ROWS) {
        float sum[ROWS][BL_COLUMNS] = {{0}};
        for (intptr_t t = 0; t < groups; t++) {
            const uint8_t *flags = (const uint8_t *)panel + BL_COLUMNS * t;
            float sign[BL_COLUMNS];
            intptr_t at = t * rows->step;
            for (int c = 0; c < BL_COLUMNS; c++)
                sign[c] = (float)(2 * flags[c] - 1);
            for (int r = 0; r < ROWS; r++) {
                READ(float, r);
                for (int c = 0; c < BL_COLUMNS; c++)
                    sum[r][c] += g * sign[c];
            }
        }
        for (int r = 0; r < ROWS && i + r < rows->count; r++) {
            float *to = (float *)sums + BL_COLUMNS * rows->slot[i + r];
            for (int c = 0; c < BL_COLUMNS; c++)
                to[c] = (add ? to[c] : 0.0f) + sum[r][c];
        }
    }
}

static const bl_gradient_types types = {
    .int8 = {expand_int8, bl_interleave_int8, NULL, product_int8, bl_gradient_finish, NULL},
    .int16 = {expand_int16, bl_interleave_int16, NULL, product_int16, bl_gradient_finish, NULL},
    .float32 = {expand_float32, bl_interleave_float32, NULL, product_float32, bl_gradient_finish, NULL},
};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_portable parameters { bl_##name##_blocked(&types, BL_UNWRAP arguments); }
BL_GRADIENT_KERNELS(KERNEL)
