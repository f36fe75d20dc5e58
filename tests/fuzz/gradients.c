/* Products of gradients with bits, whole and in bit planes, and of first-layer codes. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {.at = data, .left = size};
    const int64_t m = number(&in, 0, 70), k = number(&in, 0, 70), n = number(&in, 0, 400), words = bl_words(n);
    const int type = (int[]){BL_INT8, BL_INT16, BL_FLOAT32}[number(&in, 0, 2)], add = (int)number(&in, 0, 1);
    const int width = (int)number(&in, 1, 8);
    const intptr_t first = number(&in, 0, k), some = number(&in, 0, k - first);
    const int64_t result = type == BL_INT16 ? 8 : 4;
    const void *g = type == BL_FLOAT32 ? (void *)whole(&in, m * k) : filled(&in, (size_t)(m * k * size_of_type(type)));
    const uint64_t *w = packed(&in, k, n), *x = packed(&in, m, n), *mask = packed(&in, some, n);
    COMPARE("grad_input", &in, (size_t)(m * n * result), bl_grad_input(v, g, type, w, m, k, n, to));
    const size_t weights = (size_t)(some * n * result);
    COMPARE("grad_weight", &in, weights,
            (weights ? (void)memset(to, 0, weights) : (void)0,
             bl_grad_weight(v, g, type, x, m, k, n, first, some, add, to)));
    const void *bounds = type == BL_FLOAT32 ? (void *)whole(&in, some) : filled(&in, (size_t)some * 8);
    COMPARE("grad_weight_sign", &in, (size_t)(some * words) * 8,
            bl_grad_weight_sign(v, g, type, x, m, k, n, first, some, bounds, mask, (void *)to));

    const int8_t *codes = filled(&in, (size_t)(m * n)), *narrow = filled(&in, (size_t)(m * k));
    COMPARE("codes_grad_weight", &in, (size_t)(some * n) * 4,
            (some * n ? (void)memset(to, 0, (size_t)(some * n) * 4) : (void)0,
             bl_codes_grad_weight(v, narrow, BL_INT8, codes, m, k, n, first, some, add, to, BL_INT32)));

    const int64_t terms = bl_words(k);
    const size_t planes_size = (size_t)(m * width * terms) * 8;
    uint8_t *outside = empty(&in, (size_t)bl_max(m, some));
    COMPARE("split_planes", &in, planes_size, bl_split_planes(v, narrow, m, k, width, (void *)to, outside));
    COMPARE("split_columns", &in, (size_t)(some * width * bl_words(m)) * 8,
            bl_split_columns(v, narrow, m, k, first, some, width, (void *)to, outside));
    uint64_t *planes = empty(&in, planes_size), *transposed = empty(&in, (size_t)(n * terms) * 8);
    uint64_t *panels = empty(&in, (size_t)(terms * ((n + 7) / 8 * 8)) * 8);
    bl_split_planes(PORTABLE, narrow, m, k, width, planes, outside);
    bl_transpose_bits(PORTABLE, w, k, n, transposed);
    bl_pack_panels(PORTABLE, transposed, n, terms, panels);
    const size_t sums = (size_t)(m * n) * 4;
    COMPARE("planes_matmul", &in, sums,
            (sums ? (void)memset(to, 0, sums) : (void)0,
             bl_planes_matmul(v, planes, width, panels, NULL, m, n, terms, k, add, (void *)to, NULL)));
    done(&in);
    return 0;
}
