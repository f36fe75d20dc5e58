/* Words as bits: counts, and the transpose. */
#include "portable.h"

#include "../packing.h"

/* Sums of so many columns stay in the first-level cache; so many lines are read side by side, and the sums loaded and
   stored once for all of them. Few columns take all lines at once. */
#define COLUMNS 512
#define LINES 8
#define FEW 32

/* Where the words of neighbouring rows are neighbours: line by line of memory, added to the sums of all its rows. */
static void count_across(bl_add_counts *add_counts, const char *x, intptr_t rows, intptr_t words, intptr_t row_stride,
                         intptr_t word_stride, int64_t *out)
{
    const intptr_t size = (intptr_t)sizeof(uint64_t);
    memset(out, 0, (size_t)rows * sizeof *out);
    intptr_t step = rows <= FEW ? words : LINES;
    for (intptr_t i = 0; i < rows; i += COLUMNS)
        for (intptr_t p = 0; p < words; p += step) {
            const char *block = x + i * row_stride + p * word_stride;
            intptr_t columns = bl_min(COLUMNS, rows - i), lines = bl_min(step, words - p);
            if (row_stride == size)
                add_counts((const uint64_t *)(const void *)block, word_stride / size, lines, columns, out + i);
            else
                for (intptr_t c = 0; c < columns; c++)
                    add_counts((const uint64_t *)(const void *)(block + c * row_stride), word_stride / size, lines, 1,
                               out + i + c);
        }
}

void bl_popcount_blocked(bl_count *count, bl_add_counts *add_counts, const uint64_t *x, intptr_t outer, intptr_t rows,
                         intptr_t words, intptr_t outer_stride, intptr_t row_stride, intptr_t word_stride,
                         int64_t *out)
{
    intptr_t row = row_stride < 0 ? -row_stride : row_stride, word = word_stride < 0 ? -word_stride : word_stride;
    for (intptr_t o = 0; o < outer; o++, out += rows) {
        const char *from = (const char *)x + o * outer_stride;
        if (row < word || words == 1)
            count_across(add_counts, from, rows, words, row_stride, word_stride, out);
        else
            for (intptr_t i = 0; i < rows; i++) {
                const char *first = from + i * row_stride;
                out[i] = 0;
                if (word_stride == (intptr_t)sizeof(uint64_t))
                    out[i] = count((const uint64_t *)(const void *)first, words);
                else
                    for (intptr_t p = 0; p < words; p++)
                        out[i] += count((const uint64_t *)(const void *)(first + p * word_stride), 1);
            }
    }
}

static int64_t count_row(const uint64_t *x, intptr_t words)
{
    int64_t total = 0;
    for (intptr_t from = 0; from < words; from += 31) {
        uint64_t bytes = 0;
        for (intptr_t p = from; p < bl_min(from + 31, words); p++)
            bytes += bl_popcount_bytes(x[p]);
        total += bl_sum_bytes(bytes);
    }
    return total;
}

static void add_counts(const uint64_t *x, intptr_t stride, intptr_t lines, intptr_t columns, int64_t *out)
{
    for (intptr_t l = 0; l < lines; l++)
        for (intptr_t c = 0; c < columns; c++)
            out[c] += popcount64(x[l * stride + c]);
}

void bl_popcount_portable(const uint64_t *x, intptr_t outer, intptr_t rows, intptr_t words, intptr_t outer_stride,
                          intptr_t row_stride, intptr_t word_stride, int64_t *out)
{
    bl_popcount_blocked(count_row, add_counts, x, outer, rows, words, outer_stride, row_stride, word_stride, out);
}

/* Transpose 64 words of 64 bits in place: swap the off-diagonal halves of ever smaller squares (Hacker's Delight,
   7-3). The size is a constant where it is inlined, so that pairs are swapped side by side. */
BL_INLINE void swap_squares(uint64_t block[64], int half, uint64_t low)
{
    for (int base = 0; base < 64; base += 2 * half)
        for (int i = base; i < base + half; i++) {
            uint64_t swap = ((block[i] >> half) ^ block[i + half]) & low;
            block[i] ^= swap << half;
            block[i + half] ^= swap;
        }
}

static void transpose64(uint64_t block[64])
{
    swap_squares(block, 32, UINT64_C(0x00000000ffffffff));
    swap_squares(block, 16, UINT64_C(0x0000ffff0000ffff));
    swap_squares(block, 8, UINT64_C(0x00ff00ff00ff00ff));
    swap_squares(block, 4, UINT64_C(0x0f0f0f0f0f0f0f0f));
    swap_squares(block, 2, UINT64_C(0x3333333333333333));
    swap_squares(block, 1, UINT64_C(0x5555555555555555));
}

#define TILE 8 /* 64 by 64 blocks a side: whole cache lines are read and written */

void bl_transpose_portable(const uint64_t *x, intptr_t x_stride, intptr_t m, intptr_t n, uint64_t *out,
                           intptr_t out_stride)
{
    for (intptr_t i0 = 0; i0 < bl_words(m); i0 += TILE)
        for (intptr_t j0 = 0; j0 < bl_words(n); j0 += TILE)
            for (intptr_t i = i0; i < bl_min(i0 + TILE, bl_words(m)); i++)
                for (intptr_t j = j0; j < bl_min(j0 + TILE, bl_words(n)); j++) {
                    uint64_t block[64] = {0};
                    intptr_t height = bl_min(64, m - 64 * i), width = bl_min(64, n - 64 * j);
                    for (intptr_t r = 0; r < height; r++)
                        block[r] = x[(64 * i + r) * x_stride + j];
                    transpose64(block);
                    for (intptr_t c = 0; c < width; c++)
                        out[(64 * j + c) * out_stride + i] = block[c];
                }
}

void bl_transpose_bits_portable(const uint64_t *x, intptr_t m, int64_t n, uint64_t *out)
{
    bl_transpose_portable(x, bl_words(n), m, (intptr_t)n, out, bl_words(m));
}
