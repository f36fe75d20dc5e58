/* The windows of a convolution as rows of bits, expanded from the images as they lie. */
#ifndef BL_AMX_WINDOWS_H
#define BL_AMX_WINDOWS_H

#include "../windows.h"
#include "engine.h"

#ifdef BL_TILES

/* Windows that reach over the borders of an image in the same way have the same taps inside. The ranges of lines, and
   of columns, of taps that are inside, each once: a class of windows is one of both. */
#define BL_RANGES 16
typedef struct {
    bl_operand base;
    const uint64_t *images;
    const bl_conv2d *shape;
    bl_taps lines[BL_RANGES], columns[BL_RANGES];
    int line_ranges, column_ranges;
    /* Of the strip that is open: of each window where its first tap lies, in words from the first image, its ranges and
       its class; and whether any has taps outside. */
    intptr_t at[BL_STRIP];
    bl_taps inside_lines[BL_STRIP], inside_columns[BL_STRIP];
    int16_t class_of[BL_STRIP];
    int cut;
} bl_tile_windows;

/* 0 where there are more ranges than there is room for. */
int bl_windows_of(const uint64_t *images, const bl_conv2d *shape, bl_tile_windows *windows);

static inline int bl_classes(const bl_tile_windows *windows) { return windows->line_ranges * windows->column_ranges; }

#endif
#endif
