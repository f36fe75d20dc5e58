/* What becomes of the sums of gradients: written, added or compared, sixteen at a time. The type of the gradient is a
   constant where a function is inlined. */
#include "avx512.h"

#ifdef BL_X86_64

/* Sixteen sums, finished; int8 alone has totals. */
BL_TARGET_AVX512 BL_INLINE __m512i finished(int type, const int32_t *sums, int32_t total)
{
    __m512i sum = _mm512_loadu_si512(sums);
    return type == BL_INT8 ? _mm512_sub_epi32(_mm512_slli_epi32(sum, 1), _mm512_set1_epi32(total)) : sum;
}

/* Eight int64 sums of int16 products: half h of sixteen. */
BL_TARGET_AVX512 BL_INLINE __m512i widened(__m512i sum, int h)
{
    return _mm512_cvtepi32_epi64(h ? _mm512_extracti64x4_epi64(sum, 1) : _mm512_castsi512_si256(sum));
}

/* Out of int32, a threshold is out of reach of every sum as the limit is. */
BL_TARGET_AVX512 BL_INLINE uint64_t compare(int type, const bl_gradient_result *result, intptr_t group,
                                            const int32_t *sums, int32_t total, const int64_t *before)
{
    uint64_t bits = 0;
    for (int q = 0; q < 4; q++) {
        __m512i sum = finished(type, sums + 16 * q, total);
        uint64_t sixteen = 0;
        if (type == BL_FLOAT32) {
            __m512 threshold = _mm512_set1_ps(((const float *)result->threshold)[group]);
            sixteen = _mm512_cmp_ps_mask(_mm512_castsi512_ps(sum), threshold, _CMP_GE_OQ);
        } else if (type == BL_INT8) {
            int64_t threshold = ((const int64_t *)result->threshold)[group];
            threshold = threshold > INT32_MAX ? INT32_MAX : threshold < INT32_MIN ? INT32_MIN : threshold;
            sixteen = _mm512_cmpge_epi32_mask(sum, _mm512_set1_epi32((int32_t)threshold));
        } else
            for (int h = 0; h < 2; h++) {
                __m512i threshold = _mm512_set1_epi64(((const int64_t *)result->threshold)[group]);
                __m512i wide = widened(sum, h);
                if (before)
                    wide = _mm512_add_epi64(wide, _mm512_loadu_si512(before + 16 * q + 8 * h));
                sixteen |= (uint64_t)_mm512_cmpge_epi64_mask(wide, threshold) << (8 * h);
            }
        bits |= sixteen << (16 * q);
    }
    return bits;
}

/* *to = or += a vector of int32, int64 or float32. */
BL_TARGET_AVX512 BL_INLINE __m512i sum_of(int type, int add, __m512i before, __m512i value)
{
    if (!add)
        return value;
    if (type == BL_FLOAT32)
        return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(before), _mm512_castsi512_ps(value)));
    return type == BL_INT8 ? _mm512_add_epi32(before, value) : _mm512_add_epi64(before, value);
}

/* The lanes in a mask of sixteen sums, finished: the others are not read. */
BL_TARGET_AVX512 BL_INLINE __m512i finished_lanes(int type, const int32_t *sums, int32_t total, __mmask16 lanes)
{
    __m512i sum = _mm512_maskz_loadu_epi32(lanes, sums);
    return type == BL_INT8 ? _mm512_sub_epi32(_mm512_slli_epi32(sum, 1), _mm512_set1_epi32(total)) : sum;
}

/* Write the finished sums of 64 columns, four bytes each, past the caches where they fill lines: large arrays of NumPy
   begin 16 bytes behind the start of a line. Each store stays in its line, since one that reached, masked, into a line
   that is on its way to memory would wait for it: 8 times as long for all. */
BL_TARGET_AVX512 static void stream(int type, char *out, const int32_t *sums, int32_t total)
{
    const int past = (int)((uintptr_t)out % 64 / 4);
    const __mmask16 first = (__mmask16)(0xffffu << past);
    int c = 0;
    if (past) {
        _mm512_mask_store_epi32(out - 4 * past, first, finished_lanes(type, sums - past, total, first));
        c = 16 - past;
    }
    for (; c + 16 <= BL_COLUMNS; c += 16)
        _mm512_stream_si512((void *)(out + 4 * c), finished(type, sums + c, total));
    if (past)
        _mm512_mask_store_epi32(out + 4 * c, (__mmask16)~first, finished_lanes(type, sums + c, total, (__mmask16)~first));
}

/* Write or add the finished sums of `width` columns; the arguments before it are constants where it is inlined. Whole
   stores where all 64 are wanted: masked ones cost more. */
BL_TARGET_AVX512 BL_INLINE void write(int type, int add, intptr_t width, char *out, const int32_t *sums, int32_t total)
{
    int lanes = type == BL_INT16 ? 8 : 16;
    for (int c = 0; c < BL_COLUMNS; c += lanes, out += 64) {
        __m512i value = finished(type, sums + c / 16 * 16, total);
        if (type == BL_INT16)
            value = widened(value, c / 8 % 2);
        if (width == BL_COLUMNS) {
            _mm512_storeu_si512(out, sum_of(type, add, add ? _mm512_loadu_si512(out) : value, value));
        } else if (c < width) {
            __mmask16 in = (__mmask16)(width - c >= 16 ? 0xffff : (1 << (width - c)) - 1);
            if (type == BL_INT16) {
                __m512i before = add ? _mm512_maskz_loadu_epi64((__mmask8)in, out) : value;
                _mm512_mask_storeu_epi64(out, (__mmask8)in, sum_of(type, add, before, value));
            } else {
                __m512i before = add ? _mm512_maskz_loadu_epi32(in, out) : value;
                _mm512_mask_storeu_epi32(out, in, sum_of(type, add, before, value));
            }
        }
    }
}

BL_TARGET_AVX512 BL_INLINE void finish(int type, const bl_gradient_result *result, intptr_t row, intptr_t word,
                                       const int32_t *sums, int32_t total, const int64_t *before)
{
    if (result->kind == BL_COMPARE) {
        intptr_t at = row * bl_words(result->n) + word;
        uint64_t bits = compare(type, result, row / result->rows_per_threshold, sums, total, before);
        /* The mask's zero tail clears the columns past n. */
        ((uint64_t *)result->out)[at] = bits & result->mask[at];
        return;
    }
    intptr_t at = (intptr_t)(row * result->n) + BL_COLUMNS * word, width = (intptr_t)result->n - BL_COLUMNS * word;
    char *out = (char *)result->out + at * (type == BL_INT16 ? 8 : 4);
    if (result->kind == BL_ADD && width >= BL_COLUMNS)
        write(type, 1, BL_COLUMNS, out, sums, total);
    else if (result->kind == BL_ADD)
        write(type, 1, width, out, sums, total);
    else if (result->kind == BL_STREAM && type != BL_INT16 && width >= BL_COLUMNS)
        stream(type, out, sums, total);
    else if (width >= BL_COLUMNS)
        write(type, 0, BL_COLUMNS, out, sums, total);
    else
        write(type, 0, width, out, sums, total);
}

#define FINISH_TYPE(name, type)                                                                                        \
    BL_TARGET_AVX512 void name(const bl_gradient_result *result, intptr_t row, intptr_t word, const void *sums,        \
                               int shift, int32_t total, const int64_t *before)                                        \
    {                                                                                                                  \
        (void)shift;                                                                                                   \
        finish(type, result, row, word, sums, total, before);                                                          \
    }
FINISH_TYPE(bl_finish_int8_avx512, BL_INT8)
FINISH_TYPE(bl_finish_int16_avx512, BL_INT16)
FINISH_TYPE(bl_finish_float32_avx512, BL_FLOAT32)

#endif
