/* Products of gradients with bits on the tile unit. Bits are expanded to bytes, as for the dot instructions, and a
   vector of that panel is a row of a tile: 16 columns of 4 terms. int8 gradients are loaded from the matrix as they
   lie. Four tiles of sums, 32 rows by 32 columns, take a load a product. */
#include "amx.h"

#ifdef BL_TILES

#define ROWS BL_TILE_ROWS
#define STEP BL_TILE_BYTES /* int8 terms of a row of a tile */

/* Bytes from a row of sums, or of a tile in a panel, to the next. */
#define SUMS_STRIDE ((intptr_t)(BL_COLUMNS * sizeof(int32_t)))
#define PANEL_STRIDE ((intptr_t)BL_PANEL_BYTES)

/* Gradients of 16 rows: all steps but a last, partial one from at, that one from tail; and where their sums go. */
typedef struct {
    const char *at, *tail;
    intptr_t stride, tail_stride;
    int32_t *to;
} tile_rows;

/* The next panel, which is expanded some groups of four terms after each step of this one's products. */
typedef struct {
    void (*expand)(const uint64_t *bits, intptr_t fours, void *panel);
    const uint64_t *bits;
    char *panel;
    intptr_t fours, done, each;
} expansion;

static inline void expand_some(expansion *e, intptr_t most)
{
    intptr_t count = bl_min(most, e->fours - e->done);
    if (count <= 0)
        return;
    e->expand(e->bits + 4 * e->done, count, e->panel + e->done * BL_PANEL_BYTES);
    e->done += count;
}

/* `fours` groups to expand during the products of so many rows and steps, `passes` times. */
static inline expansion begin(void (*expand)(const uint64_t *, intptr_t, void *), const uint64_t *bits, void *panel,
                              intptr_t fours, intptr_t rows, intptr_t steps, intptr_t passes)
{
    const intptr_t all = passes * steps * (BL_COLUMNS / 32) * ((rows + 2 * ROWS - 1) / (2 * ROWS));
    return (expansion){expand, bits, panel, bits ? fours : 0, 0, bits && all ? (fours + all - 1) / all : 0};
}

/* The sums of 16 rows, or of 32 where `pair`, for all columns. `whole` and `all` steps; a_signed, add and pair are
   constants where it is inlined. */
BL_TARGET_AMX BL_INLINE void multiply(int a_signed, int add, int pair, const tile_rows *a, const char *panel,
                                      intptr_t whole, intptr_t all, expansion *next)
{
    for (int column = 0; column < BL_COLUMNS; column += 32, panel += 32 * BL_GROUP_BYTES) {
        int32_t *upper = a[0].to + column, *lower = a[1].to + column;
        if (add) {
            BL_TILE_LOAD(0, upper, SUMS_STRIDE);
            BL_TILE_LOAD(1, upper + 16, SUMS_STRIDE);
            if (pair) {
                BL_TILE_LOAD(2, lower, SUMS_STRIDE);
                BL_TILE_LOAD(3, lower + 16, SUMS_STRIDE);
            }
        } else {
            BL_TILE_ZERO(0);
            BL_TILE_ZERO(1);
            BL_TILE_ZERO(2);
            BL_TILE_ZERO(3);
        }
#define DOT(sums, a, b)                                                                                                \
    do {                                                                                                               \
        if (a_signed)                                                                                                  \
            BL_TILE_DOT_SIGNED(sums, a, b);                                                                            \
        else                                                                                                           \
            BL_TILE_DOT_UNSIGNED(sums, a, b);                                                                          \
    } while (0)
        for (intptr_t s = 0; s < all; s++) {
            const char *columns = panel + s * BL_TILE_ROWS * PANEL_STRIDE;
            int rest = s == whole;
            BL_TILE_LOAD(6, columns, PANEL_STRIDE);
            BL_TILE_LOAD(7, columns + BL_TILE_BYTES, PANEL_STRIDE);
            BL_TILE_LOAD(4, rest ? a[0].tail : a[0].at + s * STEP, rest ? a[0].tail_stride : a[0].stride);
            DOT(0, 4, 6);
            DOT(1, 4, 7);
            if (pair) {
                BL_TILE_LOAD(5, rest ? a[1].tail : a[1].at + s * STEP, rest ? a[1].tail_stride : a[1].stride);
                DOT(2, 5, 6);
                DOT(3, 5, 7);
            }
            expand_some(next, next->each);
        }
        BL_TILE_STORE(0, upper, SUMS_STRIDE);
        BL_TILE_STORE(1, upper + 16, SUMS_STRIDE);
        if (pair) {
            BL_TILE_STORE(2, lower, SUMS_STRIDE);
            BL_TILE_STORE(3, lower + 16, SUMS_STRIDE);
        }
    }
}

BL_TARGET_AMX BL_INLINE void multiply_signed(int add, int pair, const tile_rows *a, const char *panel, intptr_t whole,
                                             intptr_t all, expansion *next)
{
    if (add && pair)
        multiply(1, 1, 1, a, panel, whole, all, next);
    else if (add)
        multiply(1, 1, 0, a, panel, whole, all, next);
    else if (pair)
        multiply(1, 0, 1, a, panel, whole, all, next);
    else
        multiply(1, 0, 0, a, panel, whole, all, next);
}

/* --- Sums --------------------------------------------------------------------------------------------------------- */

/* Whether the sums of 16 rows lie one after another: slots rise. */
static inline int in_one_piece(const bl_gradient_rows *rows, intptr_t i)
{
    return rows->count - i >= ROWS && rows->slot[i + ROWS - 1] - rows->slot[i] == ROWS - 1;
}

/* Between the sums of the 16 rows from i on, or of those that there are, and a tile of their own. */
static void fetch(const bl_gradient_rows *rows, intptr_t i, const int32_t *sums, int32_t *tile)
{
    for (intptr_t r = 0; r < bl_min(ROWS, rows->count - i); r++)
        memcpy(tile + BL_COLUMNS * r, sums + BL_COLUMNS * rows->slot[i + r], (size_t)SUMS_STRIDE);
}

static void put(const bl_gradient_rows *rows, intptr_t i, const int32_t *tile, int32_t *sums)
{
    for (intptr_t r = 0; r < bl_min(ROWS, rows->count - i); r++)
        memcpy(sums + BL_COLUMNS * rows->slot[i + r], tile + BL_COLUMNS * r, (size_t)SUMS_STRIDE);
}

/* --- int8 --------------------------------------------------------------------------------------------------------- */

#define COPY_STRIDE (BL_BLOCK_GROUPS * BL_GROUP_BYTES)

/* The 16 rows from i on. Where they are as many, and as far apart, they stay where they are but for a partial step,
   which is copied and filled with zeros; else all is copied. Rows past the last repeat it: nobody reads their sums. */
BL_TARGET_AMX static void lay_int8(const bl_gradient_rows *rows, intptr_t i, intptr_t groups, char *copy, tile_rows *a)
{
    intptr_t count = bl_min(ROWS, rows->count - i), bytes = BL_GROUP_BYTES * groups, whole = bytes / STEP * STEP;
    const char *const *at = rows->at + i;
    intptr_t stride = count > 1 ? at[1] - at[0] : 0;
    int regular = count == ROWS;
    for (intptr_t r = 2; r < count; r++)
        regular &= at[r] - at[r - 1] == stride;
    a->at = regular ? at[0] : copy;
    a->stride = regular ? stride : COPY_STRIDE;
    a->tail = copy + whole;
    a->tail_stride = COPY_STRIDE;
    __mmask64 rest = bytes > whole ? ~UINT64_C(0) >> (STEP - (bytes - whole)) : 0;
    if (regular && !rest)
        return;
    for (intptr_t r = 0; r < ROWS; r++) {
        const char *from = at[bl_min(r, count - 1)];
        char *to = copy + r * COPY_STRIDE;
        for (intptr_t b = regular ? whole : 0; b < whole; b += STEP)
            _mm512_store_si512(to + b, _mm512_loadu_si512(from + b));
        if (rest)
            _mm512_store_si512(to + whole, _mm512_maskz_loadu_epi8(rest, from + whole));
    }
}

BL_TARGET_AMX void bl_product_int8_amx(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums,
                                       int add, const uint64_t *next, void *next_panel)
{
    _Alignas(64) char copies[2][ROWS * COPY_STRIDE];
    _Alignas(64) int32_t tiles[2][ROWS * BL_COLUMNS];
    intptr_t whole = BL_GROUP_BYTES * groups / STEP, all = (BL_GROUP_BYTES * groups + STEP - 1) / STEP;
    expansion e = begin(bl_expand_int8_avx512, next, next_panel, groups, rows->count, all, 1);
    for (intptr_t i = 0; i < rows->count; i += 2 * ROWS) {
        int pair = rows->count - i > ROWS;
        tile_rows a[2];
        for (int h = 0; h <= pair; h++) {
            intptr_t from = i + h * ROWS;
            lay_int8(rows, from, groups, copies[h], &a[h]);
            a[h].to = tiles[h];
            if (in_one_piece(rows, from))
                a[h].to = (int32_t *)sums + BL_COLUMNS * rows->slot[from];
            else if (add)
                fetch(rows, from, sums, tiles[h]);
        }
        if (!pair)
            a[1] = a[0];
        multiply_signed(add, pair, a, panel, whole, all, &e);
        for (int h = 0; h <= pair; h++)
            if (a[h].to == tiles[h])
                put(rows, i + h * ROWS, tiles[h], sums);
    }
    expand_some(&e, e.fours);
}

/* --- int16 -------------------------------------------------------------------------------------------------------- */

/* A gradient is 256 times its upper byte, signed, plus its lower byte, unsigned: each is a plane of int8 terms, and the
   planes' sums are added. The panel holds +1 and -1, so that no total is needed, which the result has no room for. */
#define PLANE_STRIDE (COPY_STRIDE / 2)

BL_TARGET_AMX static void expand_signs(const uint64_t *bits, intptr_t fours, void *panel)
{
    const __m512i one = _mm512_set1_epi8(1);
    bl_expand_int8_avx512(bits, fours, panel);
    char *at = panel;
    for (intptr_t b = 0; b < fours * BL_PANEL_BYTES; b += 64) {
        __m512i flags = _mm512_load_si512(at + b);
        _mm512_store_si512(at + b, _mm512_sub_epi8(_mm512_add_epi8(flags, flags), one));
    }
}

/* A last half group of four terms meets zeros. */
static void expand_int16(const uint64_t *bits, intptr_t groups, void *panel)
{
    expand_signs(bits, (groups + 1) / 2, panel);
}

/* The planes of 16 rows from i on, filled with zeros to whole steps. */
BL_TARGET_AMX static void split_int16(const bl_gradient_rows *rows, intptr_t i, intptr_t groups, char *upper,
                                      char *lower)
{
    intptr_t bytes = BL_GROUP_BYTES * groups, filled = (bytes + 2 * STEP - 1) / (2 * STEP) * (2 * STEP);
    for (intptr_t r = 0; r < ROWS; r++) {
        const char *from = rows->at[bl_min(i + r, rows->count - 1)];
        for (intptr_t b = 0; b < filled; b += 64) {
            intptr_t left = bytes - b;
            __mmask64 in = left >= 64 ? ~UINT64_C(0) : left > 0 ? ~UINT64_C(0) >> (64 - left) : 0;
            __m512i terms = in ? _mm512_maskz_loadu_epi8(in, from + b) : _mm512_setzero_si512();
            intptr_t at = r * PLANE_STRIDE + b / 2;
            _mm256_store_si256((__m256i *)(upper + at), _mm512_cvtepi16_epi8(_mm512_srai_epi16(terms, 8)));
            _mm256_store_si256((__m256i *)(lower + at), _mm512_cvtepi16_epi8(terms));
        }
    }
}

BL_TARGET_AMX void bl_product_int16_amx(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums,
                                        int add, const uint64_t *next, void *next_panel)
{
    _Alignas(64) char planes[2][2][ROWS * PLANE_STRIDE];
    _Alignas(64) int32_t before[2][ROWS * BL_COLUMNS], tiles[2][ROWS * BL_COLUMNS];
    intptr_t steps = (2 * groups + STEP - 1) / STEP;
    expansion e = begin(expand_signs, next, next_panel, (groups + 1) / 2, rows->count, steps, 2);
    memset(before, 0, sizeof before);
    for (intptr_t i = 0; i < rows->count; i += 2 * ROWS) {
        int pair = rows->count - i > ROWS;
        tile_rows upper[2], lower[2];
        for (int h = 0; h < 2; h++) {
            upper[h] = (tile_rows){.at = planes[0][h], .stride = PLANE_STRIDE, .to = tiles[h]};
            lower[h] = (tile_rows){.at = planes[1][h], .stride = PLANE_STRIDE, .to = tiles[h]};
            if (h <= pair)
                split_int16(rows, i + h * ROWS, groups, planes[0][h], planes[1][h]);
            if (h <= pair && add)
                fetch(rows, i + h * ROWS, sums, before[h]);
        }
        multiply_signed(0, pair, upper, panel, steps, steps, &e);
        for (intptr_t c = 0; c < (1 + pair) * ROWS * BL_COLUMNS; c += 16) {
            __m512i sum = _mm512_slli_epi32(_mm512_load_si512(tiles[0] + c), 8);
            _mm512_store_si512(tiles[0] + c, _mm512_add_epi32(sum, _mm512_load_si512(before[0] + c)));
        }
        if (pair)
            multiply(0, 1, 1, lower, panel, steps, steps, &e);
        else
            multiply(0, 1, 0, lower, panel, steps, steps, &e);
        for (int h = 0; h <= pair; h++)
            put(rows, i + h * ROWS, tiles[h], sums);
    }
    expand_some(&e, e.fours);
}

static const bl_gradient_types types = {
    .int8 = {bl_expand_int8_avx512, bl_interleave_int8_amx, bl_total_int8_avx512, NULL, bl_finish_int8_avx512,
             bl_product_int8_amx},
    .int16 = {expand_int16, bl_interleave_int16_amx, NULL, NULL, bl_finish_int16_avx512, bl_product_int16_amx},
};

/* Tiles have no float32 products. */
#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_amx parameters                                                                                    \
    {                                                                                                                  \
        if (g_type == BL_FLOAT32) {                                                                                    \
            bl_##name##_avx512 arguments;                                                                              \
            return;                                                                                                    \
        }                                                                                                              \
        BL_TILES_CONFIGURE();                                                                                          \
        bl_##name##_blocked(&types, BL_UNWRAP arguments);                                                              \
        BL_TILES_RELEASE();                                                                                            \
    }
BL_GRADIENT_KERNELS(KERNEL)

#endif
