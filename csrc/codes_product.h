/* The product of gradients with first-layer codes, a group of rows of both in a lane of 32 bits. In a group of four the
   codes are unsigned, code + 128, so that 128 times the sum of the gradients is too much. codes.h includes this file for
   each kind of group, and beside what stands there defines before:

   PRODUCT_OF_GROUPS        the name of the function that this becomes;
   GROUP                    the rows of a group, 2 or 4;
   GROUP_DOT(sum, x, g)     add the products of a group;
   CHANNELS                 of gradients that are gathered at a time.

   It leaves none of these defined. */

/* Terms of a block: sums of int16 times int8 reach 2^22, so a block's stay below 2^30 in int32. */
#define TERMS 128
#define GROUPS (TERMS / GROUP)
#define COLUMNS 64

#define NAMED_(function, group) function##_##group
#define NAMED(function, group) NAMED_(function, group)

#if GROUP == 2
#define LANE(type, c, flip)                                                                                            \
    (int32_t)((uint16_t)(((const type *)row[0])[c]) | (uint32_t)(uint16_t)(((const type *)row[1])[c]) << 16)
#else
#define LANE(type, c, flip)                                                                                            \
    (int32_t)(((uint32_t)((const uint8_t *)row[0])[c] | (uint32_t)((const uint8_t *)row[1])[c] << 8 |                 \
               (uint32_t)((const uint8_t *)row[2])[c] << 16 | (uint32_t)((const uint8_t *)row[3])[c] << 24) ^         \
              flip)
#endif

/* to[c] = numbers c of the rows of a group. */
BL_CODES_TARGET BL_INLINE void NAMED(gather, GROUP)(int type, const char *const row[GROUP], intptr_t count,
                                                    uint32_t flip, int32_t *to)
{
    (void)flip; /* of groups of four alone, whose codes are made unsigned */
    if (type == BL_INT8)
        for (intptr_t c = 0; c < count; c++)
            to[c] = LANE(int8_t, c, flip);
    else
        for (intptr_t c = 0; c < count; c++)
            to[c] = LANE(int16_t, c, flip);
}

/* sums[r][c] = the products of channel r with column c, of `width` and some more, over all groups of a block. */
BL_CODES_TARGET BL_INLINE void NAMED(codes_tile, GROUP)(const int32_t *g, const int32_t *codes, intptr_t groups,
                                                        intptr_t width, int32_t *sums)
{
    for (intptr_t at = 0; at < width; at += VECTORS * LANES) {
        VECTOR sum[TILE][VECTORS];
        for (int r = 0; r < TILE; r++)
            for (int v = 0; v < VECTORS; v++)
                sum[r][v] = ZERO;
        for (intptr_t p = 0; p < groups; p++) {
            VECTOR x[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                x[v] = LOAD(codes + p * COLUMNS + at + v * LANES);
            for (int r = 0; r < TILE; r++)
                for (int v = 0; v < VECTORS; v++)
                    sum[r][v] = GROUP_DOT(sum[r][v], x[v], SPLAT(g[p * CHANNELS + r]));
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
                to[c] += sums[c] - excess;                                                                             \
        else                                                                                                           \
            for (intptr_t c = 0; c < width; c++)                                                                       \
                to[c] = sums[c] - excess;                                                                              \
    } while (0)
BL_CODES_TARGET BL_INLINE void NAMED(hand_on, GROUP)(const int32_t *sums, int32_t excess, intptr_t width, int add,
                                                     void *out, int out_type, intptr_t at)
{
    if (out_type == BL_INT32)
        HAND_ON(int32_t);
    else
        HAND_ON(int64_t);
}

BL_CODES_TARGET static void PRODUCT_OF_GROUPS(const void *g, int g_type, const int8_t *codes, intptr_t m,
                                              intptr_t channels, intptr_t n, intptr_t first, intptr_t k,
                                              int accumulate, void *out, int out_type)
{
    /* Lanes past the edges keep what was there, of which nothing is handed on: zeros at first. */
    int32_t left[GROUPS * CHANNELS] = {0}, right[GROUPS * COLUMNS] = {0}, sums[TILE * COLUMNS], excess[CHANNELS];
    static const int16_t nothing[CHANNELS];
    const intptr_t size = g_type == BL_INT8 ? 1 : 2;
    /* Without terms the sums are zeros all the same. */
    for (intptr_t from = 0; from < bl_max(m, 1); from += TERMS) {
        const intptr_t terms = bl_min(TERMS, m - from), groups = (terms + GROUP - 1) / GROUP;
        for (intptr_t o = 0; o < k; o += CHANNELS) {
            const intptr_t rows = bl_min(CHANNELS, k - o);
            const char *row[GROUP];
            memset(excess, 0, sizeof excess);
            for (intptr_t p = 0; p < groups; p++) {
                for (intptr_t i = 0; i < GROUP; i++)
                    row[i] = GROUP * p + i < terms
                                 ? (const char *)g + ((from + GROUP * p + i) * channels + first + o) * size
                                 : (const char *)nothing;
                NAMED(gather, GROUP)(g_type, row, rows, 0, left + p * CHANNELS);
                for (int i = 0; GROUP == 4 && i < GROUP; i++)
                    for (intptr_t c = 0; c < rows; c++)
                        excess[c] += 128 * ((const int8_t *)row[i])[c];
            }
            for (intptr_t j = 0; j < n; j += COLUMNS) {
                const intptr_t width = bl_min(COLUMNS, n - j);
                for (intptr_t p = 0; p < groups; p++) {
                    /* A row that is not there meets gradients of 0, so any other takes its place. */
                    for (intptr_t i = 0; i < GROUP; i++)
                        row[i] = (const char *)codes + (from + bl_min(GROUP * p + i, terms - 1)) * n + j;
                    NAMED(gather, GROUP)(BL_INT8, row, width, 0x80808080u, right + p * COLUMNS);
                }
                for (intptr_t r = 0; r < rows; r += TILE) {
                    NAMED(codes_tile, GROUP)(left + r, right, groups, width, sums);
                    for (intptr_t i = 0; i < TILE && r + i < rows; i++)
                        NAMED(hand_on, GROUP)(sums + i * COLUMNS, excess[r + i], width, accumulate || from, out,
                                              out_type, (o + r + i) * n + j);
                }
            }
        }
    }
}

#undef PRODUCT_OF_GROUPS
#undef GROUP
#undef GROUP_DOT
#undef CHANNELS
#undef TERMS
#undef GROUPS
#undef COLUMNS
#undef LANE
#undef HAND_ON
#undef NAMED
#undef NAMED_
