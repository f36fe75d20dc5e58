/* Batch norm on integer sums, and the last part of that on real values, forward: the sums of channels, signs, values. Included behind a variant's lanes.h, whose
   names (lanes.h lists them) it takes. */

BL_VARIANT_TARGET void BL_VARIANT(channel_sums)(const void *y, int y_type, intptr_t groups, intptr_t rows,
                                                intptr_t channels, int64_t *out)
{
    for (intptr_t g = 0; g < groups; g++)
        EACH_BLOCK(channels)
        {
            int64_t sum[LANES] = {0}, square[LANES] = {0};
            for (intptr_t i = g * rows; i < (g + 1) * rows; i++) {
                int32_t v[LANES];
                load(y, y_type, i * channels + j, width, v);
                for (int c = 0; c < LANES; c++) {
                    sum[c] += v[c];
                    square[c] += (int64_t)v[c] * v[c];
                }
            }
            memcpy(out + 2 * g * channels + j, sum, (size_t)width * sizeof *sum);
            memcpy(out + (2 * g + 1) * channels + j, square, (size_t)width * sizeof *square);
        }
}

BL_VARIANT_TARGET void BL_VARIANT(channel_sums_above)(const void *y, int y_type, const int32_t *bound, intptr_t groups,
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

BL_VARIANT_TARGET void BL_VARIANT(norm_signs)(const void *y, int y_type, const int32_t *bounds, intptr_t rows,
                                              intptr_t channels, uint64_t *signs, uint64_t *mask)
{
    intptr_t words = bl_words(channels);
    EACH_BLOCK(channels)
    {
        int32_t least[LANES], from[LANES], to[LANES];
        uint64_t in = bl_tail_mask(width);
        load(bounds, BL_INT32, j, width, least);
        load(bounds, BL_INT32, channels + j, width, from);
        load(bounds, BL_INT32, 2 * channels + j, width, to);
        for (intptr_t i = 0; i < rows; i++) {
            int32_t v[LANES];
            load(y, y_type, i * channels + j, width, v);
            signs[i * words + j / 64] = reached(v, least) & in;
            mask[i * words + j / 64] = reached(v, from) & reached(to, v) & in;
        }
    }
}

/* A whole row at a time: no words of bits, and the factors of a row stay in the first-level cache. */
#define NORM_VALUES(ctype)                                                                                             \
    BL_VARIANT_TARGET BL_INLINE void ctype##_norm_values(const ctype *y, float scale, const float *centre,             \
                                                         const float *bias, intptr_t rows, intptr_t channels,          \
                                                         float *restrict out)                                          \
    {                                                                                                                  \
        for (intptr_t i = 0; i < rows; i++)                                                                            \
            for (intptr_t c = 0; c < channels; c++)                                                                    \
                out[i * channels + c] =                                                                                \
                    ((float)y[i * channels + c] * scale - centre[c]) * centre[channels + c] + bias[c];                 \
    }
NORM_VALUES(int16_t)
NORM_VALUES(int32_t)
NORM_VALUES(float)

BL_VARIANT_TARGET void BL_VARIANT(norm_values)(const void *y, int y_type, double scale, const float *centre,
                                               const float *bias, intptr_t rows, intptr_t channels, float *out)
{
    if (y_type == BL_INT16)
        int16_t_norm_values(y, (float)scale, centre, bias, rows, channels, out);
    else if (y_type == BL_FLOAT32)
        float_norm_values(y, (float)scale, centre, bias, rows, channels, out);
    else
        int32_t_norm_values(y, (float)scale, centre, bias, rows, channels, out);
}
