/* Counts of bits on vpopcntq. The rest of packing is avx512bw's. */
#include "avx512.h"

#include "../packing.h"

#ifdef BL_X86_64

BL_TARGET_AVX512 static int64_t count_row(const uint64_t *x, intptr_t words)
{
    __m512i total[4];
    for (int v = 0; v < 4; v++)
        total[v] = _mm512_setzero_si512();
    intptr_t p = 0;
    for (; p + 32 <= words; p += 32)
        for (int v = 0; v < 4; v++)
            total[v] = _mm512_add_epi64(total[v], _mm512_popcnt_epi64(_mm512_loadu_si512(x + p + 8 * v)));
    for (; p < words; p += 8) {
        __mmask8 in = (__mmask8)(0xff >> (8 - bl_min(8, words - p)));
        total[0] = _mm512_add_epi64(total[0], _mm512_popcnt_epi64(_mm512_maskz_loadu_epi64(in, x + p)));
    }
    return _mm512_reduce_add_epi64(
        _mm512_add_epi64(_mm512_add_epi64(total[0], total[1]), _mm512_add_epi64(total[2], total[3])));
}

/* As add_counts for up to 8 * vectors columns, the last of which are those in the mask; a constant where inlined. */
BL_TARGET_AVX512 BL_INLINE void add_columns(int vectors, const uint64_t *x, intptr_t stride, intptr_t lines,
                                            __mmask8 in, int64_t *out)
{
    __m512i total[4];
    for (int v = 0; v < vectors; v++)
        total[v] = _mm512_maskz_loadu_epi64(v == vectors - 1 ? in : 0xff, out + 8 * v);
    for (intptr_t l = 0; l < lines; l++, x += stride)
        for (int v = 0; v < vectors; v++) {
            __m512i words = _mm512_maskz_loadu_epi64(v == vectors - 1 ? in : 0xff, x + 8 * v);
            total[v] = _mm512_add_epi64(total[v], _mm512_popcnt_epi64(words));
        }
    for (int v = 0; v < vectors; v++)
        _mm512_mask_storeu_epi64(out + 8 * v, v == vectors - 1 ? in : 0xff, total[v]);
}

BL_TARGET_AVX512 static void add_counts(const uint64_t *x, intptr_t stride, intptr_t lines, intptr_t columns,
                                        int64_t *out)
{
    intptr_t c = 0;
    for (; c + 32 <= columns; c += 32)
        add_columns(4, x + c, stride, lines, 0xff, out + c);
    for (; c < columns; c += 8)
        add_columns(1, x + c, stride, lines, (__mmask8)(0xff >> (8 - bl_min(8, columns - c))), out + c);
}

void bl_popcount_avx512(const uint64_t *x, intptr_t outer, intptr_t rows, intptr_t words, intptr_t outer_stride,
                        intptr_t row_stride, intptr_t word_stride, int64_t *out)
{
    bl_popcount_blocked(count_row, add_counts, x, outer, rows, words, outer_stride, row_stride, word_stride, out);
}

#endif
