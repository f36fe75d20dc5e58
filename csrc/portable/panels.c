/* Products with column panels: the layout, the portable block, and the driver that all variants share. */
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

/* So many words of a are passed by all panels before the next ones: they stay in the second-level cache. */
#define BLOCK_WORDS (64 * 1024)

static void product(bl_panel_block *block, const uint64_t *a, const uint64_t *panels, intptr_t m, intptr_t k,
                    intptr_t words, int64_t n, const bl_xnor_result *result)
{
    intptr_t step = bl_max(48, BLOCK_WORDS / bl_max(words, 1) / 48 * 48);
    bl_xnor_result part = *result;
    int32_t base[BL_PANEL];
    for (int c = 0; c < BL_PANEL; c++)
        base[c] = (int32_t)n;
    for (intptr_t i = 0; i < m; i += step) {
        const uint64_t *panel = panels;
        if (result->kind == BL_SIGNS) {
            part.out = (uint64_t *)result->out + i * bl_words(k);
            memset(part.out, 0, (size_t)(bl_min(step, m - i) * bl_words(k)) * sizeof(uint64_t));
        } else
            part.out = (char *)result->out + i * k * (result->out_type == BL_INT16 ? 2 : 4);
        for (intptr_t j = 0; j < k; j += BL_PANEL) {
            intptr_t width = bl_min(BL_PANEL, k - j);
            block(a + i * words, panel, bl_min(step, m - i), words, j, width, base, 0, &part);
            panel += words * ((width + 7) / 8 * 8);
        }
    }
}

void bl_hamming_panels_blocked(bl_panel_block *block, const uint64_t *a, const uint64_t *panels, intptr_t m, intptr_t k,
                               intptr_t words, void *out, int out_type)
{
    bl_xnor_result result = {.kind = BL_MISMATCHES, .out_type = out_type, .out = out, .columns = k};
    product(block, a, panels, m, k, words, 0, &result);
}

void bl_xnor_matmul_panels_blocked(bl_panel_block *block, const uint64_t *a, const uint64_t *panels, intptr_t m,
                                   intptr_t k, intptr_t words, int64_t n, void *out, int out_type)
{
    bl_xnor_result result = {.kind = BL_DOTS, .out_type = out_type, .out = out, .columns = k};
    product(block, a, panels, m, k, words, n, &result);
}

void bl_xnor_matmul_sign_panels_blocked(bl_panel_block *block, const uint64_t *a, const uint64_t *panels, intptr_t m,
                                        intptr_t k, intptr_t words, int64_t n, const int32_t *threshold, uint64_t *out)
{
    bl_xnor_result result = {.kind = BL_SIGNS, .threshold = threshold, .out = out, .columns = k};
    product(block, a, panels, m, k, words, n, &result);
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

void bl_planes_matmul_panels_blocked(bl_panel_block *block, const uint64_t *planes, int bits, const uint64_t *panels,
                                     intptr_t m, intptr_t k, intptr_t words, int64_t n, int accumulate, int32_t *out)
{
    int32_t counts[INTEGERS * 8 * BL_PANEL] = {0}, zero[BL_PANEL] = {0};
    bl_xnor_result result = {.kind = BL_MISMATCHES, .out_type = BL_INT32, .out = counts, .columns = BL_PANEL};
    intptr_t step = bl_max(INTEGERS, BLOCK_WORDS / bl_max(bits * words, 1) / INTEGERS * INTEGERS);
    for (intptr_t i = 0; i < m; i += step) {
        const uint64_t *panel = panels;
        for (intptr_t j = 0; j < k; j += BL_PANEL) {
            intptr_t width = bl_min(BL_PANEL, k - j), stride = (width + 7) / 8 * 8;
            int32_t base[BL_PANEL];
            for (intptr_t c = 0; c < BL_PANEL; c++)
                base[c] = bits > 1 ? 0 : (int32_t)n;
            for (intptr_t p = 0; bits > 1 && p < words; p++)
                for (intptr_t c = 0; c < stride; c++)
                    base[c] -= (int32_t)popcount64(panel[p * stride + c]);
            for (intptr_t r = i; r < bl_min(i + step, m); r += INTEGERS) {
                intptr_t rows = bl_min(INTEGERS, m - r);
                block(planes + r * bits * words, panel, rows * bits, words, 0, width, zero, 0, &result);
                for (intptr_t s = 0; s < rows; s++)
                    combine(bits, base, counts + s * bits * BL_PANEL, width, accumulate, out + (r + s) * k + j);
            }
            panel += words * stride;
        }
    }
}

void bl_panel_finish(const bl_xnor_result *result, intptr_t row, intptr_t column, intptr_t width, const int32_t *base,
                     const int32_t counts[BL_PANEL])
{
    int32_t dots[BL_PANEL];
    for (intptr_t c = 0; c < width; c++)
        dots[c] = result->kind == BL_MISMATCHES ? counts[c] : base[c] - counts[c] - counts[c];
    intptr_t at = row * result->columns + column;
    if (result->kind == BL_SIGNS) {
        /* A panel is half a word of bits; the driver has cleared them all. */
        uint64_t bits = 0;
        for (intptr_t c = 0; c < width; c++)
            bits |= (uint64_t)(dots[c] >= result->threshold[column + c]) << c;
        ((uint64_t *)result->out)[row * bl_words(result->columns) + column / 64] |= bits << (column % 64);
    } else if (result->out_type == BL_INT16)
        for (intptr_t c = 0; c < width; c++)
            ((int16_t *)result->out)[at + c] = (int16_t)dots[c];
    else if (result->out_type == BL_INT32)
        memcpy((int32_t *)result->out + at, dots, (size_t)width * sizeof *dots);
    else
        for (intptr_t c = 0; c < width; c++)
            ((float *)result->out)[at + c] = (float)dots[c];
}

void bl_panel_block_of_tiles(bl_panel_tile *tile, const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words,
                             intptr_t column, intptr_t width, const int32_t *bases, intptr_t bases_stride,
                             const bl_xnor_result *result)
{
    intptr_t stride = (width + 7) / 8 * 8;
    for (intptr_t i = 0; i < m; i += BL_ROWS) {
        const uint64_t *rows[BL_ROWS];
        int32_t counts[BL_ROWS][BL_PANEL];
        for (int r = 0; r < BL_ROWS; r++)
            rows[r] = a + bl_min(i + r, m - 1) * words;
        for (intptr_t c = 0; c < stride; c += 8)
            tile(rows, panel + c, stride, words, counts[0] + c);
        for (int r = 0; r < BL_ROWS && i + r < m; r++)
            bl_panel_finish(result, i + r, column, width, bases + (i + r) * bases_stride, counts[r]);
    }
}

/* Sums of bytes, flushed within 31 words (31 * 8 = 248), side by side for all columns. */
static void panel_block(const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words, intptr_t column,
                        intptr_t width, const int32_t *bases, intptr_t bases_stride,
                        const bl_xnor_result *result)
{
    intptr_t stride = (width + 7) / 8 * 8;
    for (intptr_t i = 0; i < m; i++) {
        int32_t counts[BL_PANEL] = {0};
        for (intptr_t from = 0; from < words; from += 31) {
            uint64_t bytes[BL_PANEL] = {0};
            for (intptr_t p = from; p < bl_min(from + 31, words); p++)
                for (intptr_t c = 0; c < stride; c++)
                    bytes[c] += bl_popcount_bytes(a[i * words + p] ^ panel[p * stride + c]);
            for (intptr_t c = 0; c < stride; c++)
                counts[c] += (int32_t)bl_sum_bytes(bytes[c]);
        }
        bl_panel_finish(result, i, column, width, bases + i * bases_stride, counts);
    }
}

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_portable parameters { bl_##name##_blocked(panel_block, BL_UNWRAP arguments); }
BL_PANEL_KERNELS(KERNEL)

intptr_t bl_quads_bytes(intptr_t k, intptr_t words) { return bl_quads_of_columns(k, words); }

intptr_t bl_planes_scratch(intptr_t m, int bits, intptr_t words)
{
    return bl_min(bl_planes_step(bits, words), (m + 15) / 16 * 16) / 8 * bits * bl_quads_of_rows(words);
}

intptr_t bl_quads_scratch(intptr_t m, intptr_t words)
{
    return bl_min(bl_quads_step(words), (m + 15) / 16 * 16) / 8 * bl_quads_of_rows(words);
}
