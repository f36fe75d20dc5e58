/* Products of bits with bits: on words, on panels, and on recoded panels where a variant has these. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {.at = data, .left = size};
    const int64_t m = number(&in, 0, 70), k = number(&in, 0, 140), n = number(&in, 0, 700), words = bl_words(n);
    static const int types[] = {BL_INT16, BL_INT32, BL_FLOAT32};
    const int type = types[number(&in, 0, 2)];
    const uint64_t *a = packed(&in, m, n), *b = packed(&in, k, n);
    const int32_t *threshold = filled(&in, (size_t)k * 4);
    const size_t values = (size_t)(m * k * size_of_type(type)), signs = (size_t)(m * bl_words(k)) * 8;
    uint64_t *panels = empty(&in, (size_t)(words * ((k + 7) / 8 * 8)) * 8);

    COMPARE("pack_panels", &in, (size_t)(words * ((k + 7) / 8 * 8)) * 8, bl_pack_panels(v, b, k, words, (void *)to));
    bl_pack_panels(PORTABLE, b, k, words, panels);
    for (int on_panels = 0; on_panels < 2; on_panels++) {
        const uint64_t *right = on_panels ? panels : b;
        for (int mismatches = 0; mismatches < 2; mismatches++)
            COMPARE("xnor_matmul", &in, values,
                    bl_xnor_matmul(v, a, right, on_panels, NULL, m, k, words, n, mismatches, NULL, to, type, NULL));
        COMPARE("xnor_matmul_sign", &in, signs,
                bl_xnor_matmul(v, a, right, on_panels, NULL, m, k, words, n, 0, threshold, to, BL_UINT64, NULL));
    }

    for (int v = 0; v < PORTABLE; v++)
        if (has(v, "recode_panels")) {
            uint8_t *columns = empty(&in, (size_t)bl_quads_bytes(k, words)), *out = empty(&in, values);
            uint8_t *wanted = empty(&in, values), *scratch = empty(&in, (size_t)bl_quads_scratch(m, words));
            uint8_t *bits = empty(&in, signs), *wanted_bits = empty(&in, signs);
            bl_recode_panels(v, panels, k, words, columns);
            bl_xnor_matmul(v, a, panels, 1, columns, m, k, words, n, 0, NULL, out, type, scratch);
            bl_xnor_matmul(PORTABLE, a, b, 0, NULL, m, k, words, n, 0, NULL, wanted, type, NULL);
            same("xnor_matmul, recoded", v, out, wanted, values);
            bl_xnor_matmul(v, a, panels, 1, columns, m, k, words, n, 0, threshold, bits, BL_UINT64, scratch);
            bl_xnor_matmul(PORTABLE, a, b, 0, NULL, m, k, words, n, 0, threshold, wanted_bits, BL_UINT64, NULL);
            same("xnor_matmul_sign, recoded", v, bits, wanted_bits, signs);
        }
    done(&in);
    return 0;
}
