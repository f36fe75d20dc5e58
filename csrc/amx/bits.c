/* Operands of bits, expanded a step of a strip at a time. */
#include "engine.h"

#ifdef BL_TILES

/* --- Rows --------------------------------------------------------------------------------------------------------- */

BL_TARGET_AMX static void expand_rows(const bl_operand *operand, intptr_t strip, intptr_t step, char *to)
{
    const bl_bit_rows *rows = (const bl_bit_rows *)operand;
    const uint64_t *at = rows->bits + strip * BL_STRIP * rows->words + step;
    intptr_t count = bl_min(BL_STRIP, operand->count - strip * BL_STRIP);
    const __m512i one = _mm512_set1_epi8(1);
    for (intptr_t r = 0; r < count; r++, at += rows->words, to += BL_TILE_BYTES)
        _mm512_store_si512(to, _mm512_maskz_mov_epi8(*at, one));
}

bl_bit_rows bl_rows_of_bits(const uint64_t *bits, intptr_t count, intptr_t words)
{
    return (bl_bit_rows){.base = {.count = count, .expand = expand_rows}, .bits = bits, .words = words};
}

/* --- Columns ------------------------------------------------------------------------------------------------------ */

/* The columns that a strip has in its panel: 32, or of the last one those that there are, rounded up to 8. */
static inline intptr_t panel_width(const bl_bit_columns *columns, intptr_t strip)
{
    return bl_panel_width(columns->base.count - strip * BL_STRIP);
}

/* Line r of a tile has values 4 r to 4 r + 3 of 16 columns: of the low halves of their words where r < 8, else of the
   high ones. Two columns share 64 bits, from which each byte takes the 8 bits that begin with its own; that one decides
   between +1 (its other bits 0) and -1 (all of them 1). */
BL_TARGET_AMX BL_INLINE void expand_tile(__m512i first, __m512i second, char *to)
{
    const __m512i low = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i four = _mm512_set1_epi8(4);
    const __m512i sign = _mm512_set1_epi64(0x0001010101010101);
    __m512i halves[2] = {_mm512_permutex2var_epi32(first, low, second),
                         _mm512_permutex2var_epi32(first, _mm512_add_epi32(low, _mm512_set1_epi32(1)), second)};
    __m512i from = _mm512_set1_epi64(0x2322212003020100);
    for (int r = 0; r < BL_TILE_ROWS / 2; r++, from = _mm512_add_epi8(from, four))
        for (int h = 0; h < 2; h++) {
            __m512i bits = _mm512_multishift_epi64_epi8(from, halves[h]);
            _mm512_store_si512(to + (8 * h + r) * BL_TILE_BYTES, _mm512_gf2p8affine_epi64_epi8(bits, sign, 0xff));
        }
}

BL_TARGET_AMX static void expand_columns(const bl_operand *operand, intptr_t strip, intptr_t step, char *to)
{
    const bl_bit_columns *columns = (const bl_bit_columns *)operand;
    intptr_t width = panel_width(columns, strip);
    const uint64_t *at = columns->panels + strip * BL_STRIP * columns->words + step * width;
    for (intptr_t c = 0; c < width; c += 16) {
        __m512i first = _mm512_loadu_si512(at + c);
        __m512i second = c + 8 < width ? _mm512_loadu_si512(at + c + 8) : first;
        expand_tile(first, second, to + c / 16 * (BL_STEP_BYTES / 2));
    }
}

bl_bit_columns bl_columns_of_panels(const uint64_t *panels, intptr_t count, intptr_t words)
{
    return (bl_bit_columns){.base = {.count = count, .expand = expand_columns}, .panels = panels, .words = words};
}

void bl_count_strip(const bl_bit_columns *columns, intptr_t strip, intptr_t from, intptr_t to, int32_t counts[BL_STRIP])
{
    const intptr_t first = strip * BL_STRIP;
    bl_add_counts_avx512(columns->panels + first * columns->words, panel_width(columns, strip), from, to, counts);
}

#endif
