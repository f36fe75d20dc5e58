/* First-layer codes on the tile unit: what bits are expanded to, the codes are already, once four rows are interleaved.
   */
#include "amx.h"

#ifdef BL_TILES

/* int8 times int8 reaches 2^14 and int16 times int8 2^22: so many terms stay within int32. */
#define INT8_TERMS (1 << 16)
#define INT16_TERMS (1 << 8)

typedef struct {
    const char *g;
    const int8_t *codes;
    intptr_t channels, n, size;
    bl_gradient_rows rows;
    int32_t totals[BL_BLOCK_ROWS]; /* of the rows, which the interleave adds up and nobody needs */
    _Alignas(64) char gathered[BL_BLOCK_ROWS * BL_BLOCK_GROUPS * BL_GROUP_BYTES];
    _Alignas(64) char panel[BL_BLOCK_GROUPS * BL_PANEL_BYTES];
    _Alignas(64) int32_t sums[BL_BLOCK_WORDS][BL_BLOCK_ROWS * BL_COLUMNS];
} code_product;

/* Four rows of codes, from `term` on, as 64 columns of four terms; zeros past the last term and column. */
BL_TARGET_AMX static void interleave_codes(const code_product *p, intptr_t term, intptr_t last, intptr_t column,
                                           char *to)
{
    /* Unpacked within its quarters, a vector has columns 16 l + 4 i to 16 l + 4 i + 3 in quarter l of part i. */
    const __m512i quarters[2] = {_mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0),
                                 _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4)};
    intptr_t width = bl_min(BL_COLUMNS, p->n - column);
    __mmask64 in = ~UINT64_C(0) >> (64 - width);
    __m512i row[4], part[4];
    for (int t = 0; t < 4; t++)
        row[t] = term + t < last ? _mm512_maskz_loadu_epi8(in, p->codes + (term + t) * p->n + column)
                                 : _mm512_setzero_si512();
    bl_interleave_bytes(row[0], row[1], row[2], row[3], part);
    for (int h = 0; h < 2; h++) {
        __m512i first = _mm512_permutex2var_epi64(part[0], quarters[h], part[1]);
        __m512i second = _mm512_permutex2var_epi64(part[2], quarters[h], part[3]);
        _mm512_store_si512(to + 128 * h, _mm512_shuffle_i64x2(first, second, 0x44));
        _mm512_store_si512(to + 128 * h + 64, _mm512_shuffle_i64x2(first, second, 0xee));
    }
}

/* Add the products of `count` terms from `from` on to the sums of `rows` channels and `width` columns; or set them. */
BL_TARGET_AMX static void multiply(code_product *p, intptr_t from, intptr_t count, intptr_t channel, intptr_t rows,
                                   intptr_t column, intptr_t width, int add)
{
    static const char zeros[BL_BLOCK_ROWS * 2];
    const char *terms[BL_GROUP_BYTES * BL_BLOCK_GROUPS];
    intptr_t per_group = BL_GROUP_BYTES / p->size, groups = (count + per_group - 1) / per_group;
    for (intptr_t t = 0; t < per_group * groups; t++)
        terms[t] = t < count ? p->g + ((from + t) * p->channels + channel) * p->size : zeros;
    memset(p->totals, 0, sizeof p->totals);
    (p->size == 1 ? bl_interleave_int8_amx : bl_interleave_int16_amx)(terms, groups, rows, p->gathered, &p->rows,
                                                                      p->totals);
    for (intptr_t w = 0; w * BL_COLUMNS < width; w++) {
        for (intptr_t t = 0; t < count; t += 4)
            interleave_codes(p, from + t, from + count, column + w * BL_COLUMNS, p->panel + t / 4 * BL_PANEL_BYTES);
        (p->size == 1 ? bl_product_int8_amx : bl_product_int16_amx)(&p->rows, p->panel, groups, p->sums[w], add, NULL,
                                                                  NULL);
    }
}

/* Write the sums of a block to the result, or add them. */
BL_TARGET_AMX static void hand_on(const code_product *p, intptr_t rows, intptr_t column, intptr_t width, int add,
                                  void *out, int out_type, intptr_t at)
{
    for (intptr_t r = 0; r < rows; r++)
        for (intptr_t c = 0; c < width; c++) {
            int32_t sum = p->sums[c / BL_COLUMNS][r * BL_COLUMNS + c % BL_COLUMNS];
            intptr_t i = at + r * p->n + column + c;
            if (out_type == BL_INT32)
                ((int32_t *)out)[i] = (add ? ((int32_t *)out)[i] : 0) + sum;
            else
                ((int64_t *)out)[i] = (add ? ((int64_t *)out)[i] : 0) + sum;
        }
}

void bl_codes_grad_weight_amx(const void *g, int g_type, const int8_t *codes, intptr_t m, intptr_t channels,
                              int64_t n, intptr_t first, intptr_t k, int accumulate, void *out, int out_type)
{
    code_product p;
    p.g = g;
    p.codes = codes;
    p.channels = channels;
    p.n = (intptr_t)n;
    p.size = g_type == BL_INT8 ? 1 : 2;
    intptr_t block = BL_BLOCK_GROUPS * BL_GROUP_BYTES / p.size, most = g_type == BL_INT8 ? INT8_TERMS : INT16_TERMS;
    BL_TILES_CONFIGURE();
    for (intptr_t o = 0; o < k; o += BL_BLOCK_ROWS)
        for (intptr_t j = 0; j < p.n; j += BL_BLOCK_WORDS * BL_COLUMNS) {
            intptr_t rows = bl_min(BL_BLOCK_ROWS, k - o), width = bl_min(BL_BLOCK_WORDS * BL_COLUMNS, p.n - j);
            /* Without terms the sums are zeros all the same. */
            if (!m)
                memset(p.sums, 0, sizeof p.sums);
            for (intptr_t from = 0; from < bl_max(m, 1); from += most) {
                intptr_t to = bl_min(from + most, m);
                for (intptr_t t = from; t < to; t += block)
                    multiply(&p, t, bl_min(block, to - t), first + o, rows, j, width, t > from);
                hand_on(&p, rows, j, width, accumulate || from, out, out_type, o * p.n);
            }
        }
    BL_TILES_RELEASE();
}

#endif
