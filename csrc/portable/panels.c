/* Products with column panels: the layout, and the drivers that all variants share. */
#include "portable.h"

void bl_pack_panels_portable(const uint64_t *b, intptr_t k, intptr_t words, uint64_t *out)
{
    for (intptr_t j = 0; j < k; j += BL_PANEL) {
        intptr_t count = bl_min(BL_PANEL, k - j), width = (count + 7) / 8 * 8;
        for (intptr_t p = 0; p < words; p++, out += width) {
            for (intptr_t c = 0; c < count; c++)
                out[c] = b[(j + c) * words + p];
            for (intptr_t c = count; c < width; c++)
                out[c] = 0;
        }
    }
}

void bl_count_panel(const uint64_t *panel, intptr_t stride, intptr_t from, intptr_t to, int32_t counts[BL_PANEL])
{
    memset(counts, 0, BL_PANEL * sizeof *counts);
    for (intptr_t p = from; p < to; p++)
        for (intptr_t c = 0; c < stride; c++)
            counts[c] += (int32_t)popcount64(panel[p * stride + c]);
}

/* So many words of a are passed by all panels before the next ones: they stay in the second-level cache. */
#define BLOCK_WORDS (64 * 1024)

void bl_multiply_panels(bl_columns b, const uint64_t *a, intptr_t m, int32_t base, const bl_xnor_result *result)
{
    intptr_t step = b.recoded ? bl_quads_step(1, b.words)
                               : bl_max(48, BLOCK_WORDS / bl_max(b.words, 1) / 48 * 48);
    int32_t bases[BL_QUAD_PANEL];
    for (int c = 0; c < bl_columns_at_once(&b); c++)
        bases[c] = base;
    for (intptr_t i = 0; i < m; i += step) {
        const bl_xnor_result part = bl_result_from(result, i);
        const intptr_t rows = bl_min(step, m - i);
        if (b.recoded)
            b.blocks->recode_rows(a + i * b.words, rows, b.words, b.scratch);
        for (intptr_t j = 0; j < result->columns; j += bl_columns_at_once(&b))
            bl_multiply_panel(&b, a + i * b.words, rows, j, bases, 0, &part);
    }
}

/* Integers whose planes are counted at a time: their counts are 16 KiB at most. */
#define INTEGERS 16

/* Write or add sums of integers of so many bits, from the counts of their planes. */
static void combine(int bits, const int32_t *base, const int32_t *counts, intptr_t width, int accumulate, int32_t *out)
{
    uint32_t sums[BL_PANEL];
    const uint32_t last = bits > 1 ? (uint32_t)1 << (bits - 1) : (uint32_t)-2;
    for (int c = 0; c < BL_PANEL; c++)
        sums[c] = (uint32_t)base[c] + last * (uint32_t)counts[(bits - 1) * BL_PANEL + c];
    for (int p = 0; p < bits - 1; p++)
        for (int c = 0; c < BL_PANEL; c++)
            sums[c] -= (uint32_t)counts[p * BL_PANEL + c] << p;
    for (intptr_t c = 0; c < width; c++)
        out[c] = (int32_t)(accumulate ? (uint32_t)out[c] + sums[c] : sums[c]);
}

void bl_planes_matmul_blocked(const bl_product_blocks *blocks, const uint64_t *planes, int bits, const uint64_t *panels,
                              const uint8_t *recoded, intptr_t m, intptr_t k, intptr_t words, int64_t n, int accumulate,
                              int32_t *out, uint8_t *scratch)
{
    (void)recoded, (void)scratch;
    int32_t counts[INTEGERS * 8 * BL_PANEL] = {0}, zero[BL_PANEL] = {0};
    const bl_xnor_result result = {BL_AS_INT32, 1, NULL, counts, BL_PANEL};
    intptr_t step = bl_max(INTEGERS, BLOCK_WORDS / bl_max(bits * words, 1) / INTEGERS * INTEGERS);
    for (intptr_t i = 0; i < m; i += step) {
        const uint64_t *panel = panels;
        for (intptr_t j = 0; j < k; j += BL_PANEL) {
            intptr_t width = bl_min(BL_PANEL, k - j), stride = bl_panel_width(k - j);
            int32_t base[BL_PANEL];
            bl_count_panel(panel, stride, 0, words, base);
            for (int c = 0; c < BL_PANEL; c++)
                base[c] = bits > 1 ? -base[c] : (int32_t)n;
            for (intptr_t r = i; r < bl_min(i + step, m); r += INTEGERS) {
                intptr_t rows = bl_min(INTEGERS, m - r);
                blocks->panel(planes + r * bits * words, panel, rows * bits, words, 0, width, zero, 0, &result);
                for (intptr_t s = 0; s < rows; s++)
                    combine(bits, base, counts + s * bits * BL_PANEL, width, accumulate, out + (r + s) * k + j);
            }
            panel += words * stride;
        }
    }
}

void bl_panel_block_of_tiles(bl_panel_tile *tile, const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words,
                             intptr_t column, intptr_t width, const int32_t *bases, intptr_t bases_stride,
                             const bl_xnor_result *result)
{
    intptr_t stride = bl_panel_width(width);
    for (intptr_t i = 0; i < m; i += BL_ROWS) {
        const uint64_t *rows[BL_ROWS];
        int32_t counts[BL_ROWS][BL_PANEL];
        for (int r = 0; r < BL_ROWS; r++)
            rows[r] = a + bl_min(i + r, m - 1) * words;
        for (intptr_t c = 0; c < stride; c += 8)
            tile(rows, panel + c, stride, words, counts[0] + c);
        for (int r = 0; r < BL_ROWS && i + r < m; r++)
            bl_xnor_finish(result, i + r, column, width, bases + (i + r) * bases_stride, counts[r]);
    }
}

intptr_t bl_quads_bytes(intptr_t k, intptr_t words) { return bl_quads_of_columns(k, words); }

intptr_t bl_planes_scratch(intptr_t m, int bits, intptr_t words)
{
    return bl_min(bl_quads_step(bits, words), (m + 15) / 16 * 16) / 8 * bits * bl_quads_of_rows(words);
}

intptr_t bl_quads_scratch(intptr_t m, intptr_t words) { return bl_planes_scratch(m, 1, words); }
