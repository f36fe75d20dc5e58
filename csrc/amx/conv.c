/* Convolutions of bits on the tile unit: windows move past the kernels in panels. */
#include "windows.h"

#ifdef BL_TILES

/* Terms of 32 columns that are kept: for each class of windows, all strips that stay. 64 KiB. */
#define TERM_STRIPS 512

typedef struct {
    bl_product base;
    bl_tile_windows windows;
    bl_bit_columns columns;
    intptr_t first; /* strip */
    int32_t terms[TERM_STRIPS][BL_STRIP];
} convolution;

/* n less twice the set bits of each column over the taps inside; padding of +1 or -1 is inside. */
static void count_strips(bl_product *product, intptr_t from, intptr_t to)
{
    convolution *p = (convolution *)product;
    const bl_conv2d *shape = p->windows.shape;
    int classes = shape->pad_value ? 1 : bl_classes(&p->windows);
    bl_taps all_lines = {0, shape->kernel_height}, all_columns = {0, shape->kernel_width};
    p->first = from;
    for (intptr_t j = from; j < to; j++)
        for (int c = 0; c < classes; c++) {
            bl_taps lines = shape->pad_value ? all_lines : p->windows.lines[c / p->windows.column_ranges];
            bl_taps columns = shape->pad_value ? all_columns : p->windows.columns[c % p->windows.column_ranges];
            int32_t *terms = p->terms[(j - from) * classes + c];
            memset(terms, 0, sizeof p->terms[0]);
            for (intptr_t i = lines.from; i < lines.to; i++) {
                intptr_t row = i * shape->kernel_width * shape->words;
                bl_count_strip(&p->columns, j, row + columns.from * shape->words, row + columns.to * shape->words,
                               terms);
            }
            int64_t n = shape->n * (lines.to - lines.from) * (columns.to - columns.from);
            for (int o = 0; o < BL_STRIP; o++)
                terms[o] = (int32_t)((uint32_t)n - 2 * (uint32_t)terms[o]);
        }
}

static void find(bl_product *product, intptr_t row_strip, intptr_t column_strip, const int32_t *terms[BL_STRIP])
{
    convolution *p = (convolution *)product;
    const int padded = p->windows.shape->pad_value != 0;
    const intptr_t classes = padded ? 1 : bl_classes(&p->windows);
    const intptr_t rows = bl_min(BL_STRIP, p->windows.base.count - row_strip * BL_STRIP);
    for (intptr_t r = 0; r < rows; r++)
        terms[r] = p->terms[(column_strip - p->first) * classes + (padded ? 0 : p->windows.class_of[r])];
}

/* Windows that are cut in too many ways, as those of kernels as large as the images, are no work for tiles. */
void bl_xnor_conv2d_amx(const uint64_t *x, const uint64_t *w, int w_panels, const uint8_t *recoded,
                        const bl_conv2d *shape, const int32_t *threshold, void *out, int out_type, uint8_t *scratch)
{
    const bl_xnor_result result = bl_result_of(0, threshold, out, out_type, shape->out_channels);
    const intptr_t window = shape->kernel_height * shape->kernel_width * shape->words;
    convolution p;
    if (!w_panels || !bl_windows_of(x, shape, &p.windows) || !bl_engine_is_ready()) {
        bl_xnor_conv2d_avx512(x, w, w_panels, recoded, shape, threshold, out, out_type, scratch);
        return;
    }
    p.columns = bl_columns_of_panels(w, shape->out_channels, window);
    p.base = (bl_product){.rows = &p.windows.base,
                          .columns = &p.columns.base,
                          .result = &result,
                          .steps = window,
                          .most = TERM_STRIPS / bl_max(1, shape->pad_value ? 1 : bl_classes(&p.windows)),
                          .rows_move = 1,
                          .begin = count_strips,
                          .find = find};
    BL_TILES_CONFIGURE();
    bl_multiply_strips(&p.base);
    BL_TILES_RELEASE();
}

#endif
