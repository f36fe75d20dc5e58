/* Packing of any type with any strides, and what goes from bits to bits. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {.at = data, .left = size};
    const int64_t outer = number(&in, 0, 3), rows = number(&in, 0, 20), n = number(&in, 0, 300), words = bl_words(n);
    const int type = (int)number(&in, 0, 10), each = (int)number(&in, 0, 1);
    static const int results[] = {BL_INT8, BL_INT16, BL_INT32, BL_INT64, BL_FLOAT32, BL_FLOAT64, BL_FLOAT16};
    const int result = results[number(&in, 0, 6)];
    const int64_t item = size_of_type(type);

    /* Axes in any order, with gaps, forwards or backwards. */
    const int order = (int)number(&in, 0, 5), turned = (int)number(&in, 0, 7);
    static const int orders[6][3] = {{2, 1, 0}, {2, 0, 1}, {1, 2, 0}, {1, 0, 2}, {0, 2, 1}, {0, 1, 2}};
    const int64_t sizes[3] = {outer, rows, n};
    int64_t strides[3], span = item, first = 0;
    for (int i = 0; i < 3; i++) {
        const int axis = orders[order][i];
        strides[axis] = span * number(&in, 1, 2);
        span = strides[axis] * (sizes[axis] ? sizes[axis] : 1);
        if (turned >> axis & 1 && sizes[axis]) {
            first += strides[axis] * (sizes[axis] - 1);
            strides[axis] = -strides[axis];
        }
    }
    if (span > 1 << 22)
        return 0;
    const uint8_t *x = filled(&in, (size_t)span);
    const void *threshold = filled(&in, (size_t)(item * (each ? n : 1)));
    COMPARE("pack", &in, (size_t)(outer * rows * words) * 8,
            bl_pack(v, x + first, type, outer, rows, n, strides[0], strides[1], strides[2], threshold, each,
                    (void *)to));

    const uint64_t *bits = packed(&in, rows, n);
    COMPARE("unpack", &in, (size_t)(rows * n * size_of_type(result)), bl_unpack(v, bits, rows, n, to, result));
    COMPARE("transpose_bits", &in, (size_t)(n * bl_words(rows)) * 8, bl_transpose_bits(v, bits, rows, n, (void *)to));
    COMPARE("popcount", &in, (size_t)rows * 8,
            bl_popcount(v, bits, 1, rows, words, 0, 8 * words, 8, (void *)to));
    done(&in);
    return 0;
}
