/* Quantization compiled for AVX-512 F, BW, VL and DQ; and the one pass of it that the compiler makes poor vectors of. */
#include "avx512bw.h"

#ifdef BL_X86_64

#include "philox.h"

#include "../narrow.h"

BL_DEFINE_QUANTIZE_KERNELS(avx512bw, BL_TARGET_AVX512BW)
BL_DEFINE_REQUANTIZE_KERNELS(avx512bw, BL_TARGET_AVX512BW)

/* Eight codes of x, whose divisors are 2^-32 times their steps. With q = x / step in 2^-32, a whole number is rounded up
   where noise < its fraction f, that is where noise < ceil(f), or ceil(f) + (2^32 - 1 - noise) >= 2^32: so the code is
   (ceil(q) + ~noise) >> 32. */
BL_TARGET_AVX512BW BL_INLINE void narrow_eight(const int8_t *x, __m512d divisor, __m512d most, __m512i noise, __mmask8 in,
                                               int8_t *out)
{
    const __m512d value = _mm512_cvtepi32_pd(_mm256_cvtepi8_epi32(_mm_maskz_loadu_epi8(in, x)));
    const __m512d least = _mm512_sub_pd(_mm512_setzero_pd(), most), quotient = _mm512_div_pd(value, divisor);
    const __m512i up = _mm512_cvt_roundpd_epi64(_mm512_min_pd(_mm512_max_pd(quotient, least), most),
                                                _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
    const __m512i code = _mm512_add_epi64(up, _mm512_andnot_si512(noise, _mm512_set1_epi64(0xffffffff)));
    _mm512_mask_cvtepi64_storeu_epi8(out, in, _mm512_srli_epi64(code, 32));
}

/* Narrow int8 at random, with a step a column and a multiple of four rows in all: a counter's four words are those of four
   rows of a column. */
BL_TARGET_AVX512BW static void narrow_columns(const int8_t *x, const double *step, int32_t limit, const uint32_t *key,
                                              int64_t first, int64_t total, intptr_t rows, intptr_t n, int8_t *out)
{
    const __m512d most = _mm512_set1_pd(limit * 4294967296.0);
    const int64_t apart = total / 4;
    const __m512i places = _mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi64(apart));
    __m512i keys[2][10];
    bl_philox_keys(key, keys);
    for (intptr_t i = -(intptr_t)(first % 4); i < rows; i += 4)
        for (intptr_t j = 0; j < n; j += 16) {
            const int64_t counter = j * apart + (first + i) / 4;
            const __m512i counters[2] = {_mm512_add_epi64(places, _mm512_set1_epi64(counter)),
                                         _mm512_add_epi64(places, _mm512_set1_epi64(counter + 8 * apart))};
            const uint32_t in = n - j >= 16 ? 0xffff : (1u << (n - j)) - 1;
            __m512i words[4][2];
            bl_philox_lanes(keys, key, counters, words);
            for (int h = 0; h < 2; h++) {
                const __mmask8 here = (__mmask8)(in >> (8 * h));
                const __m512d divisor = _mm512_mul_pd(_mm512_mask_loadu_pd(most, here, step + j + 8 * h),
                                                      _mm512_set1_pd(1 / 4294967296.0));
                for (intptr_t r = bl_max(0, -i); r < bl_min(4, rows - i); r++)
                    narrow_eight(x + (i + r) * n + j + 8 * h, divisor, most, words[r][h], here,
                                 out + (i + r) * n + j + 8 * h);
            }
        }
}

/* Narrow int8 to nearest with one step, to a few codes: a magnitude's code is the number of those bounds that it reaches,
   the least magnitudes that are rounded to 1, 2 and so on. */
#define BL_FEW_CODES 7
#define BL_WORTH_BOUNDS 1024
BL_TARGET_AVX512BW static void narrow_by_bounds(const int8_t *x, double step, int limit, intptr_t n, int8_t *out)
{
    __m512i bounds[BL_FEW_CODES];
    int code = 0;
    for (int magnitude = 0; magnitude <= 128; magnitude++)
        for (const int reached = bl_nearest_double(fmin((double)magnitude / step, limit)); code < reached;)
            bounds[code++] = _mm512_set1_epi8((char)magnitude);
    for (intptr_t j = 0; j < n; j += 64) {
        const __mmask64 in = n - j >= 64 ? ~UINT64_C(0) : ~UINT64_C(0) >> (64 - (n - j));
        const __m512i value = _mm512_maskz_loadu_epi8(in, x + j), magnitude = _mm512_abs_epi8(value);
        __m512i codes = _mm512_setzero_si512();
        for (int c = 0; c < code; c++)
            codes = _mm512_mask_add_epi8(codes, _mm512_cmpge_epu8_mask(magnitude, bounds[c]), codes, _mm512_set1_epi8(1));
        codes = _mm512_mask_sub_epi8(codes, _mm512_movepi8_mask(value), _mm512_setzero_si512(), codes);
        _mm512_mask_storeu_epi8(out + j, in, codes);
    }
}

BL_TARGET_AVX512BW static int narrow_at_once(const void *x, int x_type, const double *step, int axis, int32_t limit,
                                             const uint32_t *key, int64_t first, int64_t total, intptr_t rows,
                                             intptr_t n, void *out, int out_type)
{
    const intptr_t row = axis < 0 ? rows * n : n;
    if (x_type != BL_INT8 || out_type != BL_INT8)
        return 0;
    if (key && axis == 1 && total % 4 == 0)
        narrow_columns(x, step, limit, key, first, total, rows, n, out);
    else if (!key && axis < 1 && limit <= BL_FEW_CODES && row >= BL_WORTH_BOUNDS)
        for (intptr_t i = 0; i * row < rows * n; i++)
            narrow_by_bounds((const int8_t *)x + i * row, step[axis < 0 ? 0 : first + i], limit, row,
                             (int8_t *)out + i * row);
    else
        return 0;
    return 1;
}

#define BL_NARROWED_AT_ONCE                                                                                            \
    if (narrow_at_once(x, x_type, step, axis, limit, key, first, total, rows, n, out, out_type))                       \
        return;
BL_DEFINE_NARROW_KERNEL(avx512bw, BL_TARGET_AVX512BW, BL_NARROWED_AT_ONCE)

#endif
