/* Products of bits with bits: counts of half bytes looked up, and summed by vpsadbw. What limits them on Intel's
   processors of this kind is the one port for both, twice as wide as with AVX2; with half-wide units (Zen 4) they are
   as fast as there, and kept for the others. */
#include "avx512bw.h"

#ifdef BL_X86_64

#include "matmul.h"
#include "panels.h"

BL_TARGET_AVX512BW BL_INLINE __m512i popcount(__m512i x)
{
    const __m512i zero = _mm512_setzero_si512();
    return _mm512_sad_epu8(bl_add_bytes(zero, x, bl_half_byte_counts()), zero);
}

BL_TARGET_AVX512BW static void xnor_block(const uint64_t *const a[BL_ROWS], const uint64_t *const valid[BL_ROWS],
                                          const uint64_t *b, intptr_t b_stride, intptr_t columns, intptr_t words,
                                          int32_t counts[BL_ROWS][BL_COLUMNS])
{
    bl_xnor_block512(popcount, a, valid, b, b_stride, columns, words, counts);
}

/* Products with column panels without VPOPCNTDQ: the ones, twos and fours of 4 rows and 8 columns in registers, and
   byte counts of their eights. */

#define ROWS 4

BL_TARGET_AVX512BW BL_INLINE __m512i differing(__m512i column, uint64_t word)
{
    return _mm512_xor_si512(column, _mm512_set1_epi64((long long)word));
}

/* Eight columns of a panel: the next word of each is `stride` further on. */
typedef struct {
    const uint64_t *const *a;
    const uint64_t *panel;
    intptr_t stride;
} columns;

/* ones += the differing bits of words p and p + 1; the carries. */
BL_TARGET_AVX512BW BL_INLINE void add_two_words(int rows, const columns *c, intptr_t p, __m512i ones[ROWS],
                                                __m512i carries[ROWS])
{
    __m512i first = _mm512_loadu_si512(c->panel + p * c->stride);
    __m512i second = _mm512_loadu_si512(c->panel + (p + 1) * c->stride);
    for (int r = 0; r < rows; r++)
        carries[r] = bl_add3(&ones[r], differing(first, c->a[r][p]), differing(second, c->a[r][p + 1]));
}

/* total[r] = counts of row r in the columns. rows is a constant where it is inlined. */
BL_TARGET_AVX512BW BL_INLINE void count_columns(int rows, const columns *c, intptr_t words, __m512i total[ROWS])
{
    const __m512i table = bl_half_byte_counts();
    const __m512i zero = _mm512_setzero_si512();
    __m512i ones[ROWS], twos[ROWS], fours[ROWS], bytes[ROWS];
    for (int r = 0; r < rows; r++)
        ones[r] = twos[r] = fours[r] = total[r] = zero;
    intptr_t p = 0;
    while (p + 8 <= words) {
        intptr_t to = bl_min(p + 31 * 8, words / 8 * 8); /* 31 * 8 = 248 fits a byte */
        for (int r = 0; r < rows; r++)
            bytes[r] = zero;
        for (; p < to; p += 8) {
            __m512i two[ROWS], other_two[ROWS], four[ROWS];
            add_two_words(rows, c, p, ones, two);
            add_two_words(rows, c, p + 2, ones, other_two);
            for (int r = 0; r < rows; r++)
                four[r] = bl_add3(&twos[r], two[r], other_two[r]);
            add_two_words(rows, c, p + 4, ones, two);
            add_two_words(rows, c, p + 6, ones, other_two);
            for (int r = 0; r < rows; r++) {
                __m512i other_four = bl_add3(&twos[r], two[r], other_two[r]);
                bytes[r] = bl_add_bytes(bytes[r], bl_add3(&fours[r], four[r], other_four), table);
            }
        }
        for (int r = 0; r < rows; r++)
            total[r] = _mm512_add_epi64(total[r], _mm512_slli_epi64(_mm512_sad_epu8(bytes[r], zero), 3));
    }
    /* What is left counts up to 7 + 7 words. */
    for (int r = 0; r < rows; r++)
        bytes[r] = zero;
    if (p > 0) {
        const __m512i twice = _mm512_add_epi8(table, table), fourfold = _mm512_add_epi8(twice, twice);
        for (int r = 0; r < rows; r++)
            bytes[r] = bl_add_bytes(bl_add_bytes(bl_add_bytes(zero, ones[r], table), twos[r], twice), fours[r],
                                     fourfold);
    }
    for (; p < words; p++) {
        __m512i column = _mm512_loadu_si512(c->panel + p * c->stride);
        for (int r = 0; r < rows; r++)
            bytes[r] = bl_add_bytes(bytes[r], differing(column, c->a[r][p]), table);
    }
    for (int r = 0; r < rows; r++)
        total[r] = _mm512_add_epi64(total[r], _mm512_sad_epu8(bytes[r], zero));
}

BL_TARGET_AVX512BW BL_INLINE void count_panel(int rows, int vectors, const uint64_t *const a[ROWS],
                                              const uint64_t *panel, intptr_t words, __m512i acc[ROWS][4])
{
    for (int q = 0; q < vectors; q++) {
        const columns c = {a, panel + 8 * q, 8 * vectors};
        __m512i total[ROWS];
        count_columns(rows, &c, words, total);
        for (int r = 0; r < rows; r++)
            acc[r][q] = total[r];
    }
}

/* Called, not inlined into each form of result, because it is long; the stride of a full panel is a constant. */
#define COUNT_ROWS(rows)                                                                                               \
    BL_TARGET_AVX512BW static void count_##rows(int vectors, const uint64_t *const a[ROWS], const uint64_t *panel,     \
                                                intptr_t words, __m512i acc[ROWS][4])                                  \
    {                                                                                                                  \
        if (vectors == 4)                                                                                              \
            count_panel(rows, 4, a, panel, words, acc);                                                                \
        else                                                                                                           \
            count_panel(rows, vectors, a, panel, words, acc);                                                          \
    }
COUNT_ROWS(1)
COUNT_ROWS(2)
COUNT_ROWS(4)

BL_TARGET_AVX512BW BL_INLINE void panel_tile(int rows, int vectors, const uint64_t *const *a, const uint64_t *panel,
                                             intptr_t words, __m512i (*acc)[4])
{
    (rows == 4 ? count_4 : rows == 2 ? count_2 : count_1)(vectors, a, panel, words, acc);
}

BL_TARGET_AVX512BW static void panel_block(const uint64_t *a, const uint64_t *panel, intptr_t m, intptr_t words,
                                           intptr_t column, intptr_t width, const int32_t *bases, intptr_t bases_stride,
                                           const bl_xnor_result *result)
{
    bl_panel_block512(panel_tile, ROWS, a, panel, m, words, column, width, bases, bases_stride, result);
}

static const bl_product_blocks blocks = {.words = xnor_block, .panel = panel_block,
                                         .rows = bl_differing_rows_avx2};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_avx512bw parameters { bl_##name##_blocked(&blocks, BL_UNWRAP arguments); }
BL_XNOR_KERNELS(KERNEL)

#endif
