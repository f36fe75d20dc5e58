/* Where the windows of a convolution lie, and which of their taps are inside an image. */
#ifndef BL_WINDOWS_H
#define BL_WINDOWS_H

#include "variants.h"

/* The taps from `from` to before `to`. */
typedef struct {
    intptr_t from, to;
} bl_taps;

/* The taps of an axis that are inside it, of a window whose first tap is at `start`. */
static inline bl_taps bl_taps_inside(intptr_t start, intptr_t kernel, intptr_t size)
{
    const intptr_t from = bl_max(0, bl_min(kernel, -start));
    return (bl_taps){from, bl_max(from, bl_min(kernel, size - start))};
}

/* Which of `count` ranges of taps one is; count where it is none of them. */
static inline int bl_find_range(const bl_taps *ranges, int count, bl_taps taps)
{
    int i = 0;
    while (i < count && (ranges[i].from != taps.from || ranges[i].to != taps.to))
        i++;
    return i;
}

/* The taps inside of each line, or column, of an output: each range of taps once. Returns how many there are; most + 1
   where they are more than `most`. */
static inline int bl_list_ranges(intptr_t positions, intptr_t stride, intptr_t padding, intptr_t kernel, intptr_t size,
                                 int most, bl_taps *ranges)
{
    int count = 0;
    for (intptr_t i = 0; i < positions; i++) {
        const bl_taps taps = bl_taps_inside(i * stride - padding, kernel, size);
        if (bl_find_range(ranges, count, taps) < count)
            continue;
        if (count == most)
            return most + 1;
        ranges[count++] = taps;
    }
    return count;
}

/* The window of one output pixel: its image, its place in the output, the position of its first tap, and the taps
   inside. */
typedef struct {
    intptr_t image, row, column, top, left;
    bl_taps lines, columns;
} bl_window;

static inline void bl_place_lines(const bl_conv2d *shape, bl_window *w)
{
    w->top = w->row * shape->stride_height - shape->padding_top;
    w->lines = bl_taps_inside(w->top, shape->kernel_height, shape->height);
}

static inline void bl_place_columns(const bl_conv2d *shape, bl_window *w)
{
    w->left = w->column * shape->stride_width - shape->padding_left;
    w->columns = bl_taps_inside(w->left, shape->kernel_width, shape->width);
}

/* Pixels are numbered line by line and image after image. */
static inline bl_window bl_window_of(const bl_conv2d *shape, intptr_t index)
{
    const intptr_t line = index / shape->out_width;
    bl_window w = {.image = line / shape->out_height, .row = line % shape->out_height,
                   .column = index % shape->out_width};
    bl_place_lines(shape, &w);
    bl_place_columns(shape, &w);
    return w;
}

/* The window of the pixel after one, without its divisions, which take as long as a product of few channels. */
static inline bl_window bl_next_window(const bl_conv2d *shape, bl_window w)
{
    if (++w.column == shape->out_width) {
        w.column = 0;
        if (++w.row == shape->out_height) {
            w.row = 0;
            w.image++;
        }
        bl_place_lines(shape, &w);
    }
    bl_place_columns(shape, &w);
    return w;
}

static inline intptr_t bl_count_inside(const bl_window *w)
{
    return (w->lines.to - w->lines.from) * (w->columns.to - w->columns.from);
}

static inline int bl_is_inside(const bl_window *w, intptr_t i, intptr_t j)
{
    return i >= w->lines.from && i < w->lines.to && j >= w->columns.from && j < w->columns.to;
}

#endif
