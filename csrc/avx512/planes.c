/* Products of the bit planes of integers with column panels, recoded as in quads.h. The counts of a plane are twice those
   of the plane below: they are counted from the highest on, and what the planes of counts hold is doubled in between, which
   costs nothing, as it only renames them. So eight rows of integers are finished as eight rows of bits are. */
#include "quads.h"

#ifdef BL_X86_64

/* 64 * 1023 words, times at most 2^8. The planes of a count move down by one where it is doubled. */
#define PLANES 24

#include "quad_count.h"

/* *to = or += sixteen results, or those in the mask. */
BL_TARGET_QUADS BL_INLINE void store(int full, int accumulate, int32_t *to, __mmask16 in, __m512i value)
{
    if (full) {
        if (accumulate)
            value = _mm512_add_epi32(value, _mm512_loadu_si512(to));
        _mm512_storeu_si512(to, value);
    } else {
        if (accumulate)
            value = _mm512_add_epi32(value, _mm512_maskz_loadu_epi32(in, to));
        _mm512_mask_storeu_epi32(to, in, value);
    }
}

typedef struct {
    const uint8_t *rows, *columns;
    const int32_t *bases;
    int32_t *out;
    intptr_t m, k, words, width;
    int bits;
} block;

/* Finish up to 8 rows and 64 columns: base - count, or - 2 * count of one bit. `few` says that counts have 16 bits. */
BL_TARGET_QUADS BL_INLINE void finish(const block *b, int full, int few, int accumulate, const __m512i planes[PLANES],
                                      intptr_t row)
{
    const __m512i zero = _mm512_setzero_si512();
    const __m128i shift = _mm_cvtsi32_si128(b->bits == 1);
    __m512i low[8], high[8], top[8];
    transpose(planes, low);
    transpose(planes + 8, high);
    if (!few)
        transpose(planes + 16, top);
    for (int r = 0; r < 8 && row + r < b->m; r++) {
        int32_t *to = b->out + (row + r) * b->k;
        for (int h = 0; h < 2; h++) {
            __m512i counts = h ? _mm512_unpackhi_epi8(low[r], high[r]) : _mm512_unpacklo_epi8(low[r], high[r]);
            __m512i tops = few ? zero : h ? _mm512_unpackhi_epi8(top[r], zero) : _mm512_unpacklo_epi8(top[r], zero);
            for (int q = 0; q < 2; q++) {
                int c = 32 * h + 16 * q;
                __m512i count = _mm512_cvtepu16_epi32(q ? _mm512_extracti64x4_epi64(counts, 1)
                                                        : _mm512_castsi512_si256(counts));
                if (!few) {
                    __m256i half = q ? _mm512_extracti64x4_epi64(tops, 1) : _mm512_castsi512_si256(tops);
                    count = _mm512_or_si512(count, _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
                }
                intptr_t left = b->width - c;
                if (!full && left <= 0)
                    continue;
                __mmask16 in = full || left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
                __m512i base = _mm512_loadu_si512(b->bases + c);
                store(full, accumulate, to + c, in, _mm512_sub_epi32(base, _mm512_sll_epi32(count, shift)));
            }
        }
    }
}

BL_TARGET_QUADS BL_INLINE void plane_tile(int groups, int full, int few, int accumulate, const block *b, intptr_t row)
{
    __m512i planes[GROUPS * PLANES + 7];
    intptr_t one = bl_quads_of_rows(b->words), wanted = full ? bl_min(b->m - row, 8 * groups) : 0;
    const char *out = (const char *)(b->out + row * b->k);
    for (int p = b->bits - 1, done = 0; p >= 0; p--, done++) {
        const uint8_t *first = b->rows + (row / 8 * b->bits + p) * one, *second = first + (groups > 1 ? b->bits * one : 0);
        if (!done)
            count_quads(groups, 0, first, second, b->columns, b->words, out, b->k * 4, wanted, 256, few ? 16 : PLANES,
                        planes + p);
        else
            count_quads(groups, done, first, second, b->columns, b->words, NULL, 0, 0, 0, 0, planes + p);
    }
    for (int r = 0; r < groups; r++)
        finish(b, full, few, accumulate, planes + r * PLANES, row + 8 * r);
}

BL_TARGET_QUADS static void count_block(const block *b, int accumulate)
{
    int few = b->words << b->bits <= 1024;
#define ALL_ROWS(full, few, accumulate)                                                                                \
    do {                                                                                                               \
        intptr_t i = 0;                                                                                                \
        for (; b->m - i > 8; i += 16)                                                                                  \
            plane_tile(2, full, few, accumulate, b, i);                                                                \
        if (i < b->m)                                                                                                  \
            plane_tile(1, full, few, accumulate, b, i);                                                                \
    } while (0)
    if (b->width == BL_QUAD_PANEL && few && accumulate)
        ALL_ROWS(1, 1, 1);
    else if (b->width == BL_QUAD_PANEL && few)
        ALL_ROWS(1, 1, 0);
    else
        ALL_ROWS(0, 0, accumulate);
}

/* bases[c] for 64 columns of panels: n, or of more bits minus the set bits, and what the flipped sign plane counts. */
static void find_bases(const block *b, const uint64_t *panels, intptr_t column, int64_t n, int32_t bases[BL_QUAD_PANEL])
{
    int32_t ones[BL_QUAD_PANEL] = {0};
    for (intptr_t j = column; b->bits > 1 && j < bl_min(column + BL_QUAD_PANEL, b->k); j += BL_PANEL)
        bl_add_counts_avx512(panels + j * b->words, bl_panel_width(b->k - j), 0, b->words, ones + (j - column));
    for (int c = 0; c < BL_QUAD_PANEL; c++)
        bases[c] = (int32_t)n - ones[c];
}

void bl_multiply_planes(const uint64_t *planes, int bits, const uint64_t *panels, const uint8_t *columns, intptr_t m,
                        intptr_t k, intptr_t words, int64_t n, int accumulate, int32_t *out, uint8_t *scratch)
{
    intptr_t step = bl_quads_step(bits, words), one = bl_quads_of_rows(words);
    int32_t bases[BL_QUAD_PANEL];
    for (intptr_t i = 0; i < m; i += step) {
        intptr_t rows = bl_min(step, m - i);
        for (intptr_t r = 0; r < rows; r += 8)
            for (int p = 0; p < bits; p++)
                bl_recode_eight(planes + ((i + r) * bits + p) * words, bits * words, rows - r, words,
                                bits > 1 && p == bits - 1 ? ~UINT64_C(0) : 0, scratch + (r / 8 * bits + p) * one);
        for (intptr_t j = 0; j < k; j += BL_QUAD_PANEL) {
            block b = {.rows = scratch,
                       .columns = columns + bl_quads_of_columns(j, words),
                       .bases = bases,
                       .out = out + i * k + j,
                       .m = rows,
                       .k = k,
                       .words = words,
                       .width = bl_min(BL_QUAD_PANEL, k - j),
                       .bits = bits};
            find_bases(&b, panels, j, bits > 1 ? (int64_t)words << (bits + 5) : n, bases);
            count_block(&b, accumulate);
        }
    }
}

#endif
