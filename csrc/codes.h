/* First-layer codes, which are no bits: their products with gradients, and the windows of images of them.

   A variant's codes.c names its suffix and its instructions (BL_CODES, BL_CODES_TARGET) and its vectors of int32
   (VECTOR, LANES, ZERO, LOAD, STORE, SPLAT; a tile in registers is TILE channels by VECTORS of them), and includes this
   file. A lane holds the numbers of a few rows: MADD(sum, x, g) adds the products of two int16, and DOT(sum, x, g), where
   there is such an instruction, those of four uint8 (x) with four int8 (g). */

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

void BL_CODES(unfold_codes)(const int8_t *x, const bl_conv2d *shape, int8_t *out)
{
    const intptr_t channels = (intptr_t)shape->n, row_bytes = shape->kernel_width * channels;
    for (intptr_t image = 0; image < shape->batch; image++, x += shape->height * shape->width * channels)
        for (intptr_t line = 0; line < shape->out_height; line++)
            for (intptr_t place = 0; place < shape->out_width; place++) {
                const intptr_t left = place * shape->stride_width - shape->pad_left;
                const intptr_t j0 = bl_min(bl_max(-left, 0), shape->kernel_width);
                const intptr_t j1 = bl_max(j0, bl_min(shape->kernel_width, shape->width - left));
                for (intptr_t i = 0; i < shape->kernel_height; i++, out += row_bytes) {
                    const intptr_t row = line * shape->stride_height + i - shape->pad_top;
                    if (row < 0 || row >= shape->height) {
                        memset(out, 0, (size_t)row_bytes);
                        continue;
                    }
                    memset(out, 0, (size_t)(j0 * channels));
                    memcpy(out + j0 * channels, x + (row * shape->width + left + j0) * channels,
                           (size_t)((j1 - j0) * channels));
                    memset(out + j1 * channels, 0, (size_t)((shape->kernel_width - j1) * channels));
                }
            }
}
