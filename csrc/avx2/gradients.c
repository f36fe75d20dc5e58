/* Products of gradients with bits: a group of terms of a row, four bytes, is broadcast to eight columns of the panel.
   A tile of up to 6 rows and 16 columns lives in registers for the whole block: 12 accumulators, 2 vectors of the
   panel, a broadcast and a product fill all 16. */
#include "avx2.h"

#ifdef BL_X86_64

enum { INT8, INT16, FLOAT32 };

#define ROWS 6

/* Pairs of int8 products with 1 and 0 are at least -256, and a block has 64 groups: their sums stay within int16. */
BL_TARGET_AVX2 BL_INLINE __m256i dot(int type, __m256i sum, __m256i panel, __m256i g)
{
    if (type == INT8)
        return _mm256_add_epi16(sum, _mm256_maddubs_epi16(panel, g));
    if (type == INT16)
        return _mm256_add_epi32(sum, _mm256_madd_epi16(panel, g));
    __m256 product = _mm256_mul_ps(_mm256_castsi256_ps(panel), _mm256_castsi256_ps(g));
    return _mm256_castps_si256(_mm256_add_ps(_mm256_castsi256_ps(sum), product));
}

/* *to = or += the sums of eight columns. */
BL_TARGET_AVX2 BL_INLINE void put(int type, int add, __m256i *to, __m256i sum)
{
    if (type == INT8)
        sum = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
    if (add && type == FLOAT32)
        sum = _mm256_castps_si256(_mm256_add_ps(_mm256_load_ps((const float *)to), _mm256_castsi256_ps(sum)));
    else if (add)
        sum = _mm256_add_epi32(_mm256_load_si256(to), sum);
    _mm256_store_si256(to, sum);
}

BL_TARGET_AVX2 BL_INLINE __m256i broadcast(const char *at)
{
    int32_t group;
    memcpy(&group, at, sizeof group);
    return _mm256_set1_epi32(group);
}

/* The tile of rows i and following in the columns from `column` on; type and count are constants where it is inlined.
   Variables of a name each, since GCC keeps arrays of so many vectors in memory, at half the speed. */
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
BL_TARGET_AVX2 BL_INLINE void gradient_tile(int type, int count, const bl_gradient_rows *rows, intptr_t i, int column,
                                            const __m256i *panel, intptr_t groups, int32_t *sums, int add)
{
#define START(r)                                                                                                       \
    const char *at##r = rows->at[r < count ? i + r : i];                                                               \
    __m256i s##r##0 = _mm256_setzero_si256(), s##r##1 = s##r##0;
#define STEP(r)                                                                                                        \
    if (r < count) {                                                                                                   \
        __m256i g = broadcast(at##r + offset);                                                                         \
        s##r##0 = dot(type, s##r##0, columns0, g);                                                                     \
        s##r##1 = dot(type, s##r##1, columns1, g);                                                                     \
        BL_KEEP("x", s##r##0);                                                                                         \
        BL_KEEP("x", s##r##1);                                                                                         \
    }
#define FINISH(r)                                                                                                      \
    if (r < count) {                                                                                                   \
        int32_t *to = sums + BL_COLUMNS * rows->slot[i + r] + column;                                                  \
        put(type, add, (__m256i *)to, s##r##0);                                                                        \
        put(type, add, (__m256i *)(to + 8), s##r##1);                                                                  \
    }
    EACH_ROW(START)
    intptr_t step = rows->step, offset = 0;
    panel += column / 8;
    do {
        __m256i columns0 = _mm256_load_si256(panel), columns1 = _mm256_load_si256(panel + 1);
        EACH_ROW(STEP)
        panel += BL_COLUMNS / 8;
        offset += step;
    } while (--groups);
    EACH_ROW(FINISH)
}

BL_TARGET_AVX2 BL_INLINE void product(int type, const bl_gradient_rows *rows, const __m256i *panel, intptr_t groups,
                                      int32_t *sums, int add)
{
    for (int column = 0; column < BL_COLUMNS; column += 16) {
        intptr_t i = 0;
        for (; i + ROWS <= rows->count; i += ROWS)
            gradient_tile(type, ROWS, rows, i, column, panel, groups, sums, add);
        if (i + 3 <= rows->count) {
            gradient_tile(type, 3, rows, i, column, panel, groups, sums, add);
            i += 3;
        }
        for (; i < rows->count; i++)
            gradient_tile(type, 1, rows, i, column, panel, groups, sums, add);
    }
}

#define PRODUCT(name, type)                                                                                            \
    BL_TARGET_AVX2 static void name(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums,      \
                                    int add)                                                                           \
    {                                                                                                                  \
        product(type, rows, panel, groups, sums, add);                                                                 \
    }
PRODUCT(product_int8, INT8)
PRODUCT(product_int16, INT16)
PRODUCT(product_float32, FLOAT32)

/* --- Panels ------------------------------------------------------------------------------------------------------- */

/* Four words to 1 and 0: byte t of lane c holds term t of column c. A byte shuffle brings to each place the byte of the
   word that has its bit, a mask leaves the bit, and the minimum with 1 makes it 1. */
BL_TARGET_AVX2 static void expand_int8(const uint64_t *bits, intptr_t groups, void *panel)
{
    const __m256i low_halves = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6), one = _mm256_set1_epi8(1);
    const __m256i high_halves = _mm256_setr_epi32(1, 3, 5, 7, 1, 3, 5, 7);
    const __m256i select = _mm256_setr_epi32(0x01010101, 0x02020202, 0x04040404, 0x08080808, 0x10101010, 0x20202020,
                                             0x40404040, (int)0x80808080);
    __m256i *to = panel;
    for (intptr_t g = 0; g < groups; g++) {
        __m256i four = _mm256_loadu_si256((const __m256i *)(bits + 4 * g));
        __m256i halves[2] = {_mm256_permutevar8x32_epi32(four, low_halves),
                             _mm256_permutevar8x32_epi32(four, high_halves)};
        for (int h = 0; h < BL_COLUMNS / 8; h++, to++) {
            __m256i from = _mm256_set1_epi32(0x0c080400 + 0x01010101 * (h % 4));
            __m256i set = _mm256_and_si256(_mm256_shuffle_epi8(halves[h / 4], from), select);
            _mm256_store_si256(to, _mm256_min_epu8(set, one));
        }
    }
}

/* Two words to +1 and -1, int16, the first in the low halves of the lanes: -1 where the bit is clear, or'ed with 1. */
BL_TARGET_AVX2 static void expand_int16(const uint64_t *bits, intptr_t groups, void *panel)
{
    const __m256i select = _mm256_setr_epi32(0x00010001, 0x00020002, 0x00040004, 0x00080008, 0x00100010, 0x00200020,
                                             0x00400040, 0x00800080);
    const __m256i one = _mm256_set1_epi16(1), zero = _mm256_setzero_si256();
    __m256i *to = panel;
    for (intptr_t g = 0; g < groups; g++) {
        __m256i two = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(bits + 2 * g)));
        for (int h = 0; h < BL_COLUMNS / 8; h++, to++) {
            __m256i from = _mm256_set1_epi32(0x08080000 + 0x01010101 * h);
            __m256i set = _mm256_and_si256(_mm256_shuffle_epi8(two, from), select);
            _mm256_store_si256(to, _mm256_or_si256(_mm256_cmpeq_epi16(set, zero), one));
        }
    }
}

BL_TARGET_AVX2 static void expand_float32(const uint64_t *bits, intptr_t groups, void *panel)
{
    const __m256i select = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256 plus = _mm256_set1_ps(1.0f), minus = _mm256_set1_ps(-1.0f);
    float *to = panel;
    for (intptr_t g = 0; g < groups; g++)
        for (int h = 0; h < BL_COLUMNS / 8; h++, to += 8) {
            __m256i set = _mm256_and_si256(_mm256_set1_epi32((int)(bits[g] >> (8 * h))), select);
            __m256 mask = _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, select));
            _mm256_store_ps(to, _mm256_blendv_ps(minus, plus, mask));
        }
}

/* --- Rows --------------------------------------------------------------------------------------------------------- */

/* int16 sums of pairs of int8, added to. */
BL_TARGET_AVX2 BL_INLINE __m256i add_pairs(__m256i sum, __m256i g)
{
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(_mm256_set1_epi8(1), g));
}

BL_TARGET_AVX2 static void total(const bl_gradient_rows *rows, intptr_t groups, int32_t *totals)
{
    size_t bytes = (size_t)(BL_GROUP_BYTES * groups), whole = bytes / 32 * 32;
    for (intptr_t r = 0; r < rows->count; r++) {
        const char *row = rows->at[r];
        char rest[32] = {0};
        memcpy(rest, row + whole, bytes - whole);
        __m256i sum = add_pairs(_mm256_setzero_si256(), _mm256_loadu_si256((const __m256i *)rest));
        for (size_t at = 0; at < whole; at += 32)
            sum = add_pairs(sum, _mm256_loadu_si256((const __m256i *)(row + at)));
        sum = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
        __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
        four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
        four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1));
        totals[rows->slot[r]] += _mm_cvtsi128_si32(four);
    }
}

/* The totals of eight rows at a time; past the last row there is room for eight. */
BL_TARGET_AVX2 static void interleave_int8(const char *const *terms, intptr_t groups, intptr_t count, void *out,
                                           bl_gradient_rows *rows, int32_t *totals)
{
    bl_interleave_int8(terms, groups, count, out, rows, NULL);
    for (intptr_t from = 0; from < count; from += 8) {
        __m256i sum = _mm256_setzero_si256();
        int32_t sums[8];
        for (intptr_t g = 0; g < groups; g++)
            sum = add_pairs(sum, _mm256_loadu_si256((const __m256i *)((char *)out + g * rows->step + 4 * from)));
        _mm256_storeu_si256((__m256i *)sums, _mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
        for (intptr_t r = 0; r < 8 && from + r < count; r++)
            totals[from + r] += sums[r];
    }
}

static const bl_gradient_types types = {
    .int8 = {expand_int8, interleave_int8, total, product_int8, bl_gradient_finish, NULL},
    .int16 = {expand_int16, bl_interleave_int16, NULL, product_int16, bl_gradient_finish, NULL},
    .float32 = {expand_float32, bl_interleave_float32, NULL, product_float32, bl_gradient_finish, NULL},
};

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_avx2 parameters { bl_##name##_blocked(&types, BL_UNWRAP arguments); }
BL_GRADIENT_KERNELS(KERNEL)

#endif
