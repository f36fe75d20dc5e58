/* Products with column panels in vectors of 512 bits: all but the tile, in nothing but AVX-512 F, BW, VL and DQ. Functions
   are constants where they are inlined, as are numbers up to `vectors`. */

/* The most rows of a tile. */
#define MOST_ROWS 6

/* acc[r][q] = counts of row r in columns [8 * q, 8 * q + 8) of a panel with 8 * vectors columns. */
typedef void bl_panel_tile512(int rows, int vectors, const uint64_t *const *a, const uint64_t *panel, intptr_t words,
                              __m512i (*acc)[4]);

/* Finish `width` columns of a row, at most 8 * vectors; `full` says that they are 32. */
BL_TARGET_AVX512BW BL_INLINE void finish(const bl_xnor_result *result, int form, int mismatches, int full, intptr_t row,
                                         intptr_t column, intptr_t width, const int32_t *base, int vectors,
                                         const __m512i acc[4])
{
    const intptr_t at = row * result->columns + column;
    uint32_t bits = 0;
    for (int q = 0; q < vectors; q += 2) {
        __m256i high = q + 1 < vectors ? _mm512_cvtepi64_epi32(acc[q + 1]) : _mm256_setzero_si256();
        __m512i counts = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(acc[q])), high, 1);
        __m512i sums = mismatches
                           ? counts
                           : _mm512_sub_epi32(_mm512_loadu_si512(base + 8 * q), _mm512_slli_epi32(counts, 1));
        const intptr_t left = width - 8 * q;
        const __mmask16 in = full || left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
        bits |= bl_finish16(result, form, full, at + 8 * q, column + 8 * q, in, sums) << (8 * q);
    }
    if (form == BL_AS_BITS)
        bl_store_half_word(result, row, column, bits);
}

/* The rows [row, row + count) of a panel, count <= rows. Past the last row the last one is computed again: a tile of 3
   rows costs less as one of 4. The arguments up to `vectors` are constants where it is inlined. */
BL_TARGET_AVX512BW BL_INLINE void rows_of_panel(bl_panel_tile512 *tile, int rows, int form, int mismatches, int full,
                                                int vectors, const uint64_t *a, const uint64_t *panel, intptr_t row,
                                                intptr_t count, intptr_t words, intptr_t column, intptr_t width,
                                                const int32_t *bases, intptr_t bases_stride,
                                                const bl_xnor_result *result)
{
    const uint64_t *pointers[MOST_ROWS];
    __m512i acc[MOST_ROWS][4];
    for (int r = 0; r < rows; r++)
        pointers[r] = a + (row + bl_min(r, count - 1)) * words;
    tile(rows, vectors, pointers, panel, words, acc);
    /* Rows past the last are written over the last, with the same values: a branch would send all sums through memory. */
    for (int r = 0; r < rows; r++) {
        intptr_t at = row + bl_min(r, count - 1);
        finish(result, form, mismatches, full, at, column, width, bases + at * bases_stride, vectors, acc[r]);
    }
}

BL_TARGET_AVX512BW BL_INLINE void all_rows(bl_panel_tile512 *tile, int most, int form, int mismatches, int full,
                                           int vectors, const uint64_t *a, const uint64_t *panel, intptr_t m,
                                           intptr_t words, intptr_t column, intptr_t width, const int32_t *bases,
                                           intptr_t bases_stride, const bl_xnor_result *result)
{
#define ROWS_OF_PANEL(rows, count)                                                                                     \
    rows_of_panel(tile, rows, form, mismatches, full, vectors, a, panel, i, count, words, column, width, bases,        \
                  bases_stride, result)
    intptr_t i = 0;
    for (; i + most <= m || m - i == most - 1; i += most)
        ROWS_OF_PANEL(most, bl_min(most, m - i));
    if (m - i >= 3)
        ROWS_OF_PANEL(4, m - i);
    else if (m - i == 2)
        ROWS_OF_PANEL(2, 2);
    else if (m - i == 1)
        ROWS_OF_PANEL(1, 1);
}

/* A full panel is compiled for each form of the result; the last one, which may be narrower, asks at each store. */
BL_TARGET_AVX512BW BL_INLINE void bl_panel_block512(bl_panel_tile512 *tile, int most, const uint64_t *a,
                                                    const uint64_t *panel, intptr_t m, intptr_t words, intptr_t column,
                                                    intptr_t width, const int32_t *bases, intptr_t bases_stride,
                                                    const bl_xnor_result *result)
{
    const int form = result->form, mismatches = result->mismatches;
    if (form == BL_AS_BITS)
        bl_clear_second_half(result, 0, m, column);
#define ALL_ROWS(form, mismatches, full, vectors)                                                                      \
    all_rows(tile, most, form, mismatches, full, vectors, a, panel, m, words, column, width, bases, bases_stride, result)
#define FULL(form)                                                                                                     \
    case form:                                                                                                         \
        if (result->mismatches)                                                                                        \
            ALL_ROWS(form, 1, 1, 4);                                                                                   \
        else                                                                                                           \
            ALL_ROWS(form, 0, 1, 4);                                                                                   \
        return
    if (width == BL_PANEL)
        switch (form) {
            FULL(BL_AS_INT16);
            FULL(BL_AS_INT32);
            FULL(BL_AS_FLOAT32);
        default:
            ALL_ROWS(BL_AS_BITS, 0, 1, 4);
            return;
        }
    switch ((width + 7) / 8) {
    case 4:
        ALL_ROWS(form, mismatches, 0, 4);
        break;
    case 3:
        ALL_ROWS(form, mismatches, 0, 3);
        break;
    case 2:
        ALL_ROWS(form, mismatches, 0, 2);
        break;
    default:
        ALL_ROWS(form, mismatches, 0, 1);
    }
}
