/* First-layer codes, which are no bits: their products with gradients, and the windows of images of them.

   A variant's codes.c names its suffix and its instructions (BL_CODES, BL_CODES_TARGET) and its vectors of int32
   (VECTOR, LANES, ZERO, LOAD, STORE, SPLAT and MADD; a tile in registers is TILE channels by VECTORS of them), and
   includes this file. Two rows of gradients and two of codes are multiplied at a time, as pairs of int16: MADD(sum,
   pairs, pair) adds both products. */

/* Sums of a block: int16 times int8 reaches 2^22, so a block's stay below 2^30 in int32. */
#define PAIRS 64
/* Channels whose pairs are kept at a time: some whole tiles. */
#define CHANNELS 48
#define COLUMNS 64

/* to[2 c] and to[2 c + 1] = numbers c of two rows; zeros for a second row that is not there, and past `count`. */
#define INTERLEAVE(type)                                                                                               \
    do {                                                                                                               \
        const type *a = first, *b = second;                                                                            \
        if (b)                                                                                                         \
            for (intptr_t c = 0; c < count; c++) {                                                                     \
                to[2 * c] = a[c];                                                                                      \
                to[2 * c + 1] = b[c];                                                                                  \
            }                                                                                                          \
        else                                                                                                           \
            for (intptr_t c = 0; c < count; c++) {                                                                     \
                to[2 * c] = a[c];                                                                                      \
                to[2 * c + 1] = 0;                                                                                     \
            }                                                                                                          \
    } while (0)
BL_INLINE void interleave(int type, const void *first, const void *second, intptr_t count, intptr_t room, int16_t *to)
{
    if (type == BL_INT8)
        INTERLEAVE(int8_t);
    else
        INTERLEAVE(int16_t);
    if (count < room)
        memset(to + 2 * count, 0, (size_t)(room - count) * 2 * sizeof *to);
}

/* sums[r][c] = the products of channel r with column c, of `width` and some more, over all pairs of a block. */
BL_CODES_TARGET BL_INLINE void tile(const int16_t *g, const int16_t *codes, intptr_t pairs, intptr_t width,
                                    int32_t *sums)
{
    for (intptr_t at = 0; at < width; at += VECTORS * LANES) {
        VECTOR sum[TILE][VECTORS];
        for (int r = 0; r < TILE; r++)
            for (int v = 0; v < VECTORS; v++)
                sum[r][v] = ZERO;
        for (intptr_t p = 0; p < pairs; p++) {
            VECTOR x[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                x[v] = LOAD(codes + 2 * (p * COLUMNS + at + v * LANES));
            for (int r = 0; r < TILE; r++) {
                int32_t pair;
                memcpy(&pair, g + 2 * (p * CHANNELS + r), sizeof pair);
                for (int v = 0; v < VECTORS; v++)
                    sum[r][v] = MADD(sum[r][v], x[v], SPLAT(pair));
            }
        }
        for (int r = 0; r < TILE; r++)
            for (int v = 0; v < VECTORS; v++)
                STORE(sums + r * COLUMNS + at + v * LANES, sum[r][v]);
    }
}

#define HAND_ON(type)                                                                                                  \
    do {                                                                                                               \
        type *to = (type *)out + at;                                                                                   \
        if (add)                                                                                                       \
            for (intptr_t c = 0; c < width; c++)                                                                       \
                to[c] += sums[c];                                                                                      \
        else                                                                                                           \
            for (intptr_t c = 0; c < width; c++)                                                                       \
                to[c] = sums[c];                                                                                       \
    } while (0)
BL_INLINE void hand_on(const int32_t *sums, intptr_t width, int add, void *out, int out_type, intptr_t at)
{
    if (out_type == BL_INT32)
        HAND_ON(int32_t);
    else
        HAND_ON(int64_t);
}

BL_CODES_TARGET void BL_CODES(codes_grad_weight)(const void *g, int g_type, const int8_t *codes, intptr_t m,
                                                 intptr_t channels, int64_t n, intptr_t first, intptr_t k,
                                                 int accumulate, void *out, int out_type)
{
    int16_t left[2 * PAIRS * CHANNELS], right[2 * PAIRS * COLUMNS];
    int32_t sums[TILE * COLUMNS];
    const intptr_t size = g_type == BL_INT8 ? 1 : 2;
    /* Without terms the sums are zeros all the same. */
    for (intptr_t from = 0; from < bl_max(m, 1); from += 2 * PAIRS) {
        const intptr_t terms = bl_min(2 * PAIRS, m - from), pairs = (terms + 1) / 2;
        for (intptr_t o = 0; o < k; o += CHANNELS) {
            const intptr_t rows = bl_min(CHANNELS, k - o);
            for (intptr_t p = 0; p < pairs; p++) {
                const char *row = (const char *)g + ((from + 2 * p) * channels + first + o) * size;
                const char *next = 2 * p + 1 < terms ? row + channels * size : NULL;
                interleave(g_type, row, next, rows, CHANNELS, left + 2 * p * CHANNELS);
            }
            for (intptr_t j = 0; j < n; j += COLUMNS) {
                const intptr_t width = bl_min(COLUMNS, (intptr_t)n - j);
                for (intptr_t p = 0; p < pairs; p++) {
                    const int8_t *row = codes + (from + 2 * p) * (intptr_t)n + j;
                    interleave(BL_INT8, row, 2 * p + 1 < terms ? row + n : NULL, width, COLUMNS,
                               right + 2 * p * COLUMNS);
                }
                for (intptr_t r = 0; r < rows; r += TILE) {
                    tile(left + 2 * r, right, pairs, width, sums);
                    for (intptr_t i = 0; i < TILE && r + i < rows; i++)
                        hand_on(sums + i * COLUMNS, width, accumulate || from, out, out_type,
                                (o + r + i) * (intptr_t)n + j);
                }
            }
        }
    }
}

void BL_CODES(unfold_codes)(const int8_t *x, const bl_conv2d *shape, int8_t *out)
{
    const intptr_t channels = (intptr_t)shape->n, row_bytes = shape->kernel_width * channels;
    for (intptr_t image = 0; image < shape->batch; image++, x += shape->height * shape->width * channels)
        for (intptr_t line = 0; line < shape->out_height; line++)
            for (intptr_t place = 0; place < shape->out_width; place++) {
                const intptr_t left = place * shape->stride_width - shape->pad_left;
                const intptr_t j0 = bl_min(bl_max(-left, 0), shape->kernel_width);
                const intptr_t j1 = bl_max(j0, bl_min(shape->kernel_width, shape->width - left));
                for (intptr_t i = 0; i < shape->kernel_height; i++, out += row_bytes) {
                    const intptr_t row = line * shape->stride_height + i - shape->pad_top;
                    if (row < 0 || row >= shape->height) {
                        memset(out, 0, (size_t)row_bytes);
                        continue;
                    }
                    memset(out, 0, (size_t)(j0 * channels));
                    memcpy(out + j0 * channels, x + (row * shape->width + left + j0) * channels,
                           (size_t)((j1 - j0) * channels));
                    memset(out + j1 * channels, 0, (size_t)((shape->kernel_width - j1) * channels));
                }
            }
}
