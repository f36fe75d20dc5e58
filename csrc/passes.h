/* Passes over channels: the statistics of batch norm, its sign and its gradient, and max pooling.

   Plain loops over 64 channels at a time, which every compiler turns into vector code. A variant's passes.c names its
   suffix and its instructions (BL_PASS, BL_PASS_TARGET), brings its own way between comparisons and words of bits
   (reached, keep), and includes this file: so the loops are written once and compiled for each instruction set. They
   wait for memory more than for arithmetic.

   Every operation on floats is one IEEE operation in the order that kernels.h gives; nothing is contracted
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

BL_PASS_TARGET void BL_PASS(channel_sums)(const void *y, int y_type, intptr_t groups, intptr_t rows, intptr_t channels,
                                          int64_t *out)
{
    for (intptr_t g = 0; g < groups; g++)
        EACH_BLOCK(channels)
        {
            int64_t sum[LANES] = {0}, square[LANES] = {0};
            for (intptr_t i = 0; i < rows; i++) {
                int32_t v[LANES];
                load(y, y_type, (g * rows + i) * channels + j, width, v);
                for (int c = 0; c < LANES; c++) {
                    sum[c] += v[c];
                    square[c] += (int64_t)v[c] * v[c];
                }
            }
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

BL_PASS_TARGET void BL_PASS(gradient_sums)(const void *d, int d_type, const uint64_t *passes, const void *x, int x_type,
                                           intptr_t groups, intptr_t rows, intptr_t channels, int64_t *out)
{
    intptr_t words = bl_words(channels);
    for (intptr_t g = 0; g < groups; g++)
        EACH_BLOCK(channels)
        {
            int64_t sum[LANES] = {0}, product[LANES] = {0};
            for (intptr_t i = g * rows; i < (g + 1) * rows; i++) {
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

/* The largest values of the windows, or the bits of the first place that holds each; the other is NULL. */
BL_PASS_TARGET BL_INLINE void pool(const void *x, int x_type, const bl_pool2d *shape, void *out, uint64_t *places)
{
    intptr_t channels = shape->channels, words = bl_words(channels), row = shape->width * channels;
    intptr_t positions = shape->out_height * shape->out_width;
    for (intptr_t p = 0; p < shape->batch * positions; p++) {
        intptr_t b = p / positions, r = p % positions / shape->out_width, s = p % shape->out_width;
        intptr_t corner = (b * shape->height + r * shape->stride) * row + s * shape->stride * channels;
        EACH_BLOCK(channels)
        {
            int32_t best[LANES], v[LANES];
            uint64_t place[BL_POOL_PLANES] = {0};
            load(x, x_type, corner + j, width, best);
            for (intptr_t t = 1; t < shape->window * shape->window; t++) {
                load(x, x_type, corner + t / shape->window * row + t % shape->window * channels + j, width, v);
                if (places) {
                    uint64_t larger = ~reached(best, v);
                    for (int bit = 0; bit < shape->planes; bit++)
                        place[bit] = t >> bit & 1 ? place[bit] | larger : place[bit] & ~larger;
                }
                for (int c = 0; c < LANES; c++)
                    best[c] = best[c] > v[c] ? best[c] : v[c];
            }
            if (out)
                store(out, x_type, p * channels + j, width, best);
            else
                for (int bit = 0; bit < shape->planes; bit++)
                    places[(p * shape->planes + bit) * words + j / 64] = place[bit];
        }
    }
}

BL_PASS_TARGET void BL_PASS(max_pool)(const void *x, int x_type, const bl_pool2d *shape, void *out)
{
    pool(x, x_type, shape, out, NULL);
}

BL_PASS_TARGET void BL_PASS(max_pool_places)(const void *x, int x_type, const bl_pool2d *shape, uint64_t *out)
{
    pool(x, x_type, shape, NULL, out);
}

BL_PASS_TARGET void BL_PASS(max_pool_gradient)(const void *d, int d_type, const uint64_t *places, const bl_pool2d *shape,
                                               void *out, int out_type)
{
    intptr_t channels = shape->channels, words = bl_words(channels), row = shape->width * channels;
    intptr_t positions = shape->out_height * shape->out_width;
    intptr_t bytes = out_type == BL_INT8 ? 1 : out_type == BL_INT16 ? 2 : 4;
    memset(out, 0, (size_t)(shape->batch * shape->height * row * bytes));
    for (intptr_t p = 0; p < shape->batch * positions; p++) {
        intptr_t b = p / positions, r = p % positions / shape->out_width, s = p % shape->out_width;
        intptr_t corner = (b * shape->height + r * shape->stride) * row + s * shape->stride * channels;
        EACH_BLOCK(channels)
        {
            int32_t v[LANES], chosen[LANES], sum[LANES];
            /* A float that is kept or not is an integer to this pass, until windows overlap and add up. */
            load(d, d_type == BL_FLOAT32 ? BL_INT32 : d_type, p * channels + j, width, v);
            for (intptr_t t = 0; t < shape->window * shape->window; t++) {
                uint64_t here = ~UINT64_C(0);
                for (int bit = 0; bit < shape->planes; bit++) {
                    uint64_t plane = places[(p * shape->planes + bit) * words + j / 64];
                    here &= t >> bit & 1 ? plane : ~plane;
                }
                intptr_t at = corner + t / shape->window * row + t % shape->window * channels + j;
                memcpy(chosen, v, sizeof v);
                keep(here, chosen);
                if (shape->stride < shape->window) {
                    load(out, out_type == BL_FLOAT32 ? BL_INT32 : out_type, at, width, sum);
                    if (out_type == BL_FLOAT32) {
                        float a[LANES], c[LANES];
                        memcpy(a, sum, sizeof a);
                        memcpy(c, chosen, sizeof c);
                        for (int k = 0; k < LANES; k++)
                            a[k] += c[k];
                        memcpy(chosen, a, sizeof a);
                    } else
                        for (int k = 0; k < LANES; k++)
                            chosen[k] += sum[k];
                }
                store(out, out_type == BL_FLOAT32 ? BL_INT32 : out_type, at, width, chosen);
            }
        }
    }
}
