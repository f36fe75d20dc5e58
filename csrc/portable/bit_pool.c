/* Max pooling of packed bits: the largest of bits is their OR. Words are vectors already. */
#include "portable.h"

/* The words of the first tap of window p, and the window's sizes inside the image. `channels` of the shape are words. */
static const uint64_t *corner_of(const uint64_t *x, const bl_pool2d *shape, intptr_t p, intptr_t *rows, intptr_t *columns)
{
    const intptr_t positions = shape->out_height * shape->out_width, b = p / positions;
    const intptr_t r = p % positions / shape->out_width * shape->stride, s = p % shape->out_width * shape->stride;
    *rows = bl_min(shape->window, shape->height - r);
    *columns = bl_min(shape->window, shape->width - s);
    return x + ((b * shape->height + r) * shape->width + s) * shape->channels;
}

void bl_bit_pool_portable(const uint64_t *x, const bl_pool2d *shape, uint64_t *out)
{
    const intptr_t words = shape->channels, row = shape->width * words;
    for (intptr_t p = 0; p < shape->batch * shape->out_height * shape->out_width; p++) {
        intptr_t rows, columns;
        const uint64_t *corner = corner_of(x, shape, p, &rows, &columns);
        for (intptr_t j = 0; j < words; j++) {
            uint64_t any = 0;
            for (intptr_t r = 0; r < rows; r++)
                for (intptr_t s = 0; s < columns; s++)
                    any |= corner[r * row + s * words + j];
            out[p * words + j] = any;
        }
    }
}

void bl_bit_pool_places_portable(const uint64_t *x, const bl_pool2d *shape, uint64_t *out)
{
    const intptr_t words = shape->channels, row = shape->width * words, window = shape->window;
    for (intptr_t p = 0; p < shape->batch * shape->out_height * shape->out_width; p++) {
        intptr_t rows, columns;
        const uint64_t *corner = corner_of(x, shape, p, &rows, &columns);
        for (intptr_t j = 0; j < words; j++) {
            uint64_t seen = 0, place[BL_POOL_PLANES] = {0};
            for (intptr_t t = 0; t < rows * window; t++) {
                if (t % window >= columns)
                    continue;
                const uint64_t tap = corner[t / window * row + t % window * words + j], first = tap & ~seen;
                seen |= tap;
                for (int bit = 0; bit < shape->planes; bit++)
                    if (t >> bit & 1)
                        place[bit] |= first;
            }
            for (int bit = 0; bit < shape->planes; bit++)
                out[(p * shape->planes + bit) * words + j] = place[bit];
        }
    }
}
