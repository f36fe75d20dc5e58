/* Products of gradients with bits on the dot instructions: a group of terms of a row, four bytes, is broadcast to
   sixteen columns of the panel. A tile of up to 6 rows and 64 columns lives in registers for the whole block: 24
   accumulators, 4 vectors of the panel and a broadcast. */
#include "tables.h"

#ifdef BL_X86_64

#define ROWS 6
#define VECTORS 4

BL_TARGET_AVX512 BL_INLINE __m512i dot(int type, __m512i sum, __m512i panel, __m512i g)
{
    if (type == BL_INT8)
        return _mm512_dpbusd_epi32(sum, panel, g);
    if (type == BL_INT16)
        return _mm512_dpwssd_epi32(sum, panel, g);
    return _mm512_castps_si512(
        _mm512_fmadd_ps(_mm512_castsi512_ps(panel), _mm512_castsi512_ps(g), _mm512_castsi512_ps(sum)));
}

BL_TARGET_AVX512 BL_INLINE __m512i broadcast(const char *at)
{
    int32_t group;
    memcpy(&group, at, sizeof group);
    return _mm512_set1_epi32(group);
}

/* *to = or += the sums of sixteen columns. */
BL_TARGET_AVX512 BL_INLINE void put(int type, int add, int32_t *to, __m512i sum)
{
    if (add && type == BL_FLOAT32)
        sum = _mm512_castps_si512(_mm512_add_ps(_mm512_load_ps((const float *)to), _mm512_castsi512_ps(sum)));
    else if (add)
        sum = _mm512_add_epi32(_mm512_load_si512(to), sum);
    _mm512_store_si512(to, sum);
}

/* The tile of rows i and following; type and count are constants where it is inlined. groups > 0. */
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
BL_TARGET_AVX512 BL_INLINE void gradient_tile(int type, int count, const bl_gradient_rows *rows, intptr_t i,
                                              const __m512i *panel, intptr_t groups, int32_t *sums, int add)
{
#define START(r)                                                                                                       \
    const char *at##r = rows->at[r < count ? i + r : i];                                                               \
    __m512i s##r##0 = _mm512_setzero_si512(), s##r##1 = s##r##0, s##r##2 = s##r##0, s##r##3 = s##r##0;
#define STEP(r)                                                                                                        \
    if (r < count) {                                                                                                   \
        __m512i g = broadcast(at##r + offset);                                                                         \
        s##r##0 = dot(type, s##r##0, columns0, g);                                                                     \
        s##r##1 = dot(type, s##r##1, columns1, g);                                                                     \
        s##r##2 = dot(type, s##r##2, columns2, g);                                                                     \
        s##r##3 = dot(type, s##r##3, columns3, g);                                                                     \
        BL_KEEP("v", s##r##0);                                                                                         \
        BL_KEEP("v", s##r##1);                                                                                         \
        BL_KEEP("v", s##r##2);                                                                                         \
        BL_KEEP("v", s##r##3);                                                                                         \
    }
#define FINISH(r)                                                                                                      \
    if (r < count) {                                                                                                   \
        int32_t *to = sums + BL_COLUMNS * rows->slot[i + r];                                                           \
        put(type, add, to, s##r##0);                                                                                   \
        put(type, add, to + 16, s##r##1);                                                                              \
        put(type, add, to + 32, s##r##2);                                                                              \
        put(type, add, to + 48, s##r##3);                                                                              \
    }
    EACH_ROW(START)
    intptr_t step = rows->step, offset = 0;
    do {
        __m512i columns0 = _mm512_load_si512(panel), columns1 = _mm512_load_si512(panel + 1);
        __m512i columns2 = _mm512_load_si512(panel + 2), columns3 = _mm512_load_si512(panel + 3);
        EACH_ROW(STEP)
        panel += VECTORS;
        offset += step;
    } while (--groups);
    EACH_ROW(FINISH)
}

BL_TARGET_AVX512 BL_INLINE void product(int type, const bl_gradient_rows *rows, const void *panel, intptr_t groups,
                                        void *sums, int add)
{
    intptr_t i = 0;
    for (; i + ROWS <= rows->count; i += ROWS)
        gradient_tile(type, ROWS, rows, i, panel, groups, sums, add);
    switch (rows->count - i) {
    case 5:
        gradient_tile(type, 5, rows, i, panel, groups, sums, add);
        break;
    case 4:
        gradient_tile(type, 4, rows, i, panel, groups, sums, add);
        break;
    case 3:
        gradient_tile(type, 3, rows, i, panel, groups, sums, add);
        break;
    case 2:
        gradient_tile(type, 2, rows, i, panel, groups, sums, add);
        break;
    case 1:
        gradient_tile(type, 1, rows, i, panel, groups, sums, add);
        break;
    }
}

#define PRODUCT(name, type)                                                                                            \
    BL_TARGET_AVX512 static void name(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums,    \
                                      int add)                                                                         \
    {                                                                                                                  \
        product(type, rows, panel, groups, sums, add);                                                                 \
    }
PRODUCT(product_int8, BL_INT8)
PRODUCT(product_int16, BL_INT16)
PRODUCT(product_float32, BL_FLOAT32)

/* --- Panels ------------------------------------------------------------------------------------------------------- */

/* Four words to 1 and 0: byte t of lane c holds term t of column c. A byte shuffle brings to each place the byte of the
   word that has its bit, a mask leaves the bit, and the minimum with 1 makes it 1. */
BL_TARGET_AVX512 void bl_expand_int8_avx512(const uint64_t *bits, intptr_t groups, void *panel)
{
    const __m512i low_halves = _mm512_set4_epi32(6, 4, 2, 0), high_halves = _mm512_set4_epi32(7, 5, 3, 1);
    const __m512i one = _mm512_set1_epi8(1);
    const __m512i upper = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi8(1), 1);
    /* Columns 0 to 7 of a word are in its byte 0, 8 to 15 in byte 1. */
    const __m512i first = _mm512_add_epi8(
        _mm512_set4_epi32(0x0c080400, 0x0c080400, 0x0c080400, 0x0c080400), upper);
    const __m512i second = _mm512_add_epi8(first, _mm512_set1_epi8(2));
    const __m128i low_nibble = _mm_setr_epi32(0x01010101, 0x02020202, 0x04040404, 0x08080808);
    const __m512i select = _mm512_inserti32x4(
        _mm512_inserti32x4(_mm512_broadcast_i32x4(low_nibble), _mm_slli_epi16(low_nibble, 4), 1),
        _mm_slli_epi16(low_nibble, 4), 3);
    __m512i *to = panel;
    for (intptr_t g = 0; g < groups; g++, to += VECTORS) {
        __m512i four = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(bits + 4 * g)));
        __m512i low = _mm512_permutexvar_epi32(low_halves, four), high = _mm512_permutexvar_epi32(high_halves, four);
        _mm512_store_si512(to, _mm512_min_epu8(_mm512_and_si512(_mm512_shuffle_epi8(low, first), select), one));
        _mm512_store_si512(to + 1, _mm512_min_epu8(_mm512_and_si512(_mm512_shuffle_epi8(low, second), select), one));
        _mm512_store_si512(to + 2, _mm512_min_epu8(_mm512_and_si512(_mm512_shuffle_epi8(high, first), select), one));
        _mm512_store_si512(to + 3, _mm512_min_epu8(_mm512_and_si512(_mm512_shuffle_epi8(high, second), select), one));
    }
}

/* Two words to +1 and -1, int16: the first is in the low halves of the lanes. */
BL_TARGET_AVX512 static void expand_int16(const uint64_t *bits, intptr_t groups, void *panel)
{
    const __m512i plus = _mm512_set1_epi16(1), minus = _mm512_set1_epi16(-1);
    /* In a lane of the shuffle's own, four columns: bytes 2t of the two words, then a bit of each. */
    const __m512i select = _mm512_inserti32x4(
        _mm512_inserti32x4(_mm512_broadcast_i32x4(_mm_setr_epi32(0x00010001, 0x00020002, 0x00040004, 0x00080008)),
                           _mm_setr_epi32(0x00100010, 0x00200020, 0x00400040, 0x00800080), 1),
        _mm_setr_epi32(0x00100010, 0x00200020, 0x00400040, 0x00800080), 3);
    const __m512i upper = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi8(1), 1);
    __m512i *to = panel;
    for (intptr_t g = 0; g < groups; g++, to += VECTORS) {
        __m512i two = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(bits + 2 * g)));
        for (int q = 0; q < VECTORS; q++) {
            __m512i from = _mm512_add_epi8(_mm512_set1_epi32(0x08080000 + 0x02020202 * q), upper);
            __mmask32 set = _mm512_test_epi16_mask(_mm512_shuffle_epi8(two, from), select);
            _mm512_store_si512(to + q, _mm512_mask_blend_epi16(set, minus, plus));
        }
    }
}

BL_TARGET_AVX512 static void expand_float32(const uint64_t *bits, intptr_t groups, void *panel)
{
    const __m512 plus = _mm512_set1_ps(1.0f), minus = _mm512_set1_ps(-1.0f);
    float *to = panel;
    for (intptr_t g = 0; g < groups; g++, to += BL_COLUMNS)
        for (int q = 0; q < VECTORS; q++)
            _mm512_store_ps(to + 16 * q, _mm512_mask_blend_ps((__mmask16)(bits[g] >> (16 * q)), minus, plus));
}

/* --- Rows --------------------------------------------------------------------------------------------------------- */

/* The sums of a row's bytes by lanes; `rest` masks those past a multiple of 64. */
BL_TARGET_AVX512 BL_INLINE __m512i total_lanes(const char *row, intptr_t bytes, __mmask64 rest)
{
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i last = _mm512_maskz_loadu_epi8(rest, row + bytes / 64 * 64);
    __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, last);
    for (intptr_t at = 0; at + 64 <= bytes; at += 64)
        sum = _mm512_dpbusd_epi32(sum, ones, _mm512_loadu_si512(row + at));
    return sum;
}

/* a + b with the lanes of both in turn: half of them in each. */
BL_TARGET_AVX512 BL_INLINE __m512i fold32(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

/* Four rows are folded together: a sum across lanes takes longer than the row. */
BL_TARGET_AVX512 void bl_total_int8_avx512(const bl_gradient_rows *rows, intptr_t groups, int32_t *totals)
{
    intptr_t bytes = BL_GROUP_BYTES * groups;
    __mmask64 rest = bytes % 64 ? ~UINT64_C(0) >> (64 - bytes % 64) : 0;
    for (intptr_t i = 0; i < rows->count; i += 4) {
        __m512i sum[4];
        int32_t sums[4];
        for (int r = 0; r < 4; r++)
            sum[r] = total_lanes(rows->at[bl_min(i + r, rows->count - 1)], bytes, rest);
        __m512i even = fold32(sum[0], sum[1]), odd = fold32(sum[2], sum[3]);
        __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd));
        __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
        _mm_storeu_si128((__m128i *)sums,
                         _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
        for (int r = 0; r < 4 && i + r < rows->count; r++)
            totals[rows->slot[i + r]] += sums[r];
    }
}

/* Sixty-four rows at a time, in the order that the unpacking of bytes leaves: row 16 l + 4 q + i is number 4 l + i of
   vector q. */
BL_TARGET_AVX512 static void interleave_int8(const char *const *terms, intptr_t groups, intptr_t count, void *out,
                                             bl_gradient_rows *rows, int32_t *totals)
{
    const __m512i ones = _mm512_set1_epi8(1);
    rows->count = count;
    rows->step = BL_GROUP_BYTES * BL_BLOCK_ROWS;
    for (intptr_t r = 0; r < count; r++) {
        rows->at[r] = (const char *)out + r / 64 * 256 + r / 4 % 4 * 64 + r / 16 % 4 * 16 + r % 4 * 4;
        rows->slot[r] = r;
    }
    for (intptr_t from = 0; from < count; from += 64) {
        __mmask64 in = count - from >= 64 ? ~UINT64_C(0) : ~UINT64_C(0) >> (64 - (count - from));
        char *to = (char *)out + 4 * from;
        __m512i sum[4];
        int32_t sums[64];
        for (int q = 0; q < 4; q++)
            sum[q] = _mm512_setzero_si512();
        for (intptr_t g = 0; g < groups; g++, to += rows->step) {
            __m512i a = _mm512_maskz_loadu_epi8(in, terms[4 * g] + from);
            __m512i b = _mm512_maskz_loadu_epi8(in, terms[4 * g + 1] + from);
            __m512i c = _mm512_maskz_loadu_epi8(in, terms[4 * g + 2] + from);
            __m512i d = _mm512_maskz_loadu_epi8(in, terms[4 * g + 3] + from);
            __m512i all[4];
            bl_interleave_bytes(a, b, c, d, all);
            for (int q = 0; q < 4; q++) {
                _mm512_storeu_si512(to + 64 * q, all[q]);
                sum[q] = _mm512_dpbusd_epi32(sum[q], ones, all[q]);
            }
        }
        for (int q = 0; q < 4; q++)
            _mm512_storeu_si512(sums + 16 * q, sum[q]);
        for (intptr_t r = 0; r < 64 && from + r < count; r++)
            totals[from + r] += sums[r / 4 % 4 * 16 + r / 16 * 4 + r % 4];
    }
}

static const bl_gradient_types types = {
    .int8 = {bl_expand_int8_avx512, interleave_int8, bl_total_int8_avx512, product_int8, bl_finish_int8_avx512, NULL},
    .int16 = {expand_int16, bl_interleave_int16, NULL, product_int16, bl_finish_int16_avx512, NULL},
    .float32 = {expand_float32, bl_interleave_float32, NULL, product_float32, bl_finish_float32_avx512, NULL},
};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_avx512 parameters                                                                                 \
    {                                                                                                                  \
        if (!bl_##name##_tables arguments)                                                                             \
            bl_##name##_blocked(&types, BL_UNWRAP arguments);                                                          \
    }
BL_GRADIENT_KERNELS(KERNEL)

#endif
