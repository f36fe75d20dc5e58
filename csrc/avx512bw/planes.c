/* Integers of few bits to bit planes: 64 values an instruction and plane. */
#include "avx512bw.h"

#ifdef BL_X86_64

#define TARGET BL_TARGET_AVX512BW
#define transpose bl_transpose_avx512bw

TARGET static inline int split(const int8_t *values, int bits, uint64_t *out, intptr_t stride);

#include "../planes.h"

TARGET static inline int split(const int8_t *values, int bits, uint64_t *out, intptr_t stride)
{
    __m512i v = _mm512_loadu_si512(values);
    const __m512i one = _mm512_set1_epi8(1);
    if (bits == 1) {
        uint64_t plus = _mm512_cmpeq_epi8_mask(v, one);
        *out = plus;
        return plus != _mm512_cmpge_epi8_mask(v, _mm512_setzero_si512()) ||
               _mm512_cmplt_epi8_mask(v, _mm512_set1_epi8(-1));
    }
    const bl_code_range range = bl_code_range_of(bits);
    for (int p = 0; p < bits; p++)
        out[p * stride] = _mm512_test_epi8_mask(v, _mm512_set1_epi8((char)(1 << p)));
    return _mm512_test_epi8_mask(_mm512_add_epi8(v, _mm512_set1_epi8((char)range.add)),
                                 _mm512_set1_epi8((char)range.high)) != 0;
}

void bl_split_planes_avx512bw(const int8_t *g, intptr_t m, intptr_t k, int bits, uint64_t *out, uint8_t *outside)
{
    split_rows(g, m, k, bits, out, outside);
}

void bl_split_columns_avx512bw(const int8_t *g, intptr_t m, intptr_t channels, intptr_t first, intptr_t k, int bits,
                               uint64_t *out, uint8_t *outside)
{
    split_transposed(g, m, channels, first, k, bits, out, outside);
}

#endif
