/* Products with column panels in vectors of 512 bits: all but the tile, in nothing but AVX-512 F, BW, VL and DQ. A file
   that includes it defines before:

   TARGET   the target attribute of its functions;
   ROWS     the most rows of a tile;
   panel_tile
            acc[r][q] = counts of row r in columns [8 * q, 8 * q + 8) of a panel with 8 * vectors columns; rows and
            vectors are constants where it is inlined:
            panel_tile(int rows, int vectors, const uint64_t *const a[ROWS], const uint64_t *panel, intptr_t words,
                 __m512i acc[ROWS][4]) */

/* What is written: dots of a type, bits, or from COUNTS on mismatches of a type. */
enum { INT16, INT32, FLOAT32, BITS, COUNTS, COUNTS_INT16 = COUNTS, COUNTS_INT32, COUNTS_FLOAT32 };

/* Write sixteen dots of a row, or those in the mask. Whole stores where all are wanted: masked ones cost more. */
TARGET BL_INLINE void store(const bl_xnor_result *result, int form, int full, intptr_t at, __mmask16 in,
                            __m512i dots)
{
    if (form == INT16) {
        if (full)
            _mm256_storeu_si256((__m256i *)((int16_t *)result->out + at), _mm512_cvtepi32_epi16(dots));
        else
            _mm512_mask_cvtepi32_storeu_epi16((int16_t *)result->out + at, in, dots);
    } else {
        __m512i value = form == FLOAT32 ? _mm512_castps_si512(_mm512_cvtepi32_ps(dots)) : dots;
        if (full)
            _mm512_storeu_si512((int32_t *)result->out + at, value);
        else
            _mm512_mask_storeu_epi32((int32_t *)result->out + at, in, value);
    }
}

/* Finish `width` columns of a row, at most 8 * vectors; `full` says that they are 32. */
TARGET BL_INLINE void finish(const bl_xnor_result *result, int form, int full, intptr_t row, intptr_t column,
                             intptr_t width, const int32_t *base, int vectors, const __m512i acc[4])
{
    uint32_t bits = 0;
    for (int q = 0; q < vectors; q += 2) {
        __m256i high = q + 1 < vectors ? _mm512_cvtepi64_epi32(acc[q + 1]) : _mm256_setzero_si256();
        __m512i counts = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(acc[q])), high, 1);
        __m512i dots = form >= COUNTS ? counts
                                      : _mm512_sub_epi32(_mm512_loadu_si512(base + 8 * q), _mm512_slli_epi32(counts, 1));
        intptr_t left = width - 8 * q;
        __mmask16 in = full || left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
        if (form == BITS) {
            __m512i threshold = full ? _mm512_loadu_si512(result->threshold + column + 8 * q)
                                     : _mm512_maskz_loadu_epi32(in, result->threshold + column + 8 * q);
            bits |= (uint32_t)_mm512_mask_cmpge_epi32_mask(in, dots, threshold) << (8 * q);
        } else
            store(result, form < COUNTS ? form : form - COUNTS, full, row * result->columns + column + 8 * q, in, dots);
    }
    /* A panel is half a word of bits. */
    if (form == BITS)
        memcpy((uint32_t *)result->out + row * 2 * bl_words(result->columns) + column / 32, &bits, sizeof bits);
}

/* The rows [row, row + count) of a panel, count <= rows. Past the last row the last one is computed again: a tile of 3
   rows costs less as one of 4. The arguments up to `vectors` are constants where it is inlined. */
TARGET BL_INLINE void rows_of_panel(int rows, int form, int full, int vectors, const uint64_t *a,
                                    const uint64_t *panel, intptr_t row, intptr_t count, intptr_t words,
                                    intptr_t column, intptr_t width, const int32_t *bases,
                                    intptr_t bases_stride, const bl_xnor_result *result)
{
    const uint64_t *pointers[ROWS];
    __m512i acc[ROWS][4];
    for (int r = 0; r < rows; r++)
        pointers[r] = a + (row + bl_min(r, count - 1)) * words;
    panel_tile(rows, vectors, pointers, panel, words, acc);
    /* Rows past the last are written over the last, with the same values: a branch would send all sums through memory. */
    for (int r = 0; r < rows; r++) {
        intptr_t at = row + bl_min(r, count - 1);
        finish(result, form, full, at, column, width, bases + at * bases_stride, vectors, acc[r]);
    }
}

TARGET BL_INLINE void all_rows(int form, int full, int vectors, const uint64_t *a, const uint64_t *panel,
                               intptr_t m, intptr_t words, intptr_t column, intptr_t width,
                               const int32_t *bases, intptr_t bases_stride, const bl_xnor_result *result)
{
#define ROWS_OF_PANEL(rows, count)                                                                                     \
    rows_of_panel(rows, form, full, vectors, a, panel, i, count, words, column, width, bases, bases_stride, result)
    intptr_t i = 0;
    for (; i + ROWS <= m || m - i == ROWS - 1; i += ROWS)
        ROWS_OF_PANEL(ROWS, bl_min(ROWS, m - i));
    if (m - i >= 3)
        ROWS_OF_PANEL(4, m - i);
    else if (m - i == 2)
        ROWS_OF_PANEL(2, 2);
    else if (m - i == 1)
        ROWS_OF_PANEL(1, 1);
}

/* A full panel is compiled for each form of the result; the last one, which may be narrower, asks at each store. */
TARGET static void panel_block(const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words,
                               intptr_t column, intptr_t width, const int32_t *bases, intptr_t bases_stride,
                               const bl_xnor_result *result)
{
    int form = result->kind == BL_SIGNS ? BITS
               : result->out_type == BL_INT16 ? INT16
               : result->out_type == BL_INT32 ? INT32
                                              : FLOAT32;
    if (result->kind == BL_MISMATCHES)
        form += COUNTS;
#define ALL_ROWS(form, full, vectors)                                                                                  \
    all_rows(form, full, vectors, a, panel, m, words, column, width, bases, bases_stride, result)
    if (width == BL_PANEL)
        switch (form) {
        case INT16:
            ALL_ROWS(INT16, 1, 4);
            return;
        case INT32:
            ALL_ROWS(INT32, 1, 4);
            return;
        case FLOAT32:
            ALL_ROWS(FLOAT32, 1, 4);
            return;
        case COUNTS_INT16:
            ALL_ROWS(COUNTS_INT16, 1, 4);
            return;
        case COUNTS_INT32:
            ALL_ROWS(COUNTS_INT32, 1, 4);
            return;
        case COUNTS_FLOAT32:
            ALL_ROWS(COUNTS_FLOAT32, 1, 4);
            return;
        default:
            ALL_ROWS(BITS, 1, 4);
            return;
        }
    switch ((width + 7) / 8) {
    case 4:
        ALL_ROWS(form, 0, 4);
        break;
    case 3:
        ALL_ROWS(form, 0, 3);
        break;
    case 2:
        ALL_ROWS(form, 0, 2);
        break;
    default:
        ALL_ROWS(form, 0, 1);
    }
}
