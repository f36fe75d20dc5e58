/* Integers to fewer bits, to nearest or at random, as plain loops, compiled once a variant with that variant's
   instructions. Random words are drawn in blocks beside the values that they round. */
#ifndef BL_NARROW_H
#define BL_NARROW_H

#include "requantize.h"

/* Where a column has its words side by side, a tile of so many rows and columns is drawn at a time. A column of a tile
   lies in at most BL_TILE_ROWS / 4 + 1 blocks of four words; those of all columns are whole calls of bl_philox_of. */
#define BL_TILE_ROWS 64
#define BL_TILE_COLUMNS 64
#define BL_TILE_COUNTERS ((BL_TILE_ROWS / 4 + 1) * BL_TILE_COLUMNS)

/* noise[i][j] = word at + j * stride + i. */
BL_INLINE void bl_fill_tile(const uint32_t *key, uint64_t at, uint64_t stride, intptr_t rows, intptr_t columns,
                            uint32_t noise[BL_TILE_ROWS][BL_TILE_COLUMNS])
{
    uint64_t counters[BL_TILE_COUNTERS];
    uint32_t words[4 * BL_TILE_COUNTERS];
    intptr_t starts[BL_TILE_COLUMNS], used = 0;
    for (intptr_t j = 0; j < columns; j++, at += stride) {
        starts[j] = 4 * used + (intptr_t)(at % 4);
        for (uint64_t counter = at / 4; counter <= (at + (uint64_t)rows - 1) / 4; counter++)
            counters[used++] = counter;
    }
    for (; used % BL_LANES; used++)
        counters[used] = 0;
    for (intptr_t i = 0; i < used; i += BL_LANES)
        bl_philox_of(key, counters + i, words + 4 * i);
    for (intptr_t i = 0; i < rows; i++)
        for (intptr_t j = 0; j < columns; j++)
            noise[i][j] = words[starts[j] + i];
}

/* The steps of values [at, at + count) of rows of n, a step a row. */
BL_INLINE void bl_fill_steps(double *divisor, const double *step, intptr_t at, intptr_t n, intptr_t count)
{
    for (intptr_t j = 0; j < count;) {
        const intptr_t i = (at + j) / n, stop = bl_min(count, (i + 1) * n - at);
        for (; j < stop; j++)
            divisor[j] = step[i];
    }
}

/* The codes of a block at random; its steps and its words are filled in. */
#define BL_DEFINE_NARROW(name, source)                                                                                 \
    BL_INLINE void bl_narrow_block_##name(bl_quantize_block_double *b, const source *x, intptr_t first, intptr_t count,\
                                          void *out, int out_type)                                                     \
    {                                                                                                                  \
        for (intptr_t j = 0; j < count; j++)                                                                           \
            b->quotient[j] = bl_clip_double(b, j, (double)x[first + j]);                                               \
        bl_round_at_random_double(b, count);                                                                           \
        bl_store_codes(b->code, count, first, out, out_type);                                                          \
    }                                                                                                                  \
    BL_INLINE void bl_narrow_##name(const source *x, const double *step, int axis, int32_t limit, const uint32_t *key, \
                                    int64_t first, int64_t total, intptr_t rows, intptr_t n, void *out, int out_type)  \
    {                                                                                                                  \
        const intptr_t size = rows * n;                                                                                \
        bl_quantize_block_double b;                                                                                    \
        uint32_t noise[BL_TILE_ROWS][BL_TILE_COLUMNS];                                                                 \
        if (size == 0)                                                                                                 \
            return;                                                                                                    \
        if (axis == 0)                                                                                                 \
            step += first;                                                                                             \
        if (!key) {                                                                                                    \
            if (axis == 1)                                                                                             \
                bl_quantize_##name(x, step, NULL, rows, n, 1, -limit, limit, NULL, out, out_type);                     \
            else                                                                                                       \
                for (intptr_t i = 0, count = axis ? size : n; i * count < size; i++)                                   \
                    bl_divide_##name(x, step[i], limit, i * count, count, out, out_type);                              \
            return;                                                                                                    \
        }                                                                                                              \
        for (intptr_t j = 0; j < BL_QUANTIZE_BLOCK; j++) {                                                             \
            b.divisor[j] = *step;                                                                                      \
            b.least[j] = -(double)limit;                                                                               \
            b.most[j] = (double)limit;                                                                                 \
            b.zero[j] = 0;                                                                                             \
        }                                                                                                              \
        if (axis != 1) {                                                                                               \
            /* Blocks end where four words do. */                                                                      \
            for (intptr_t at = 0, count; at < size; at += count) {                                                     \
                const int64_t word = first * n + at;                                                                   \
                count = bl_min(BL_QUANTIZE_BLOCK - (intptr_t)(word % 4), size - at);                                   \
                bl_random_words_loops(key, word, 0, 1, count, b.noise);                                                \
                if (axis == 0)                                                                                         \
                    bl_fill_steps(b.divisor, step, at, n, count);                                                      \
                bl_narrow_block_##name(&b, x, at, count, out, out_type);                                               \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (intptr_t j = 0; j < n; j += BL_TILE_COLUMNS) {                                                            \
            const intptr_t columns = bl_min(BL_TILE_COLUMNS, n - j);                                                   \
            memcpy(b.divisor, step + j, (size_t)columns * sizeof *step);                                               \
            for (intptr_t i = 0; i < rows; i += BL_TILE_ROWS) {                                                        \
                const intptr_t count = bl_min(BL_TILE_ROWS, rows - i);                                                 \
                bl_fill_tile(key, (uint64_t)(j * total + first + i), (uint64_t)total, count, columns, noise);          \
                for (intptr_t r = 0; r < count; r++) {                                                                 \
                    memcpy(b.noise, noise[r], (size_t)columns * sizeof **noise);                                       \
                    bl_narrow_block_##name(&b, x, (i + r) * n + j, columns, out, out_type);                            \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
BL_DEFINE_NARROW(int8, int8_t)
BL_DEFINE_NARROW(int16, int16_t)

/* The kernel of a variant, with the target attribute given (none for the baseline), and what it does by itself first. */
#define BL_DEFINE_NARROW_KERNEL(variant, target, own)                                                                     \
    target void bl_narrow_##variant(const void *x, int x_type, const double *step, int axis, int32_t limit,            \
                                    const uint32_t *key, int64_t first, int64_t total, intptr_t rows, intptr_t n,      \
                                    void *out, int out_type)                                                           \
    {                                                                                                                  \
        own if (x_type == BL_INT8)                                                                                     \
            bl_narrow_int8(x, step, axis, limit, key, first, total, rows, n, out, out_type);                           \
        else                                                                                                           \
            bl_narrow_int16(x, step, axis, limit, key, first, total, rows, n, out, out_type);                          \
    }

#endif
