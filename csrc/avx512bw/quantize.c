/* Quantization compiled for AVX-512 F, BW, VL and DQ; and the one pass of it that the compiler makes poor vectors of. */
#include "avx512bw.h"

#ifdef BL_X86_64

#include <immintrin.h>

#include "../narrow.h"

BL_DEFINE_QUANTIZE_KERNELS(avx512bw, BL_TARGET_AVX512BW)
BL_DEFINE_REQUANTIZE_KERNELS(avx512bw, BL_TARGET_AVX512BW)

/* The words of eight counters, in the lower halves of the lanes: word t of each in words[t]. The lower half of a lane is all
   that a multiplication reads, so the upper one need not be cleared between the rounds. */
BL_TARGET_AVX512BW BL_INLINE void random_of(const __m512i keys[2][10], __m512i counters, __m512i words[4])
{
    const __m512i first = _mm512_set1_epi64(0xD2511F53), second = _mm512_set1_epi64(0xCD9E8D57);
    __m512i c0 = counters, c1 = _mm512_srli_epi64(counters, 32), c2 = words[2], c3 = words[3];
    for (int round = 0; round < 10; round++) {
        const __m512i low = _mm512_mul_epu32(c0, first), high = _mm512_mul_epu32(c2, second);
        c0 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(high, 32), c1, keys[0][round], 0x96);
        c2 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(low, 32), c3, keys[1][round], 0x96);
        c1 = high;
        c3 = low;
    }
    words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

/* Narrow int8 at random, with a step a column and a multiple of four rows in all: a counter's four words are those of four
   rows of a column. */
BL_TARGET_AVX512BW static void narrow_columns(const int8_t *x, const double *step, int32_t limit, const uint32_t *key,
                                              int64_t first, int64_t total, intptr_t rows, intptr_t n, int8_t *out)
{
    const __m512d most = _mm512_set1_pd(limit), least = _mm512_set1_pd(-limit), one = _mm512_set1_pd(1);
    __m512i keys[2][10];
    for (uint32_t round = 0; round < 10; round++) {
        keys[0][round] = _mm512_set1_epi64(key[0] + round * UINT32_C(0x9E3779B9));
        keys[1][round] = _mm512_set1_epi64(key[1] + round * UINT32_C(0xBB67AE85));
    }
    const __m512i apart = _mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi64(total / 4));
    for (intptr_t i = -(intptr_t)(first % 4); i < rows; i += 4)
        for (intptr_t j = 0; j < n; j += 8) {
            const __mmask8 in = (__mmask8)(n - j >= 8 ? 0xff : (1 << (n - j)) - 1);
            const __m512d divisor = _mm512_mask_loadu_pd(one, in, step + j);
            __m512i words[4];
            words[2] = _mm512_set1_epi64(key[2]);
            words[3] = _mm512_set1_epi64(key[3]);
            random_of(keys, _mm512_add_epi64(apart, _mm512_set1_epi64(j * (total / 4) + (first + i) / 4)), words);
            for (intptr_t r = bl_max(0, -i); r < bl_min(4, rows - i); r++) {
                const intptr_t at = (i + r) * n + j;
                const __m256i eight = _mm256_cvtepi8_epi32(_mm_maskz_loadu_epi8(in, x + at));
                const __m512d quotient = _mm512_div_pd(_mm512_cvtepi32_pd(eight), divisor);
                const __m512d value = _mm512_min_pd(_mm512_max_pd(quotient, least), most);
                const __m512d whole = _mm512_roundscale_pd(value, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
                const __m512d fraction = _mm512_mul_pd(_mm512_sub_pd(value, whole), _mm512_set1_pd(4294967296.0));
                const __m512d noise = _mm512_cvtepu64_pd(_mm512_and_si512(words[r], _mm512_set1_epi64(0xffffffff)));
                const __mmask8 up = _mm512_cmp_pd_mask(noise, fraction, _CMP_LT_OQ);
                const __m256i code = _mm512_cvtpd_epi32(_mm512_mask_add_pd(whole, up, whole, one));
                _mm256_mask_cvtepi32_storeu_epi8(out + at, in, code);
            }
        }
}

#define BL_NARROWED_AT_ONCE                                                                                            \
    if (x_type == BL_INT8 && out_type == BL_INT8 && key && axis == 1 && total % 4 == 0) {                              \
        narrow_columns(x, step, limit, key, first, total, rows, n, out);                                               \
        return;                                                                                                        \
    }
BL_DEFINE_NARROW_KERNEL(avx512bw, BL_TARGET_AVX512BW, BL_NARROWED_AT_ONCE)

#endif
