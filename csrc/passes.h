/* Passes over channels: the statistics of batch norm, its sign and its gradient.

   Plain loops over 64 channels at a time, which every compiler turns into vector code. A variant's passes.c names its
   suffix and its instructions (BL_PASS, BL_PASS_TARGET), brings its own way between comparisons and words of bits
   (reached, keep), and includes this file: so the loops are written once and compiled for each instruction set. They
   wait for memory more than for arithmetic.

   Every operation on floats is one IEEE operation in the order that steps.h gives; nothing is contracted
   (-ffp-contract=off), so all variants give the same bits. */

#define LANES 64

/* Numbers of channels [at, at + width) as int32, zeros behind them. The lanes of a full block are a constant. */
BL_INLINE void load(const void *from, int type, intptr_t at, intptr_t width, int32_t v[LANES])
{
#define LOAD(ctype)                                                                                                    \
    do {                                                                                                               \
        const ctype *x = (const ctype *)from + at;                                                                     \
        if (width == LANES)                                                                                            \
            for (int c = 0; c < LANES; c++)                                                                            \
                v[c] = x[c];                                                                                           \
        else                                                                                                           \
            for (int c = 0; c < LANES; c++)                                                                            \
                v[c] = c < width ? x[c] : 0;                                                                           \
    } while (0)
    if (type == BL_INT8)
        LOAD(int8_t);
    else if (type == BL_INT16)
        LOAD(int16_t);
    else
        LOAD(int32_t);
}

/* The width lowest values, whose type holds them. */
BL_INLINE void store(void *to, int type, intptr_t at, intptr_t width, const int32_t v[LANES])
{
#define STORE(ctype)                                                                                                   \
    do {                                                                                                               \
        ctype *x = (ctype *)to + at;                                                                                   \
        if (width == LANES)                                                                                            \
            for (int c = 0; c < LANES; c++)                                                                            \
                x[c] = (ctype)v[c];                                                                                    \
        else                                                                                                           \
            for (intptr_t c = 0; c < width; c++)                                                                       \
                x[c] = (ctype)v[c];                                                                                    \
    } while (0)
    if (type == BL_INT8)
        STORE(int8_t);
    else if (type == BL_INT16)
        STORE(int16_t);
    else
        STORE(int32_t);
}

/* Bounds or factors of channels, with zeros behind them. */
BL_INLINE void load_floats(const float *from, intptr_t at, intptr_t width, float v[LANES])
{
    for (int c = 0; c < LANES; c++)
        v[c] = c < width ? from[at + c] : 0;
}

#define EACH_BLOCK(channels)                                                                                           \
    for (intptr_t j = 0, width; j < (channels) && (width = bl_min(LANES, (channels) - j)); j += LANES)

/* The sums of rows [start, stop) of a block's channels, and of their squares. */
BL_PASS_TARGET BL_INLINE void sums_of(const void *y, int y_type, intptr_t start, intptr_t stop, intptr_t channels,
                                      intptr_t j, intptr_t width, int64_t sum[LANES], int64_t square[LANES])
{
    for (intptr_t i = start; i < stop; i++) {
        int32_t v[LANES];
        load(y, y_type, i * channels + j, width, v);
        for (int c = 0; c < LANES; c++) {
            sum[c] += v[c];
            square[c] += (int64_t)v[c] * v[c];
        }
    }
}

BL_PASS_TARGET void BL_PASS(channel_sums)(const void *y, int y_type, intptr_t groups, intptr_t rows, intptr_t channels,
                                          int64_t *out)
{
    for (intptr_t g = 0; g < groups; g++)
        EACH_BLOCK(channels)
        {
            int64_t sum[LANES] = {0}, square[LANES] = {0};
            sums_of(y, y_type, g * rows, (g + 1) * rows, channels, j, width, sum, square);
            memcpy(out + 2 * g * channels + j, sum, (size_t)width * sizeof *sum);
            memcpy(out + (2 * g + 1) * channels + j, square, (size_t)width * sizeof *square);
        }
}

BL_PASS_TARGET void BL_PASS(channel_sums_above)(const void *y, int y_type, const int32_t *bound, intptr_t groups,
                                                intptr_t rows, intptr_t channels, int64_t *out)
{
    for (intptr_t g = 0; g < groups; g++)
        EACH_BLOCK(channels)
        {
            int64_t sum[LANES] = {0}, count[LANES] = {0};
            int32_t limit[LANES];
            load(bound, BL_INT32, j, width, limit);
            for (intptr_t i = 0; i < rows; i++) {
                int32_t v[LANES];
                load(y, y_type, (g * rows + i) * channels + j, width, v);
                for (int c = 0; c < LANES; c++) {
                    int32_t above = -(v[c] >= limit[c]);
                    sum[c] += v[c] & above;
                    count[c] -= above;
                }
            }
            memcpy(out + 2 * g * channels + j, sum, (size_t)width * sizeof *sum);
            memcpy(out + (2 * g + 1) * channels + j, count, (size_t)width * sizeof *count);
        }
}

BL_PASS_TARGET void BL_PASS(sign_pass)(const void *y, int y_type, const int32_t *threshold, const int32_t *low,
                                       const int32_t *high, intptr_t rows, intptr_t channels, uint64_t *out)
{
    intptr_t words = bl_words(channels);
    EACH_BLOCK(channels)
    {
        int32_t least[LANES], from[LANES], to[LANES];
        uint64_t in = bl_tail_mask(width);
        load(threshold, BL_INT32, j, width, least);
        load(low, BL_INT32, j, width, from);
        load(high, BL_INT32, j, width, to);
        for (intptr_t i = 0; i < rows; i++) {
            int32_t v[LANES];
            load(y, y_type, i * channels + j, width, v);
            out[2 * i * words + j / 64] = reached(v, least) & in;
            out[(2 * i + 1) * words + j / 64] = reached(v, from) & reached(to, v) & in;
        }
    }
}

/* So many products of int8 and int16 stay within int32: 256 * 2^22 < 2^31. */
#define NARROW_ROWS 256

/* The sums that follow, of int8 and int16, the usual types: in int32, a few rows at a time. */
BL_PASS_TARGET BL_INLINE void narrow_gradient_sums_of(const int8_t *d, const uint64_t *passes, const int16_t *x,
                                                      intptr_t start, intptr_t stop, intptr_t channels, intptr_t j,
                                                      intptr_t width, int64_t sum[LANES], int64_t product[LANES])
{
    intptr_t words = bl_words(channels);
    for (intptr_t from = start; from < stop; from += NARROW_ROWS) {
        int32_t narrow_sum[LANES] = {0}, narrow_product[LANES] = {0};
        for (intptr_t i = from; i < bl_min(from + NARROW_ROWS, stop); i++) {
            int32_t v[LANES], by[LANES];
            load(d, BL_INT8, i * channels + j, width, v);
            keep(passes[i * words + j / 64], v);
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
BL_PASS_TARGET BL_INLINE void gradient_sums_of(const void *d, int d_type, const uint64_t *passes, const void *x,
                                               int x_type, intptr_t start, intptr_t stop, intptr_t channels, intptr_t j,
                                               intptr_t width, int64_t sum[LANES], int64_t product[LANES])
{
    intptr_t words = bl_words(channels);
    if (d_type == BL_INT8 && x_type == BL_INT16) {
        narrow_gradient_sums_of(d, passes, x, start, stop, channels, j, width, sum, product);
        return;
    }
    for (intptr_t i = start; i < stop; i++) {
        int32_t v[LANES], by[LANES];
        load(d, d_type, i * channels + j, width, v);
        keep(passes[i * words + j / 64], v);
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

BL_PASS_TARGET void BL_PASS(gradient_sums)(const void *d, int d_type, const uint64_t *passes, const void *x, int x_type,
                                           intptr_t groups, intptr_t rows, intptr_t channels, int64_t *out)
{
    for (intptr_t g = 0; g < groups; g++)
        EACH_BLOCK(channels)
        {
            int64_t sum[LANES] = {0}, product[LANES] = {0};
            gradient_sums_of(d, d_type, passes, x, x_type, g * rows, (g + 1) * rows, channels, j, width, sum, product);
            memcpy(out + 2 * g * channels + j, sum, (size_t)width * sizeof *sum);
            memcpy(out + (2 * g + 1) * channels + j, product, (size_t)width * sizeof *product);
        }
}

/* The gradient of one row's channels behind a batch norm. */
BL_PASS_TARGET BL_INLINE void gradients(const void *d, int d_type, const uint64_t *passes, const void *x, int x_type,
                                        const float first[LANES], const float second[LANES],
                                        const float factor[LANES], intptr_t channels, intptr_t i, intptr_t j,
                                        intptr_t width, float dy[LANES])
{
    int32_t v[LANES];
    load(d, d_type, i * channels + j, width, v);
    keep(passes[i * bl_words(channels) + j / 64], v);
    if (x_type == BL_UINT64)
        choose(((const uint64_t *)x)[i * bl_words(channels) + j / 64], first, second, dy);
    else {
        int32_t by[LANES];
        load(x, x_type, i * channels + j, width, by);
        for (int c = 0; c < LANES; c++)
            dy[c] = second[c] - (float)by[c] * first[c];
    }
    for (int c = 0; c < LANES; c++)
        dy[c] = (dy[c] + (float)v[c]) * factor[c];
}

BL_PASS_TARGET void BL_PASS(norm_gradient_peak)(const void *d, int d_type, const uint64_t *passes, const void *x,
                                                int x_type, const float *first, const float *second,
                                                const float *factor, intptr_t groups, intptr_t rows, intptr_t channels,
                                                float *peak)
{
    for (intptr_t g = 0; g < groups; g++) {
        /* Magnitudes are ordered like their bits, and NaN comes behind infinity. */
        uint32_t largest[LANES] = {0};
        EACH_BLOCK(channels)
        {
            float a[LANES], b[LANES], by[LANES], dy[LANES];
            load_floats(first, j, width, a);
            load_floats(second, j, width, b);
            load_floats(factor, j, width, by);
            for (intptr_t i = g * rows; i < (g + 1) * rows; i++) {
                uint32_t magnitude[LANES];
                gradients(d, d_type, passes, x, x_type, a, b, by, channels, i, j, width, dy);
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

BL_PASS_TARGET void BL_PASS(norm_gradient)(const void *d, int d_type, const uint64_t *passes, const void *x, int x_type,
                                           const float *first, const float *second, const float *factor, float scale,
                                           int32_t limit, intptr_t rows, intptr_t channels, void *out)
{
    /* Adding 1.5 * 2^23 to a float below 2^22 rounds it to an integer, ties to even. */
    const float most = (float)limit, rounding = 12582912.0f;
    EACH_BLOCK(channels)
    {
        float a[LANES], b[LANES], by[LANES], dy[LANES];
        int32_t code[LANES];
        load_floats(first, j, width, a);
        load_floats(second, j, width, b);
        load_floats(factor, j, width, by);
        for (intptr_t i = 0; i < rows; i++) {
            gradients(d, d_type, passes, x, x_type, a, b, by, channels, i, j, width, dy);
            for (int c = 0; c < LANES; c++) {
                float value = dy[c] / scale;
                value = value < -most ? -most : value;
                value = value > most ? most : value;
                code[c] = (int32_t)((value + rounding) - rounding);
            }
            store(out, d_type, i * channels + j, width, code);
        }
    }
}
