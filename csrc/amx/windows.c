/* The windows of a convolution as rows of bits, expanded from the images as they lie: nothing is gathered before. */
#include "windows.h"

#ifdef BL_TILES

/* The windows of 32 pixels, numbered line by line and image after image. */
static void open_windows(bl_operand *operand, intptr_t strip)
{
    bl_tile_windows *w = (bl_tile_windows *)operand;
    const bl_conv2d *shape = w->shape;
    intptr_t first = strip * BL_STRIP, count = bl_min(BL_STRIP, operand->count - first);
    intptr_t column = first % shape->out_width, line = first / shape->out_width % shape->out_height;
    intptr_t image = first / shape->out_width / shape->out_height;
    int line_range = -1, last_column_range = 0;
    w->cut = 0;
    for (intptr_t r = 0; r < count; r++) {
        intptr_t top = line * shape->stride_height - shape->padding_top;
        intptr_t left = column * shape->stride_width - shape->padding_left;
        w->at[r] = ((image * shape->height + top) * shape->width + left) * shape->words;
        w->inside_lines[r] = bl_taps_inside(top, shape->kernel_height, shape->height);
        w->inside_columns[r] = bl_taps_inside(left, shape->kernel_width, shape->width);
        /* Neighbours mostly have the same range. */
        if (line_range < 0)
            line_range = bl_find_range(w->lines, w->line_ranges, w->inside_lines[r]);
        if (bl_find_range(&w->columns[last_column_range], 1, w->inside_columns[r]))
            last_column_range = bl_find_range(w->columns, w->column_ranges, w->inside_columns[r]);
        w->class_of[r] = (int16_t)(line_range * w->column_ranges + last_column_range);
        w->cut |= w->inside_lines[r].to - w->inside_lines[r].from < shape->kernel_height;
        w->cut |= w->inside_columns[r].to - w->inside_columns[r].from < shape->kernel_width;
        if (++column == shape->out_width) {
            column = 0;
            line_range = -1;
            if (++line == shape->out_height) {
                line = 0;
                image++;
            }
        }
    }
}

BL_TARGET_AMX static void expand_windows(const bl_operand *operand, intptr_t strip, intptr_t step, char *to)
{
    const bl_tile_windows *w = (const bl_tile_windows *)operand;
    const bl_conv2d *shape = w->shape;
    intptr_t count = bl_min(BL_STRIP, operand->count - strip * BL_STRIP);
    /* A window has at most BL_PANEL_WINDOW words; short divisions are faster. */
    uint32_t tap = (uint32_t)step / (uint32_t)shape->words, word = (uint32_t)step % (uint32_t)shape->words;
    int32_t line = (int32_t)(tap / (uint32_t)shape->kernel_width);
    int32_t column = (int32_t)(tap % (uint32_t)shape->kernel_width);
    const uint64_t *from = w->images;
    intptr_t offset = (line * shape->width + column) * shape->words + (intptr_t)word;
    const __m512i one = _mm512_set1_epi8(1);
    if (!w->cut) {
        for (intptr_t r = 0; r < count; r++, to += BL_TILE_BYTES)
            _mm512_store_si512(to, _mm512_maskz_mov_epi8(from[w->at[r] + offset], one));
        return;
    }
    uint64_t ones = (intptr_t)word + 1 < shape->words ? ~UINT64_C(0) : bl_tail_mask(shape->n);
    uint64_t pad = shape->pad_value > 0 ? ones : 0;
    for (intptr_t r = 0; r < count; r++, to += BL_TILE_BYTES) {
        bl_taps lines = w->inside_lines[r], columns = w->inside_columns[r];
        int in = line >= lines.from && line < lines.to && column >= columns.from && column < columns.to;
        const uint64_t *at = in ? from + (w->at[r] + offset) : &pad;
        _mm512_store_si512(to, _mm512_maskz_mov_epi8(*at, one));
    }
}

int bl_windows_of(const uint64_t *images, const bl_conv2d *shape, bl_tile_windows *windows)
{
    windows->base = (bl_operand){.count = shape->batch * shape->out_height * shape->out_width,
                                 .open = open_windows,
                                 .expand = expand_windows};
    windows->images = images;
    windows->shape = shape;
    windows->line_ranges = bl_list_ranges(shape->out_height, shape->stride_height, shape->padding_top,
                                          shape->kernel_height, shape->height, BL_RANGES, windows->lines);
    windows->column_ranges = bl_list_ranges(shape->out_width, shape->stride_width, shape->padding_left,
                                            shape->kernel_width, shape->width, BL_RANGES, windows->columns);
    return windows->line_ranges <= BL_RANGES && windows->column_ranges <= BL_RANGES;
}

#endif
