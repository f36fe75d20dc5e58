/* Largest magnitudes, codes and random words. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {.at = data, .left = size};
    const intptr_t outer = number(&in, 0, 4), channels = number(&in, 0, 20), inner = number(&in, 0, 200);
    const int type = (int[]){BL_INT8, BL_INT16, BL_INT32, BL_INT64, BL_FLOAT32}[number(&in, 0, 4)];
    const int bits = (int)number(&in, 2, 16), at_random = (int)number(&in, 0, 1);
    const int64_t values = outer * channels * inner;
    const int32_t high = (1 << (bits - 1)) - 1;
    const int out_type = high <= 127 ? BL_INT8 : BL_INT16;
    const void *x = type == BL_FLOAT32 ? (void *)whole(&in, values) : filled(&in, (size_t)(values * size_of_type(type)));
    COMPARE("largest_magnitude", &in, (size_t)(channels * size_of_type(type)),
            bl_largest_magnitude(v, x, type, outer, channels, inner, to));

    const uint16_t *steps = filled(&in, (size_t)channels * 2);
    float *scale = empty(&in, (size_t)channels * 4);
    double *wide = empty(&in, (size_t)channels * 8);
    int64_t *zero = empty(&in, (size_t)channels * 8);
    for (intptr_t c = 0; c < channels; c++) {
        wide[c] = scale[c] = (float)(1 + steps[c]) / 256;
        zero[c] = steps[c] % 256 - 128;
    }
    const uint32_t *noise = at_random ? filled(&in, (size_t)values * 4) : NULL;
    COMPARE("quantize_linear", &in, (size_t)(values * size_of_type(out_type)),
            bl_quantize_linear(v, x, type, type == BL_FLOAT32 ? (void *)scale : wide, zero, outer, channels, inner,
                               -high - 1, high, noise, to, out_type));

    uint32_t key[4];
    take(&in, key, sizeof key);
    const int64_t start = number(&in, 0, 60000), stride = number(&in, 0, 60000);
    COMPARE("random_words", &in, (size_t)(outer * inner) * 4,
            bl_random_words(v, key, start, stride, outer, inner, (void *)to));
    done(&in);
    return 0;
}
