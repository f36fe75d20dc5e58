/* Tables of subset sums, the indices by which columns look them up, and the loops that add up what is found. */
#include "tables.h"

#ifdef BL_X86_64

static const uint8_t counting[64] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                     22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
                                     44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

/* The first `count` bytes, of at most 64. */
BL_TARGET_TABLES BL_INLINE __mmask64 first_bytes(intptr_t count)
{
    return count >= 64 ? ~UINT64_C(0) : count > 0 ? ~UINT64_C(0) >> (64 - count) : 0;
}

/* Bytes have a sign or none: a constant where a function is inlined. The instruction's first factor has none. */
BL_TARGET_TABLES BL_INLINE int32_t total_of(int has_sign, const int8_t *row, intptr_t count)
{
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i sum = _mm512_setzero_si512();
    for (intptr_t t = 0; t < count; t += 64) {
        const __m512i bytes = _mm512_maskz_loadu_epi8(first_bytes(count - t), row + t);
        sum = has_sign ? _mm512_dpbusd_epi32(sum, ones, bytes) : _mm512_dpbusd_epi32(sum, bytes, ones);
    }
    return _mm512_reduce_add_epi32(sum);
}

/* --- Indices ------------------------------------------------------------------------------------------------------ */

/* Byte c of the result has bit c of word t in bit t. The bytes of eight words are brought together to squares of 8 by 8
   bits, the last word first, as the instruction has its matrices; their products with unit vectors are their columns. */
BL_TARGET_TABLES BL_INLINE __m512i columns_of(__m512i words)
{
    const __m512i at = _mm512_loadu_si512(counting), seven = _mm512_set1_epi8(7);
    const __m512i byte = _mm512_and_si512(_mm512_srli_epi16(at, 3), seven);
    const __m512i word = _mm512_slli_epi16(_mm512_andnot_si512(at, seven), 3);
    const __m512i squares = _mm512_permutexvar_epi8(_mm512_or_si512(word, byte), words);
    return _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64((long long)UINT64_C(0x8040201008040201)), squares, 0);
}

BL_TARGET_TABLES static void index_of_4(const uint64_t *bits, intptr_t groups, intptr_t stride, char *out)
{
    for (intptr_t q = 0; q < groups; q++)
        _mm512_store_si512(out + q * stride, columns_of(_mm512_maskz_loadu_epi64(0x3f, bits + 6 * q)));
}

BL_TARGET_TABLES static void index_of_8(const uint64_t *bits, intptr_t groups, intptr_t stride, char *out)
{
    for (intptr_t q = 0; q < groups; q++, out += stride) {
        const __m512i columns = columns_of(_mm512_maskz_loadu_epi64(0x1f, bits + 5 * q));
        _mm512_store_si512(out, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(columns)));
        _mm512_store_si512(out + 64, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(columns, 1)));
    }
}

/* --- Tables ------------------------------------------------------------------------------------------------------- */

/* Eight groups of six terms at a time: the sums of three terms, of the other three, and both. 42 is added to each, so that
   none is below 0. */
BL_TARGET_TABLES static void tables_of_4(const int8_t *const *rows, intptr_t count, void *out, int32_t *totals)
{
    const __mmask64 odd = UINT64_C(0xaaaaaaaaaaaaaaaa), pair = UINT64_C(0xcccccccccccccccc), four = UINT64_C(0xf0f0f0f0f0f0f0f0);
    const __m512i at = _mm512_loadu_si512(counting), seven = _mm512_set1_epi8(7), half = _mm512_set1_epi8(21);
    const __m512i low = _mm512_and_si512(at, seven), high = _mm512_and_si512(_mm512_srli_epi16(at, 3), seven);
    const __m512i six = _mm512_add_epi8(_mm512_slli_epi16(high, 2), _mm512_slli_epi16(high, 1));
    __m512i term[6];
    for (int t = 0; t < 6; t++)
        term[t] = _mm512_add_epi8(six, _mm512_set1_epi8((char)t));
    const intptr_t groups = bl_table_groups(&bl_tables_of_4, count);
    for (int r = 0; r < 4; r++) {
        __m512i *to = (__m512i *)out + r;
        totals[r] = total_of(1, rows[r], count);
        for (intptr_t q = 0; q < groups; q += 8) {
            const __m512i u = _mm512_maskz_loadu_epi8(first_bytes(bl_min(48, count - 6 * q)), rows[r] + 6 * q);
            __m512i a = _mm512_add_epi8(half, _mm512_maskz_permutexvar_epi8(odd, term[0], u));
            __m512i b = _mm512_add_epi8(half, _mm512_maskz_permutexvar_epi8(odd, term[3], u));
            a = _mm512_add_epi8(a, _mm512_add_epi8(_mm512_maskz_permutexvar_epi8(pair, term[1], u),
                                                   _mm512_maskz_permutexvar_epi8(four, term[2], u)));
            b = _mm512_add_epi8(b, _mm512_add_epi8(_mm512_maskz_permutexvar_epi8(pair, term[4], u),
                                                   _mm512_maskz_permutexvar_epi8(four, term[5], u)));
            for (int each = 0; each < 8; each++, to += 4) {
                const __m512i here = _mm512_set1_epi8((char)(8 * each));
                _mm512_store_si512(to, _mm512_add_epi8(_mm512_permutexvar_epi8(_mm512_add_epi8(low, here), a),
                                                       _mm512_permutexvar_epi8(_mm512_add_epi8(high, here), b)));
            }
        }
    }
}

/* Four groups of five terms at a time: the sums of three terms, of the other two, and both. */
BL_TARGET_TABLES BL_INLINE void tables_of_bytes(int has_sign, const int8_t *const *rows, intptr_t count, void *out,
                                                int32_t *totals)
{
    const __mmask32 odd = 0xaaaaaaaa, pair = 0xcccccccc, four = 0xf0f0f0f0;
    const __m512i at = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)counting));
    const __m512i low = _mm512_and_si512(at, _mm512_set1_epi16(7)), high = _mm512_srli_epi16(at, 3);
    const __m512i five = _mm512_add_epi16(_mm512_slli_epi16(high, 2), high);
    __m512i term[5];
    for (int t = 0; t < 5; t++)
        term[t] = _mm512_add_epi16(five, _mm512_set1_epi16((short)t));
    const intptr_t groups = bl_table_groups(&bl_tables_of_8, count);
    for (int r = 0; r < BL_TABLE_ROWS; r++) {
        __m512i *to = (__m512i *)out + r;
        totals[r] = total_of(has_sign, rows[r], count);
        for (intptr_t q = 0; q < groups; q += 4) {
            const __m256i bytes = _mm512_castsi512_si256(
                _mm512_maskz_loadu_epi8(first_bytes(bl_min(20, count - 5 * q)), rows[r] + 5 * q));
            const __m512i u = has_sign ? _mm512_cvtepi8_epi16(bytes) : _mm512_cvtepu8_epi16(bytes);
            __m512i a = _mm512_maskz_permutexvar_epi16(odd, term[0], u);
            a = _mm512_add_epi16(a, _mm512_add_epi16(_mm512_maskz_permutexvar_epi16(pair, term[1], u),
                                                     _mm512_maskz_permutexvar_epi16(four, term[2], u)));
            const __m512i b = _mm512_add_epi16(_mm512_maskz_permutexvar_epi16(odd, term[3], u),
                                               _mm512_maskz_permutexvar_epi16(pair, term[4], u));
            for (int each = 0; each < 4; each++, to += BL_TABLE_ROWS) {
                const __m512i here = _mm512_set1_epi16((short)(8 * each));
                _mm512_store_si512(to, _mm512_add_epi16(_mm512_permutexvar_epi16(_mm512_add_epi16(low, here), a),
                                                        _mm512_permutexvar_epi16(_mm512_add_epi16(high, here), b)));
            }
        }
    }
}

BL_TARGET_TABLES static void tables_of_8(const int8_t *const *rows, intptr_t count, void *out, int32_t *totals)
{
    tables_of_bytes(1, rows, count, out, totals);
}

BL_TARGET_TABLES static void tables_of_low(const int8_t *const *rows, intptr_t count, void *out, int32_t *totals)
{
    tables_of_bytes(0, rows, count, out, totals);
}

/* --- Tiles -------------------------------------------------------------------------------------------------------- */

/* Three look-ups fit a byte, then they are widened: 16-bit lanes are added as they are, and once more shifted right by 8.
   The second sum is that of the odd columns; the first less 256 times the second is that of the even ones. */
BL_TARGET_TABLES static void tile_of_4(const void *tables, intptr_t groups, const void *index, char *const *sums, int add)
{
#define EACH(X) X(0) X(1) X(2) X(3)
#define START(r) __m512i all##r##0 = zero, odd##r##0 = zero, all##r##1 = zero, odd##r##1 = zero;
    const __m512i zero = _mm512_setzero_si512();
    EACH(START)
    const __m512i *t = tables, *i = index;
    do {
#define FIRST(r)                                                                                                       \
    __m512i table##r = t[r];                                                                                           \
    BL_KEEP("v", table##r);                                                                                            \
    __m512i bytes##r##0 = _mm512_permutexvar_epi8(i0, table##r), bytes##r##1 = _mm512_permutexvar_epi8(i1, table##r);
#define NEXT(r)                                                                                                        \
    table##r = t[r];                                                                                                   \
    BL_KEEP("v", table##r);                                                                                            \
    bytes##r##0 = _mm512_add_epi8(bytes##r##0, _mm512_permutexvar_epi8(i0, table##r));                                 \
    bytes##r##1 = _mm512_add_epi8(bytes##r##1, _mm512_permutexvar_epi8(i1, table##r));                                 \
    BL_KEEP("v", bytes##r##0);                                                                                         \
    BL_KEEP("v", bytes##r##1);
#define WIDEN(r, c)                                                                                                    \
    all##r##c = _mm512_add_epi16(all##r##c, bytes##r##c);                                                              \
    odd##r##c = _mm512_add_epi16(odd##r##c, _mm512_srli_epi16(bytes##r##c, 8));                                        \
    BL_KEEP("v", all##r##c);                                                                                           \
    BL_KEEP("v", odd##r##c);
#define LAST(r) NEXT(r) WIDEN(r, 0) WIDEN(r, 1)
        __m512i i0 = i[0], i1 = i[1];
        EACH(FIRST)
        t += 4;
        i0 = i[2], i1 = i[3];
        EACH(NEXT)
        t += 4;
        i0 = i[4], i1 = i[5];
        EACH(LAST)
        t += 4;
        i += 6;
    } while ((groups -= 3) > 0);
    /* One after the other: sums of the second columns may be those of the first ones of another row. */
#define PUT(r, c)                                                                                                      \
    {                                                                                                                  \
        __m512i *to = (__m512i *)(void *)sums[2 * r + c];                                                              \
        to[0] = add ? _mm512_add_epi16(to[0], all##r##c) : all##r##c;                                                  \
        to[1] = add ? _mm512_add_epi16(to[1], odd##r##c) : odd##r##c;                                                  \
    }
#define PUT_BOTH(r) PUT(r, 0) PUT(r, 1)
    EACH(PUT_BOTH)
#undef EACH
#undef START
#undef PUT
}

BL_TARGET_TABLES static void widen_of_4(const char *sums, int32_t *out)
{
    const __m512i odd = _mm512_load_si512(sums + 64);
    const __m512i even = _mm512_sub_epi16(_mm512_load_si512(sums), _mm512_slli_epi16(odd, 8));
    /* Lane 2 i of the order is column i of sixteen: even ones from the first operand, odd ones from the second. */
    const __m512i column = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)counting));
    const __m512i order = _mm512_or_si512(_mm512_srli_epi32(column, 1),
                                          _mm512_slli_epi32(_mm512_and_si512(column, _mm512_set1_epi32(1)), 5));
    for (int q = 0; q < 4; q++) {
        const __m512i from = _mm512_add_epi32(order, _mm512_set1_epi32(8 * q));
        _mm512_store_si512(out + 16 * q, _mm512_maskz_permutex2var_epi16(0x55555555, even, from, odd));
    }
}

/* 256 terms fit 16 bits, with a sign or without, then they are widened. */
BL_TARGET_TABLES BL_INLINE void tile_of_bytes(int has_sign, const void *tables, intptr_t groups, const void *index,
                                              char *const *sums, int add)
{
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define START(r) __m512i s##r##0 = _mm512_setzero_si512(), s##r##1 = s##r##0, s##r##2 = s##r##0, s##r##3 = s##r##0;
    EACH(START)
    const __m512i *t = tables, *i = index;
    do {
        const __m512i i0 = i[0], i1 = i[1], i2 = i[2], i3 = i[3];
#define STEP(r)                                                                                                        \
    {                                                                                                                  \
        const __m512i table = t[r];                                                                                    \
        s##r##0 = _mm512_add_epi16(s##r##0, _mm512_permutexvar_epi16(i0, table));                                      \
        s##r##1 = _mm512_add_epi16(s##r##1, _mm512_permutexvar_epi16(i1, table));                                      \
        s##r##2 = _mm512_add_epi16(s##r##2, _mm512_permutexvar_epi16(i2, table));                                      \
        s##r##3 = _mm512_add_epi16(s##r##3, _mm512_permutexvar_epi16(i3, table));                                      \
        BL_KEEP("v", s##r##0);                                                                                         \
        BL_KEEP("v", s##r##1);                                                                                         \
        BL_KEEP("v", s##r##2);                                                                                         \
        BL_KEEP("v", s##r##3);                                                                                         \
    }
        EACH(STEP)
        t += BL_TABLE_ROWS;
        i += 4;
    } while (--groups > 0);
#define HALF(r, v, h)                                                                                                  \
    {                                                                                                                  \
        char *to = sums[2 * r + v / 2] + 128 * (v % 2) + 64 * h;                                                         \
        const __m256i half = h ? _mm512_extracti64x4_epi64(s##r##v, 1) : _mm512_castsi512_si256(s##r##v);              \
        const __m512i wide = has_sign ? _mm512_cvtepi16_epi32(half) : _mm512_cvtepu16_epi32(half);                     \
        _mm512_store_si512(to, add ? _mm512_add_epi32(wide, _mm512_load_si512(to)) : wide);                            \
    }
#define PUT(r) HALF(r, 0, 0) HALF(r, 0, 1) HALF(r, 1, 0) HALF(r, 1, 1) HALF(r, 2, 0) HALF(r, 2, 1) HALF(r, 3, 0) HALF(r, 3, 1)
    EACH(PUT)
}

BL_TARGET_TABLES static void tile_of_8(const void *tables, intptr_t groups, const void *index, char *const *sums, int add)
{
    tile_of_bytes(1, tables, groups, index, sums, add);
}

BL_TARGET_TABLES static void tile_of_low(const void *tables, intptr_t groups, const void *index, char *const *sums, int add)
{
    tile_of_bytes(0, tables, groups, index, sums, add);
}

const bl_table_type bl_tables_of_4 = {.terms = 6,
                                      .step = 3,
                                      .rows = 4,
                                      .most = 1536,
                                      .index_bytes = 64,
                                      .sum_bytes = 128,
                                      .offset = 42,
                                      .largest_term = 7,
                                      .largest = UINT16_MAX,
                                      .tables = tables_of_4,
                                      .index = index_of_4,
                                      .tile = tile_of_4,
                                      .widen = widen_of_4};

/* Of bytes with a sign or without: of so large ones, by these functions. */
#define TABLES_OF_BYTES(largest_byte, make, add_up)                                                                    \
    {.terms = 5, .step = 1, .rows = BL_TABLE_ROWS, .most = 256, .index_bytes = 128, .sum_bytes = 256, .offset = 0,     \
     .largest_term = largest_byte, .largest = INT32_MAX, .tables = make, .index = index_of_8, .tile = add_up}
const bl_table_type bl_tables_of_8 = TABLES_OF_BYTES(128, tables_of_8, tile_of_8);
const bl_table_type bl_tables_of_low = TABLES_OF_BYTES(255, tables_of_low, tile_of_low);

#endif
