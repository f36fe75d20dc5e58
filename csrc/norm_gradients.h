/* Batch norm on integer sums, backward: sums of the gradient, its largest magnitude, the gradient itself. Included
   behind a variant's lanes.h, whose names (lanes.h lists them) it takes. */

/* So many products of int8 and int16 stay within int32: 256 * 2^22 < 2^31. */
#define NARROW_ROWS 256

/* The sums that follow, of int8 and int16, the usual types: in int32, a few rows at a time. */
BL_VARIANT_TARGET BL_INLINE void narrow_gradient_sums_of(const int8_t *d, const uint64_t *mask, const int16_t *x,
                                                         intptr_t start, intptr_t stop, intptr_t channels, intptr_t j,
                                                         intptr_t width, int64_t sum[LANES], int64_t product[LANES])
{
    /* Without a mask every row has the same word: no branch between the rows. */
    const uint64_t all = ~UINT64_C(0), *word = mask ? mask + j / 64 : &all;
    const intptr_t words = mask ? bl_words(channels) : 0;
    for (intptr_t from = start; from < stop; from += NARROW_ROWS) {
        int32_t narrow_sum[LANES] = {0}, narrow_product[LANES] = {0};
        for (intptr_t i = from; i < bl_min(from + NARROW_ROWS, stop); i++) {
            int32_t v[LANES], by[LANES];
            load(d, BL_INT8, i * channels + j, width, v);
            keep(word[i * words], v);
            load(x, BL_INT16, i * channels + j, width, by);
            for (int c = 0; c < LANES; c++) {
                narrow_sum[c] += v[c];
                narrow_product[c] += v[c] * by[c];
            }
        }
        for (int c = 0; c < LANES; c++) {
            sum[c] += narrow_sum[c];
            product[c] += narrow_product[c];
        }
    }
}

/* The sums of rows [start, stop) of a block's gradient, and of its products with x. */
BL_VARIANT_TARGET BL_INLINE void gradient_sums_of(const void *d, int d_type, const uint64_t *mask, const void *x,
                                                  int x_type, intptr_t start, intptr_t stop, intptr_t channels,
                                                  intptr_t j, intptr_t width, int64_t sum[LANES],
                                                  int64_t product[LANES])
{
    intptr_t words = bl_words(channels);
    if (d_type == BL_INT8 && x_type == BL_INT16) {
        narrow_gradient_sums_of(d, mask, x, start, stop, channels, j, width, sum, product);
        return;
    }
    for (intptr_t i = start; i < stop; i++) {
        int32_t v[LANES], by[LANES];
        load(d, d_type, i * channels + j, width, v);
        keep(mask_word(mask, i * words + j / 64), v);
        for (int c = 0; c < LANES; c++)
            sum[c] += v[c];
        if (x_type == BL_UINT64) {
            keep(((const uint64_t *)x)[i * words + j / 64], v);
            for (int c = 0; c < LANES; c++)
                product[c] += v[c];
            continue;
        }
        load(x, x_type, i * channels + j, width, by);
        for (int c = 0; c < LANES; c++)
            product[c] += (int64_t)v[c] * by[c];
    }
}

/* A row's floats, 0 off the mask. */
BL_VARIANT_TARGET BL_INLINE void kept_floats(const float *d, const uint64_t *mask, intptr_t channels, intptr_t i,
                                             intptr_t j, intptr_t width, float kept[LANES])
{
    int32_t v[LANES];
    load(d, BL_INT32, i * channels + j, width, v);
    keep(mask_word(mask, i * bl_words(channels) + j / 64), v);
    memcpy(kept, v, sizeof v);
}

/* The same of floats, row by row in double. A clear bit of x is a factor of 0, so that what is not finite shows. */
BL_VARIANT_TARGET BL_INLINE void float_gradient_sums_of(const float *d, const uint64_t *mask, const void *x, int x_type,
                                                        intptr_t start, intptr_t stop, intptr_t channels, intptr_t j,
                                                        intptr_t width, double sum[LANES], double product[LANES])
{
    for (intptr_t i = start; i < stop; i++) {
        float v[LANES];
        int32_t by[LANES];
        kept_floats(d, mask, channels, i, j, width, v);
        if (x_type == BL_UINT64) {
            for (int c = 0; c < LANES; c++)
                by[c] = 1;
            keep(((const uint64_t *)x)[i * bl_words(channels) + j / 64], by);
        } else
            load(x, x_type, i * channels + j, width, by);
        for (int c = 0; c < LANES; c++) {
            sum[c] += (double)v[c];
            product[c] += (double)v[c] * (double)by[c];
        }
    }
}

BL_VARIANT_TARGET void BL_VARIANT(gradient_sums)(const void *d, int d_type, const uint64_t *mask, const void *x,
                                                 int x_type, intptr_t groups, intptr_t rows, intptr_t channels,
                                                 void *out)
{
    for (intptr_t g = 0; g < groups; g++)
        EACH_BLOCK(channels)
        {
            const intptr_t start = g * rows, stop = (g + 1) * rows, at = 2 * g * channels + j;
            if (d_type == BL_FLOAT32) {
                double sum[LANES] = {0}, product[LANES] = {0};
                float_gradient_sums_of(d, mask, x, x_type, start, stop, channels, j, width, sum, product);
                memcpy((double *)out + at, sum, (size_t)width * sizeof *sum);
                memcpy((double *)out + at + channels, product, (size_t)width * sizeof *product);
            } else {
                int64_t sum[LANES] = {0}, product[LANES] = {0};
                gradient_sums_of(d, d_type, mask, x, x_type, start, stop, channels, j, width, sum, product);
                memcpy((int64_t *)out + at, sum, (size_t)width * sizeof *sum);
                memcpy((int64_t *)out + at + channels, product, (size_t)width * sizeof *product);
            }
        }
}

/* What the statistics add to the gradient of one row's channels. */
BL_VARIANT_TARGET BL_INLINE void additions(const void *x, int x_type, const float first[LANES],
                                           const float second[LANES], intptr_t channels, intptr_t i, intptr_t j,
                                           intptr_t width, float e[LANES])
{
    if (x_type == BL_UINT64)
        choose(((const uint64_t *)x)[i * bl_words(channels) + j / 64], first, second, e);
    else if (x_type == BL_FLOAT32) {
        float by[LANES];
        load_floats(x, i * channels + j, width, by);
        for (int c = 0; c < LANES; c++)
            e[c] = second[c] - by[c] * first[c];
    } else {
        int32_t by[LANES];
        load(x, x_type, i * channels + j, width, by);
        for (int c = 0; c < LANES; c++)
            e[c] = second[c] - (float)by[c] * first[c];
    }
}

/* The gradient of one row's channels behind a batch norm, of integers. */
BL_VARIANT_TARGET BL_INLINE void gradients(const void *d, int d_type, const uint64_t *mask, const void *x, int x_type,
                                           const float first[LANES], const float second[LANES],
                                           const float factor[LANES], intptr_t channels, intptr_t i, intptr_t j,
                                           intptr_t width, float dy[LANES])
{
    int32_t v[LANES];
    load(d, d_type, i * channels + j, width, v);
    keep(mask_word(mask, i * bl_words(channels) + j / 64), v);
    additions(x, x_type, first, second, channels, i, j, width, dy);
    for (int c = 0; c < LANES; c++)
        dy[c] = (dy[c] + (float)v[c]) * factor[c];
}

BL_VARIANT_TARGET void BL_VARIANT(norm_gradient_peak)(const void *d, int d_type, const uint64_t *mask, const void *x,
                                                      int x_type, const float *factors, intptr_t groups, intptr_t rows,
                                                      intptr_t channels, float *peak)
{
    for (intptr_t g = 0; g < groups; g++) {
        /* Magnitudes are ordered like their bits, and NaN comes behind infinity. */
        uint32_t largest[LANES] = {0};
        EACH_BLOCK(channels)
        {
            float a[LANES], b[LANES], by[LANES], dy[LANES];
            load_floats(factors, j, width, a);
            load_floats(factors, channels + j, width, b);
            load_floats(factors, 2 * channels + j, width, by);
            for (intptr_t i = g * rows; i < (g + 1) * rows; i++) {
                uint32_t magnitude[LANES];
                gradients(d, d_type, mask, x, x_type, a, b, by, channels, i, j, width, dy);
                memcpy(magnitude, dy, sizeof dy);
                for (int c = 0; c < LANES; c++) {
                    magnitude[c] &= 0x7fffffff;
                    largest[c] = largest[c] > magnitude[c] ? largest[c] : magnitude[c];
                }
            }
        }
        uint32_t all = 0;
        for (int c = 0; c < LANES; c++)
            all = all > largest[c] ? all : largest[c];
        memcpy(peak + g, &all, sizeof all);
    }
}

BL_VARIANT_TARGET BL_INLINE void float_norm_gradient(const float *d, const uint64_t *mask, const void *x, int x_type,
                                                     const float *factors, intptr_t rows, intptr_t channels, float *out)
{
    EACH_BLOCK(channels)
    {
        float a[LANES], b[LANES], by[LANES], dy[LANES], kept[LANES];
        load_floats(factors, j, width, a);
        load_floats(factors, channels + j, width, b);
        load_floats(factors, 2 * channels + j, width, by);
        for (intptr_t i = 0; i < rows; i++) {
            kept_floats(d, mask, channels, i, j, width, kept);
            additions(x, x_type, a, b, channels, i, j, width, dy);
            for (int c = 0; c < LANES; c++)
                dy[c] = (dy[c] + kept[c]) * by[c];
            memcpy(out + i * channels + j, dy, (size_t)width * sizeof *dy);
        }
    }
}

BL_VARIANT_TARGET void BL_VARIANT(norm_gradient)(const void *d, int d_type, const uint64_t *mask, const void *x,
                                                 int x_type, const float *factors, const float *step, int32_t limit,
                                                 intptr_t rows, intptr_t channels, void *out)
{
    if (d_type == BL_FLOAT32) {
        float_norm_gradient(d, mask, x, x_type, factors, rows, channels, out);
        return;
    }
    /* Adding 1.5 * 2^23 to a float below 2^22 rounds it to an integer, ties to even. */
    const float most = (float)limit, scale = *step, rounding = 12582912.0f;
    EACH_BLOCK(channels)
    {
        float a[LANES], b[LANES], by[LANES], dy[LANES];
        int32_t code[LANES];
        load_floats(factors, j, width, a);
        load_floats(factors, channels + j, width, b);
        load_floats(factors, 2 * channels + j, width, by);
        for (intptr_t i = 0; i < rows; i++) {
            gradients(d, d_type, mask, x, x_type, a, b, by, channels, i, j, width, dy);
            for (int c = 0; c < LANES; c++) {
                float value = dy[c] / scale;
                value = value > -most ? value : -most; /* NaN too, which no integer is */
                value = value < most ? value : most;
                code[c] = (int32_t)((value + rounding) - rounding);
            }
            store(out, d_type, i * channels + j, width, code);
        }
    }
}
