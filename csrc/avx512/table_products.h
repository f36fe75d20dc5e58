/* Products of gradients with bits on tables: which of them, and what both walks over the shapes share.

   The tables of a row are made once and looked up by all columns; a convolution has columns for every tap. So the gradient
   of the input (table_inputs.c) adds what a pixel of the gradient gives to the pixels around it, whose sums wait in a ring
   of lines until all taps have come. The gradient of the weights (table_weights.c) takes the terms of a chunk of pixels for
   each tap from the pixels that the tap sees there. */
#ifndef BL_TABLE_PRODUCTS_H
#define BL_TABLE_PRODUCTS_H

#include "tables.h"

#ifdef BL_X86_64

/* Bytes of indices and of sums, which stay in the second-level cache, and pixels of a matrix that are a line. */
#define INDEX_BYTES (128 * 1024)
#define SUMS_BYTES (304 * 1024)
#define LINE_ROWS 48
/* Taps and pixels of a line that there is room for. */
#define MOST_TAPS 32
#define MOST_PIXELS 1024
#define MOST_TERMS 1536

#define TABLES_BYTES (4 * (MOST_TERMS / 6 + 8) * 64)

static const int8_t zeros[MOST_TERMS + 64];

/* --- Which tables ------------------------------------------------------------------------------------------------- */

/* Whether all values lie within -7 and 7. */
BL_TARGET_TABLES static inline int is_narrow(const int8_t *g, intptr_t rows, intptr_t count, intptr_t stride)
{
    if (count == stride) {
        count *= rows;
        rows = rows > 0;
    }
    for (intptr_t r = 0; r < rows; r++, g += stride)
        for (intptr_t at = 0; at < count; at += 4096) {
            __mmask64 wide = 0;
            for (intptr_t c = at; c < bl_min(count, at + 4096); c += 64) {
                const __mmask64 in = count - c >= 64 ? ~UINT64_C(0) : ~UINT64_C(0) >> (64 - (count - c));
                const __m512i value = _mm512_add_epi8(_mm512_maskz_loadu_epi8(in, g + c), _mm512_set1_epi8(7));
                wide |= _mm512_cmpgt_epu8_mask(value, _mm512_set1_epi8(14));
            }
            if (wide)
                return 0;
        }
    return 1;
}

/* What is worth tables, found by a sweep of shapes on Zen 4, where they are faster than the dot instruction from here on:
   columns of all taps that look a table up, terms, and multiply-adds. A matrix alone has more beside its products, and so
   have two planes. */
static inline int is_large(int bytes, intptr_t taps, intptr_t rows, intptr_t terms, int64_t n)
{
    const int64_t columns = n * taps;
    const double products = (double)rows * (double)terms * (double)columns;
    if (bytes == 2)
        return rows >= 4 && terms >= (taps > 1 ? 64 : 96) && columns >= 192 && products >= 1 << 23;
    return rows >= 4 && terms >= (taps > 1 ? 16 : 32) && columns >= (taps > 1 ? 128 : 192) && products >= 1 << 20;
}

/* The tables that the values of a gradient take, of the first plane where there are two. */
static inline const bl_table_type *tables_for(const void *g, int bytes, intptr_t positions, intptr_t channels,
                                              intptr_t stride)
{
    return bytes == 1 && is_narrow(g, positions, channels, stride) ? &bl_tables_of_4 : &bl_tables_of_8;
}

/* Those of a plane. */
static inline const bl_table_type *tables_of_plane(const bl_table_type *type, int plane)
{
    return plane ? &bl_tables_of_low : type;
}

/* The bytes of a value, which is also how many planes it has; 0 for types that take no tables. */
static inline int bytes_of(int g_type) { return g_type == BL_INT8 ? 1 : g_type == BL_INT16 ? 2 : 0; }

/* The planes of `count` values; up to 31 bytes more are written. */
BL_TARGET_TABLES static inline void split_planes(const int16_t *values, intptr_t count, int8_t *high, int8_t *low)
{
    for (intptr_t c = 0; c < count; c += 32) {
        const __mmask32 in = count - c >= 32 ? ~UINT32_C(0) : ~UINT32_C(0) >> (32 - (count - c));
        const __m512i value = _mm512_maskz_loadu_epi16(in, values + c);
        _mm256_storeu_si256((__m256i *)(void *)(high + c), _mm512_cvtepi16_epi8(_mm512_srli_epi16(value, 8)));
        _mm256_storeu_si256((__m256i *)(void *)(low + c), _mm512_cvtepi16_epi8(value));
    }
}

static inline int64_t largest_sum(const bl_table_type *type, intptr_t groups, intptr_t terms)
{
    return (int64_t)type->offset * groups + (int64_t)type->largest_term * terms;
}

/* Hand on the sums of a row of some words: for each a multiple of sum_bytes. */
static inline void finish_row(const bl_table_type *type, const bl_gradient_result *result, intptr_t row, intptr_t word,
                       intptr_t words, const char *sums, int32_t total)
{
    _Alignas(64) int32_t wide[BL_COLUMNS];
    for (intptr_t w = 0; w < words; w++, sums += type->sum_bytes) {
        if (type->widen)
            type->widen(sums, wide);
        bl_finish_int8_avx512(result, row, word + w, type->widen ? (const void *)wide : sums, 1, total, NULL);
    }
}

/* Whether every sum of so many values of 16 bits fits int32. */
static inline int fits_int32(int64_t values) { return values <= INT32_MAX / 32768; }

/* The same of 16-bit values, from the sums and totals of their planes. Where bits are wanted, sums may need int64. */
BL_TARGET_TABLES static inline void finish_planes(const bl_gradient_result *result, intptr_t row, intptr_t word,
                                                  intptr_t words, const char *high, const char *low,
                                                  const int32_t totals[2])
{
    _Alignas(64) int32_t sums[BL_COLUMNS];
    _Alignas(64) int64_t before[BL_COLUMNS];
    const int compares = result->kind == BL_COMPARE;
    for (intptr_t w = 0; w < words; w++, high += 4 * BL_COLUMNS, low += 4 * BL_COLUMNS) {
        const int32_t *upper = (const int32_t *)(const void *)high, *lower = (const int32_t *)(const void *)low;
        for (int c = 0; c < BL_COLUMNS; c++) {
            /* Twice a sum may leave int32 where the difference does not. */
            const int32_t first = (int32_t)(2 * (uint32_t)upper[c] - (uint32_t)totals[0]);
            const int32_t second = (int32_t)(2 * (uint32_t)lower[c] - (uint32_t)totals[1]);
            sums[c] = compares ? second : 256 * first + second;
            if (compares)
                before[c] = 256 * (int64_t)first;
        }
        bl_finish_int16_avx512(result, row, word + w, sums, 0, 0, compares ? before : NULL);
    }
}

/* The index of number v of the words of columns of a product, from its bits of `terms` terms; there is room for 32 more. */
static inline void make_index(const bl_table_type *type, uint64_t *bits, intptr_t terms, intptr_t v, char *index)
{
    const intptr_t groups = bl_table_groups(type, terms), stride = BL_TABLE_WORDS * type->index_bytes;
    memset(bits + terms, 0, 32 * sizeof *bits);
    index += v / BL_TABLE_WORDS * groups * stride + v % BL_TABLE_WORDS * type->index_bytes;
    type->index(bits, groups, stride, index);
}

/* m rows as one line of as many pixels. */
static inline bl_conv2d line_of(intptr_t m, intptr_t channels, int64_t n)
{
    return (bl_conv2d){.batch = 1, .height = 1, .width = m, .words = bl_words(n), .out_height = 1, .out_width = m,
                       .out_channels = channels, .kernel_height = 1, .kernel_width = 1, .stride_height = 1,
                       .stride_width = 1, .n = n};
}

#endif

#endif
