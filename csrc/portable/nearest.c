/* Nearest rows by Hamming distance. The distances of a block of rows are counted as a product's are, into a buffer that
   stays in the first-level cache; of these only the ones below a query's k-th distance so far are looked at again. */
#include "portable.h"

/* Rows of b whose distances are counted at a time, and queries that they are counted for; both multiples of 32 and 6. */
#define BLOCK_ROWS 512
#define QUERIES 24
/* The words of a block in panels: 32 KiB. */
#define PANEL_WORDS 4096
/* From so many queries on, laying out a block as panels pays for itself. */
#define WORTH_PANELS 8
/* Rows of so few words are counted one by one in the time that a variant without a count of vectors takes on panels. */
#define SHORT_WORDS 4
/* Distances that are passed over at once where all of them are too far. */
#define AT_ONCE 64

/* What no row has come for yet: it is behind every row. */
#define NONE INT32_MAX

/* Whether row i at distance d comes behind row j at distance e. */
static inline int behind(int32_t d, int64_t i, int32_t e, int64_t j) { return d > e || (d == e && i > j); }

/* Put a row in the place of the last of a heap of rows, whose root it is. */
static void replace(int64_t *indices, int32_t *distances, intptr_t count, int64_t index, int32_t distance)
{
    intptr_t at = 0;
    for (intptr_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && behind(distances[child + 1], indices[child + 1], distances[child], indices[child]))
            child++;
        if (!behind(distances[child], indices[child], distance, index))
            break;
        indices[at] = indices[child];
        distances[at] = distances[child];
    }
    indices[at] = index;
    distances[at] = distance;
}

/* Bring a heap into order, the nearest first. */
static void sort(int64_t *indices, int32_t *distances, intptr_t count)
{
    for (intptr_t last = count - 1; last > 0; last--) {
        int64_t index = indices[0];
        int32_t distance = distances[0];
        replace(indices, distances, last, indices[last], distances[last]);
        indices[last] = index;
        distances[last] = distance;
    }
}

/* Hand the rows from `first` on that are nearer than the last of a heap to it; `most` is the largest of the type. A row as
   far as the last comes behind it, for its index is larger. */
#define SELECT(type, most)                                                                                             \
    static void select_##type(const type *found, intptr_t rows, int64_t first, intptr_t count, int64_t *indices,       \
                              int32_t *distances)                                                                      \
    {                                                                                                                  \
        for (intptr_t from = 0; from < rows; from += AT_ONCE) {                                                        \
            const intptr_t to = bl_min(from + AT_ONCE, rows);                                                          \
            type least = most;                                                                                         \
            for (intptr_t c = from; c < to; c++)                                                                       \
                least = found[c] < least ? found[c] : least;                                                           \
            if (least < distances[0])                                                                                  \
                for (intptr_t c = from; c < to; c++)                                                                   \
                    if (found[c] < distances[0])                                                                       \
                        replace(indices, distances, count, first + c, found[c]);                                       \
        }                                                                                                              \
    }
SELECT(int16_t, INT16_MAX)
SELECT(int32_t, INT32_MAX)

void bl_nearest_blocked(const bl_product_blocks *blocks, const uint64_t *a, const uint64_t *b, intptr_t m, intptr_t k,
                        intptr_t words, int64_t n, intptr_t count, int64_t *indices, int32_t *distances)
{
    uint64_t panels[PANEL_WORDS];
    union {
        int16_t narrow[QUERIES * BLOCK_ROWS];
        int32_t wide[QUERIES * BLOCK_ROWS / 2];
    } found;
    const int narrow = n <= INT16_MAX;
    const intptr_t at_once = narrow ? QUERIES : QUERIES / 2;
    const intptr_t fit = words > 0 ? PANEL_WORDS / words / BL_PANEL * BL_PANEL : BLOCK_ROWS;
    const int one_by_one = blocks->rows && (m < WORTH_PANELS || (!blocks->quads && words <= SHORT_WORDS));
    const int laid_out = !one_by_one && fit > 0 && m >= WORTH_PANELS;
    const intptr_t step = laid_out ? bl_min(fit, BLOCK_ROWS) : BLOCK_ROWS;
    if (count == 0)
        return;
    for (intptr_t i = 0; i < m * count; i++) {
        indices[i] = -1;
        distances[i] = NONE;
    }
    for (intptr_t first = 0; first < k; first += step) {
        const intptr_t rows = bl_min(step, k - first);
        const uint64_t *block = b + first * words;
        if (laid_out) {
            bl_pack_panels_portable(block, rows, words, panels);
            block = panels;
        }
        for (intptr_t i = 0; i < m; i += at_once) {
            const intptr_t queries = bl_min(at_once, m - i);
            if (one_by_one)
                for (intptr_t q = 0; q < queries; q++)
                    blocks->rows(a + (i + q) * words, block, rows, words, narrow ? BL_INT16 : BL_INT32,
                                 narrow ? (void *)(found.narrow + q * rows) : (void *)(found.wide + q * rows));
            else
                bl_xnor_matmul_blocked(blocks, a + i * words, block, laid_out, NULL, queries, rows, words, n, 1, NULL,
                                       &found, narrow ? BL_INT16 : BL_INT32, NULL);
            for (intptr_t q = 0; q < queries; q++) {
                int64_t *to = indices + (i + q) * count;
                if (narrow)
                    select_int16_t(found.narrow + q * rows, rows, first, count, to, distances + (i + q) * count);
                else
                    select_int32_t(found.wide + q * rows, rows, first, count, to, distances + (i + q) * count);
            }
        }
    }
    for (intptr_t i = 0; i < m; i++)
        sort(indices + i * count, distances + i * count, count);
}
