/* Passes over whole arrays between the layers, and the products of a real head. Included behind a variant's lanes.h, whose
   names (lanes.h lists them) it takes. */

/* Whether all is finite: the bits of an exponent are not all ones. An integer comparison, which every instruction set
   has for a vector, and no way out of the loop. */
BL_VARIANT_TARGET BL_INLINE int finite_floats(const uint32_t *bits, intptr_t count)
{
    int32_t infinite = 0;
    for (intptr_t i = 0; i < count; i++)
        infinite |= -((int32_t)(bits[i] & 0x7fffffff) > 0x7f7fffff);
    return !infinite;
}

BL_VARIANT_TARGET BL_INLINE int finite_halves(const uint16_t *bits, intptr_t count)
{
    int16_t infinite = 0;
    for (intptr_t i = 0; i < count; i++)
        infinite |= (int16_t) - ((int16_t)(bits[i] & 0x7fff) > 0x7bff);
    return !infinite;
}

BL_VARIANT_TARGET void BL_VARIANT(all_finite)(const void *x, int x_type, intptr_t rows, intptr_t n, uint8_t *finite)
{
    if (!(x_type == BL_FLOAT32 ? finite_floats(x, rows * n) : finite_halves(x, rows * n)))
        *finite = 0;
}

/* Rows that are looked at before they are packed: what the first-level cache holds. */
#define PACKED_BYTES 8192

BL_VARIANT_TARGET void BL_VARIANT(pack_finite)(const void *x, int x_type, intptr_t rows, intptr_t n, uint64_t *out,
                                               uint8_t *finite)
{
    static const float zero = 0; /* a float16 too */
    const intptr_t bytes = x_type == BL_FLOAT32 ? 4 : 2, some = bl_max(1, PACKED_BYTES / bl_max(1, n * bytes));
    for (intptr_t i = 0; i < rows; i += some) {
        const intptr_t count = bl_min(some, rows - i);
        const char *from = (const char *)x + i * n * bytes;
        BL_VARIANT(all_finite)(from, x_type, count, n, finite);
        BL_VARIANT(pack)(from, x_type, 1, count, n, 0, n * bytes, bytes, &zero, 0, out + i * bl_words(n));
    }
}

/* Values [at, at + width) as floats, times a scale. */
BL_VARIANT_TARGET BL_INLINE void scaled(const void *from, int type, float scale, intptr_t at, intptr_t width,
                                        float v[LANES])
{
#define SCALED(ctype)                                                                                                  \
    do {                                                                                                               \
        const ctype *x = (const ctype *)from + at;                                                                     \
        if (width == LANES)                                                                                            \
            for (int c = 0; c < LANES; c++)                                                                            \
                v[c] = (float)x[c] * scale;                                                                            \
        else                                                                                                           \
            for (intptr_t c = 0; c < width; c++)                                                                       \
                v[c] = (float)x[c] * scale;                                                                            \
    } while (0)
    if (type == BL_INT8)
        SCALED(int8_t);
    else if (type == BL_INT16)
        SCALED(int16_t);
    else
        SCALED(float);
}

BL_VARIANT_TARGET void BL_VARIANT(add_scaled)(const void *a, int a_type, const double *scale_a, const void *b,
                                              int b_type, const double *scale_b, intptr_t rows, intptr_t n, float *out)
{
    const float by_a = (float)*scale_a, by_b = (float)*scale_b;
    EACH_BLOCK(rows * n)
    {
        float first[LANES], second[LANES];
        scaled(a, a_type, by_a, j, width, first);
        scaled(b, b_type, by_b, j, width, second);
        for (intptr_t c = 0; c < width; c++)
            out[j + c] = first[c] + second[c];
    }
}

BL_VARIANT_TARGET void BL_VARIANT(mask_gradient)(const void *d, int d_type, const uint64_t *mask, intptr_t rows,
                                                 intptr_t n, void *out)
{
    const int type = bits_type(d_type);
    for (intptr_t i = 0; i < rows; i++)
        EACH_BLOCK(n)
        {
            int32_t v[LANES];
            load(d, type, i * n + j, width, v);
            keep(mask[i * bl_words(n) + j / 64], v);
            store(out, type, i * n + j, width, v);
        }
}

BL_VARIANT_TARGET void BL_VARIANT(sign_values)(const float *x, double clip, intptr_t rows, intptr_t n, uint64_t *signs,
                                               uint64_t *mask)
{
    const float most = (float)clip;
    int32_t one[LANES];
    for (int c = 0; c < LANES; c++)
        one[c] = 1;
    for (intptr_t i = 0; i < rows; i++)
        EACH_BLOCK(n)
        {
            const intptr_t word = i * bl_words(n) + j / 64;
            float v[LANES];
            int32_t positive[LANES], within[LANES];
            load_floats(x, i * n + j, width, v);
            for (int c = 0; c < LANES; c++) {
                positive[c] = v[c] >= 0;
                within[c] = fabsf(v[c]) <= most;
            }
            signs[word] = reached(positive, one) & bl_tail_mask(width);
            mask[word] = reached(within, one) & bl_tail_mask(width);
        }
}

BL_VARIANT_TARGET void BL_VARIANT(approximate_sign_gradient)(const void *d, int d_type, const double *scale,
                                                             const float *x, intptr_t rows, intptr_t n, float *out)
{
    const float by = (float)*scale;
    EACH_BLOCK(rows * n)
    {
        float v[LANES];
        scaled(d, d_type, by, j, width, v);
        for (intptr_t c = 0; c < width; c++) {
            const float slope = 2 - 2 * fabsf(x[j + c]);
            out[j + c] = v[c] * (slope < 0 ? 0 : slope); /* that of NaN is NaN */
        }
    }
}

/* Terms of a sum whose columns are gathered at a time: 32 KiB at most. */
#define TERMS 256

/* Products are below 2^31, their sums are wider. Of many columns a row of the result at a time, 64 of them; of few, the
   classes of a head, the columns are gathered and each sum runs along one. */
#define INTEGER_PRODUCT(g_type, w_type)                                                                                \
    BL_VARIANT_TARGET BL_INLINE void g_type##_by_few_##w_type(const g_type *g, const w_type *w, intptr_t m, intptr_t k,\
                                                              intptr_t n, int64_t *out)                                \
    {                                                                                                                  \
        int16_t columns[LANES][TERMS];                                                                                 \
        memset(out, 0, (size_t)(m * n) * sizeof *out);                                                                 \
        for (intptr_t from = 0; from < k; from += TERMS) {                                                             \
            const intptr_t count = bl_min(TERMS, k - from);                                                            \
            for (intptr_t t = 0; t < count; t++)                                                                       \
                for (intptr_t j = 0; j < n; j++)                                                                       \
                    columns[j][t] = w[(from + t) * n + j];                                                             \
            for (intptr_t i = 0; i < m; i++)                                                                           \
                for (intptr_t j = 0; j < n; j++) {                                                                     \
                    int64_t sum = 0;                                                                                   \
                    for (intptr_t t = 0; t < count; t++)                                                               \
                        sum += (int32_t)g[i * k + from + t] * columns[j][t];                                           \
                    out[i * n + j] += sum;                                                                             \
                }                                                                                                      \
        }                                                                                                              \
    }                                                                                                                  \
    BL_VARIANT_TARGET BL_INLINE void g_type##_by_##w_type(const g_type *g, const w_type *w, intptr_t m, intptr_t k,    \
                                                          intptr_t n, int64_t *out)                                    \
    {                                                                                                                  \
        for (intptr_t i = 0; i < m; i++)                                                                               \
            EACH_BLOCK(n)                                                                                              \
            {                                                                                                          \
                int64_t sum[LANES] = {0};                                                                              \
                for (intptr_t t = 0; t < k; t++) {                                                                     \
                    const int32_t by = g[i * k + t];                                                                   \
                    const w_type *row = w + t * n + j;                                                                 \
                    if (width == LANES)                                                                                \
                        for (int c = 0; c < LANES; c++)                                                                \
                            sum[c] += by * row[c];                                                                     \
                    else                                                                                               \
                        for (intptr_t c = 0; c < width; c++)                                                           \
                            sum[c] += by * row[c];                                                                     \
                }                                                                                                      \
                memcpy(out + i * n + j, sum, (size_t)width * sizeof *sum);                                             \
            }                                                                                                          \
    }
INTEGER_PRODUCT(int8_t, int8_t)
INTEGER_PRODUCT(int8_t, int16_t)
INTEGER_PRODUCT(int16_t, int8_t)
INTEGER_PRODUCT(int16_t, int16_t)

BL_VARIANT_TARGET void BL_VARIANT(integer_product)(const void *g, int g_type, const void *w, int w_type, intptr_t m,
                                                   intptr_t k, intptr_t n, int64_t *out)
{
#define CHOOSE(g_ctype, w_ctype)                                                                                       \
    (n < LANES ? g_ctype##_by_few_##w_ctype(g, w, m, k, n, out) : g_ctype##_by_##w_ctype(g, w, m, k, n, out))
    if (g_type == BL_INT8 && w_type == BL_INT8)
        CHOOSE(int8_t, int8_t);
    else if (g_type == BL_INT8)
        CHOOSE(int8_t, int16_t);
    else if (w_type == BL_INT8)
        CHOOSE(int16_t, int8_t);
    else
        CHOOSE(int16_t, int16_t);
}
