/* Convolutions of any geometry, and their gradients. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {.at = data, .left = size};
    bl_conv2d s;
    s.n = number(&in, 0, 200);
    s.words = bl_words(s.n);
    s.batch = number(&in, 0, 2);
    s.height = number(&in, 0, 7), s.width = number(&in, 0, 7);
    s.out_height = number(&in, 0, 6), s.out_width = number(&in, 0, 6);
    s.out_channels = number(&in, 0, 70);
    s.kernel_height = number(&in, 1, 4), s.kernel_width = number(&in, 1, 4);
    s.stride_height = number(&in, 1, 3), s.stride_width = number(&in, 1, 3);
    s.padding_top = number(&in, 0, 4), s.padding_left = number(&in, 0, 4);
    s.pad_value = (int)number(&in, -1, 1);
    static const int types[] = {BL_INT16, BL_INT32, BL_FLOAT32};
    const int type = types[number(&in, 0, 2)], g_type = (int[]){BL_INT8, BL_INT16, BL_FLOAT32}[number(&in, 0, 2)];
    const int add = (int)number(&in, 0, 1);
    const intptr_t first = number(&in, 0, s.out_channels), some = number(&in, 0, s.out_channels - first);
    const int64_t taps = s.kernel_height * s.kernel_width, window = taps * s.words;
    const int64_t pixels = s.batch * s.out_height * s.out_width, inside = s.batch * s.height * s.width;
    const uint64_t *x = packed(&in, inside, s.n), *w = packed(&in, s.out_channels * taps, s.n);
    const int32_t *threshold = filled(&in, (size_t)s.out_channels * 4);
    const size_t values = (size_t)(pixels * s.out_channels * size_of_type(type));
    const size_t signs = (size_t)(pixels * bl_words(s.out_channels)) * 8;
    uint64_t *panels = empty(&in, (size_t)(window * ((s.out_channels + 7) / 8 * 8)) * 8);
    bl_pack_panels(PORTABLE, w, s.out_channels, window, panels);

    for (int on_panels = 0; on_panels < 2; on_panels++) {
        const uint64_t *right = on_panels ? panels : w;
        COMPARE("xnor_conv2d", &in, values, bl_xnor_conv2d(v, x, right, on_panels, NULL, &s, NULL, to, type, NULL));
        COMPARE("xnor_conv2d_sign", &in, signs,
                bl_xnor_conv2d(v, x, right, on_panels, NULL, &s, threshold, to, BL_UINT64, NULL));
    }
    for (int v = 0; v < PORTABLE; v++)
        if (has(v, "recode_panels") && window <= BL_QUADS_WORDS) {
            uint8_t *columns = empty(&in, (size_t)bl_quads_bytes(s.out_channels, window)), *out = empty(&in, values);
            uint8_t *scratch = empty(&in, (size_t)bl_quads_scratch(BL_QUADS_PIXELS, window));
            uint8_t *wanted = empty(&in, values);
            bl_recode_panels(v, panels, s.out_channels, window, columns);
            bl_xnor_conv2d(v, x, panels, 1, columns, &s, NULL, out, type, scratch);
            bl_xnor_conv2d(PORTABLE, x, w, 0, NULL, &s, NULL, wanted, type, NULL);
            same("xnor_conv2d, recoded", v, out, wanted, values);
        }

    const int64_t count = pixels * s.out_channels, result = g_type == BL_INT16 ? 8 : 4;
    const void *g = g_type == BL_FLOAT32 ? (void *)whole(&in, count) : filled(&in, (size_t)(count * size_of_type(g_type)));
    COMPARE("conv2d_grad_input", &in, (size_t)(inside * s.n * result), bl_conv2d_grad_input(v, g, g_type, w, &s, to));
    const size_t weights = (size_t)(some * taps * s.n * result), bits = (size_t)(some * window) * 8;
    /* What is added to is 0: nonsense may be NaN, or overflow. */
    COMPARE("conv2d_grad_weight", &in, weights,
            (weights ? (void)memset(to, 0, weights) : (void)0,
             bl_conv2d_grad_weight(v, g, g_type, x, &s, first, some, add, to)));
    const uint64_t *mask = packed(&in, some * taps, s.n);
    const void *bounds = g_type == BL_FLOAT32 ? (void *)whole(&in, some) : filled(&in, (size_t)some * 8);
    COMPARE("conv2d_grad_weight_sign", &in, bits,
            bl_conv2d_grad_weight_sign(v, g, g_type, x, &s, first, some, bounds, mask, (void *)to));
    const int8_t *codes = filled(&in, (size_t)(inside * s.n));
    COMPARE("unfold_codes", &in, (size_t)(pixels * taps * s.n), bl_unfold_codes(v, codes, &s, (void *)to));
    done(&in);
    return 0;
}
