/* Integers of few bits to bit planes. */
#include "portable.h"

#define TARGET
#define transpose bl_transpose_portable

static int split(const int8_t *values, int bits, uint64_t *out, intptr_t stride);

#include "../planes.h"
#include "../windows.h"

static int split(const int8_t *values, int bits, uint64_t *out, intptr_t stride)
{
    const bl_code_range range = bl_code_range_of(bits);
    uint8_t flags[64], high = 0;
    if (bits == 1) {
        for (int j = 0; j < 64; j++) {
            high |= values[j] != 1 && values[j] != -1;
            flags[j] = values[j] == 1;
        }
        *out = bl_pack_flags(flags, 64);
        return high;
    }
    for (int j = 0; j < 64; j++)
        high |= (uint8_t)((uint8_t)values[j] + range.add) & range.high;
    for (int p = 0; p < bits; p++) {
        for (int j = 0; j < 64; j++)
            flags[j] = (uint8_t)values[j] >> p & 1;
        out[p * stride] = bl_pack_flags(flags, 64);
    }
    return high != 0;
}

void bl_split_planes_portable(const int8_t *g, intptr_t m, intptr_t k, int bits, uint64_t *out, uint8_t *outside)
{
    split_rows(g, m, k, bits, out, outside);
}

void bl_split_columns_portable(const int8_t *g, intptr_t m, intptr_t channels, intptr_t first, intptr_t k, int bits,
                               uint64_t *out, uint8_t *outside)
{
    split_transposed(g, m, channels, first, k, bits, out, outside);
}

void bl_plane_windows_portable(const uint64_t *planes, int bits, const bl_conv2d *shape, intptr_t first, intptr_t count,
                               uint64_t *out)
{
    intptr_t words = shape->words, window = shape->kernel_height * shape->kernel_width * words;
    for (intptr_t index = first; index < first + count; index++, out += bits * window) {
        const bl_window at = bl_window_of(shape, index);
        uint64_t *to = out;
        for (intptr_t i = 0; i < shape->kernel_height; i++)
            for (intptr_t j = 0; j < shape->kernel_width; j++, to += words) {
                const int inside = bl_is_inside(&at, i, j);
                const intptr_t line = at.image * shape->height + at.top + i;
                const uint64_t *from = inside ? planes + (line * shape->width + at.left + j) * bits * words : NULL;
                /* A few words each: loops, which compile to less than calls of memcpy. */
                for (intptr_t p = 0; p < bits; p++)
                    for (intptr_t t = 0; t < words; t++)
                        to[p * window + t] = inside ? from[p * words + t] : 0;
            }
    }
}
