/* First-layer codes, which are no bits: their products with gradients, and the windows of images of them.

   A lane holds the numbers of a few rows. A variant's codes.c, which includes this file, defines before:

   BL_CODES(name)                     bl_<name>_<variant>;
   BL_CODES_TARGET                    the target attribute of its functions;
   VECTOR, LANES                      a vector of int32, and how many it holds;
   ZERO, LOAD(from), STORE(to, v)     of vectors;
   SPLAT(number)                      a vector of one number;
   TILE, VECTORS                      a tile in registers is so many channels by so many vectors;
   MADD(sum, x, g)                    add the products of two int16 a lane;
   DOT(sum, x, g)                     where there is such an instruction, of four uint8 (x) with four int8 (g). */

#include "windows.h"

#define PRODUCT_OF_GROUPS codes_product_of_pairs
#define GROUP 2
#define GROUP_DOT MADD
#define CHANNELS 120
#include "codes_product.h"

#ifdef DOT
#define PRODUCT_OF_GROUPS codes_product_of_quads
#define GROUP 4
#define GROUP_DOT DOT
#define CHANNELS 264
#include "codes_product.h"
#endif

void BL_CODES(codes_grad_weight)(const void *g, int g_type, const int8_t *codes, intptr_t m, intptr_t channels,
                                 int64_t n, intptr_t first, intptr_t k, int accumulate, void *out, int out_type)
{
#ifdef DOT
    if (g_type == BL_INT8) {
        codes_product_of_quads(g, g_type, codes, m, channels, (intptr_t)n, first, k, accumulate, out, out_type);
        return;
    }
#endif
    codes_product_of_pairs(g, g_type, codes, m, channels, (intptr_t)n, first, k, accumulate, out, out_type);
}

/* memcpy of the row of a window, which is mostly a few bytes: a call takes longer than they do. */
BL_INLINE void codes_copy(int8_t *out, const int8_t *x, intptr_t bytes)
{
    if (bytes > 16)
        memcpy(out, x, (size_t)bytes);
    else if (bytes >= 8) {
        memcpy(out, x, 8);
        memcpy(out + bytes - 8, x + bytes - 8, 8);
    } else
        for (intptr_t i = 0; i < bytes; i++)
            out[i] = x[i];
}

void BL_CODES(unfold_codes)(const int8_t *x, const bl_conv2d *shape, int8_t *out)
{
    const intptr_t channels = (intptr_t)shape->n, row_bytes = shape->kernel_width * channels;
    for (intptr_t image = 0; image < shape->batch; image++, x += shape->height * shape->width * channels)
        for (intptr_t line = 0; line < shape->out_height; line++)
            for (intptr_t place = 0; place < shape->out_width; place++) {
                const intptr_t left = place * shape->stride_width - shape->padding_left;
                const bl_taps inside = bl_taps_inside(left, shape->kernel_width, shape->width);
                for (intptr_t i = 0; i < shape->kernel_height; i++, out += row_bytes) {
                    const intptr_t row = line * shape->stride_height + i - shape->padding_top;
                    if (row < 0 || row >= shape->height) {
                        memset(out, 0, (size_t)row_bytes);
                        continue;
                    }
                    if (inside.from > 0)
                        memset(out, 0, (size_t)(inside.from * channels));
                    codes_copy(out + inside.from * channels, x + (row * shape->width + left + inside.from) * channels,
                               (inside.to - inside.from) * channels);
                    if (inside.to < shape->kernel_width)
                        memset(out + inside.to * channels, 0, (size_t)((shape->kernel_width - inside.to) * channels));
                }
            }
}
