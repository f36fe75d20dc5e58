/* Products with forms over two bits (gf2p8affineqb), 64 columns and 16 rows at a time: the idea is in quads.h. */
#include "quads.h"

#ifdef BL_X86_64

/* Bit planes of a count: words of the depth stay below 1024, so a count below 65536. */
#define PLANES 16
/* Groups of 8 rows in a tile. */
#define GROUPS 2

#define XOR3(x, y, z) _mm512_ternarylogic_epi64(x, y, z, 0x96)
#define MAJ3(x, y, z) _mm512_ternarylogic_epi64(x, y, z, 0xe8)

#define FULL_ADD(plane, x, y, carry)                                                                                   \
    do {                                                                                                               \
        carry = MAJ3(plane, x, y);                                                                                     \
        plane = XOR3(plane, x, y);                                                                                     \
    } while (0)

struct eight_rows {
    uint8_t bytes[8];
};

/* The parities of byte i of each lane of the columns and row r: bit 7 - r of byte i. GCC makes two instructions of the
   intrinsics, and then runs out of registers. */
BL_TARGET_QUADS BL_INLINE __m512i form(__m512i columns, const uint8_t *row)
{
#if defined(__GNUC__) || defined(__clang__)
    __m512i parities;
    __asm__("vgf2p8affineqb $0, %2%{1to8%}, %1, %0"
            : "=v"(parities)
            : "v"(columns), "m"(*(const struct eight_rows *)(const void *)row));
    return parities;
#else
    return _mm512_gf2p8affine_epi64_epi8(columns, _mm512_set1_epi64(*(const int64_t *)row), 0);
#endif
}

/* The carry of weight 4 that four values of the depth give to a plane of weight 2. */
BL_TARGET_QUADS BL_INLINE __m512i quad(__m512i columns, const uint8_t *row, __m512i *plane)
{
    __m512i c = form(columns, row), cd = form(columns, row + 64);
    __m512i carry = _mm512_ternarylogic_epi64(*plane, c, cd, 0xe4);
    *plane = _mm512_xor_si512(*plane, cd);
    return carry;
}

/* So many carries of weight 64 are kept before they are added up: the main loop stays free of branches. */
#define CARRIES 64

/* Add `count` carries of weight 64 to the planes from there on; carries has room for one more. */
BL_TARGET_QUADS BL_INLINE void add_carries(__m512i *planes, int levels, __m512i *carries, intptr_t count)
{
    for (int level = 0; level < levels; level++) {
        __m512i plane = planes[level];
        if (count & 1)
            carries[count++] = _mm512_setzero_si512();
        for (intptr_t i = 0; i < count; i += 2) {
            __m512i x = carries[i], y = carries[i + 1];
            carries[i / 2] = MAJ3(plane, x, y);
            plane = XOR3(plane, x, y);
        }
        planes[level] = plane;
        count /= 2;
    }
}

/* Carries x and y, of weight 4 and up, of the quads from g on, for the groups of rows 0 and 1. */
#define C4(g, x, y)                                                                                                    \
    do {                                                                                                               \
        __m512i column = _mm512_loadu_si512(columns + 64 * (g));                                                       \
        x = quad(column, row0 + (g) / 8 * 128 + (g) % 8 * 8, &p0);                                                     \
        y = groups > 1 ? quad(column, row1 + (g) / 8 * 128 + (g) % 8 * 8, &q0) : x;                                    \
    } while (0)
#define C8(g, x, y)                                                                                                    \
    do {                                                                                                               \
        __m512i x8, y8, xx8, yy8;                                                                                      \
        C4(g, x8, y8);                                                                                                 \
        C4((g) + 1, xx8, yy8);                                                                                         \
        FULL_ADD(p1, x8, xx8, x);                                                                                      \
        FULL_ADD(q1, y8, yy8, y);                                                                                      \
    } while (0)
#define C16(g, x, y)                                                                                                   \
    do {                                                                                                               \
        __m512i x16, y16, xx16, yy16;                                                                                  \
        C8(g, x16, y16);                                                                                               \
        C8((g) + 2, xx16, yy16);                                                                                       \
        FULL_ADD(p2, x16, xx16, x);                                                                                    \
        FULL_ADD(q2, y16, yy16, y);                                                                                    \
    } while (0)
#define C32(g, x, y)                                                                                                   \
    do {                                                                                                               \
        __m512i x32, y32, xx32, yy32;                                                                                  \
        C16(g, x32, y32);                                                                                              \
        C16((g) + 4, xx32, yy32);                                                                                      \
        FULL_ADD(p3, x32, xx32, x);                                                                                    \
        FULL_ADD(q3, y32, yy32, y);                                                                                    \
    } while (0)
#define C64(g, x, y)                                                                                                   \
    do {                                                                                                               \
        __m512i x64, y64, xx64, yy64;                                                                                  \
        C32(g, x64, y64);                                                                                              \
        C32((g) + 8, xx64, yy64);                                                                                      \
        FULL_ADD(p4, x64, xx64, x);                                                                                    \
        FULL_ADD(q4, y64, yy64, y);                                                                                    \
    } while (0)

/* planes[r][i] = bit i of the counts of 8 rows (bits of a byte) and 64 columns (bytes). What will be written is asked for
   in the meantime, a row a word: `bytes` at out + stride * row. */
BL_TARGET_QUADS BL_INLINE void count(int groups, const uint8_t *row0, const uint8_t *row1, const uint8_t *columns,
                            intptr_t words, const char *out, intptr_t stride, intptr_t rows, int bytes,
                            __m512i planes[GROUPS][PLANES])
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i p0 = zero, p1 = zero, p2 = zero, p3 = zero, p4 = zero, q0 = zero, q1 = zero, q2 = zero, q3 = zero, q4 = zero;
    __m512i carries[GROUPS][CARRIES + 1];
    intptr_t kept = 0;
    int levels = 0;
    while (words >> levels)
        levels++;
    for (int r = 0; r < groups; r++)
        for (int i = 6; i < PLANES; i++)
            planes[r][i] = zero;
    for (intptr_t p = 0; p < words; p++, columns += 1024, row0 += 256, row1 += 256) {
        if (p < rows)
            for (int line = 0; line < bytes; line += 64)
                _mm_prefetch(out + p * stride + line, _MM_HINT_ET0);
        __m512i x, y;
        C64(0, x, y);
        carries[0][kept] = x;
        if (groups > 1)
            carries[1][kept] = y;
        if (++kept == CARRIES || p + 1 == words) {
            for (int r = 0; r < groups; r++)
                add_carries(planes[r] + 6, levels, carries[r], kept);
            kept = 0;
        }
    }
    const __m512i low[GROUPS][5] = {{p0, p1, p2, p3, p4}, {q0, q1, q2, q3, q4}};
    for (int r = 0; r < groups; r++) {
        planes[r][0] = form(_mm512_loadu_si512(columns), r ? row1 : row0);
        for (int i = 0; i < 5; i++)
            planes[r][1 + i] = low[r][i];
    }
}

/* Eight planes to eight rows of bytes: bit i of byte c of row r is bit r of byte c of plane i. */
BL_TARGET_QUADS BL_INLINE void transpose(const __m512i planes[8], __m512i rows[8])
{
    for (int i = 0; i < 8; i++)
        rows[i] = planes[i];
#define SWAP(distance, mask)                                                                                           \
    for (int i = 0; i < 8; i++)                                                                                        \
        if (!(i & distance)) {                                                                                         \
            const __m512i in = _mm512_set1_epi8(mask);                                                                 \
            __m512i x = rows[i], y = rows[i + distance];                                                               \
            rows[i] = _mm512_ternarylogic_epi64(in, x, _mm512_slli_epi64(y, distance), 0xca);                          \
            rows[i + distance] = _mm512_ternarylogic_epi64(in, _mm512_srli_epi64(x, distance), y, 0xca);               \
        }
    SWAP(4, 0x0f)
    SWAP(2, 0x33)
    SWAP(1, 0x55)
}

/* What is written: the types of BL_DOTS, or bits. */
enum { INT16, INT32, FLOAT32, BITS };

/* 32 values as int16, from int32. */
BL_TARGET_QUADS BL_INLINE __m512i narrow(const int32_t *values)
{
    __m256i low = _mm512_cvtepi32_epi16(_mm512_loadu_si512(values));
    __m256i high = _mm512_cvtepi32_epi16(_mm512_loadu_si512(values + 16));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* Finish 32 columns of a row, of which `width` are wanted; `few` says that counts are below 4096, so that dots fit int16.
   Returns their bits, where these are wanted. */
BL_TARGET_QUADS BL_INLINE uint32_t finish_half(const bl_xnor_result *result, int form, int full, int few, intptr_t row,
                                      intptr_t column, intptr_t width, const int32_t *base, __m512i counts)
{
    if (few)
        counts = _mm512_sub_epi16(narrow(base), _mm512_add_epi16(counts, counts));
    intptr_t at = row * result->columns + column;
    if (form == INT16 && full && few) {
        _mm512_storeu_si512((int16_t *)result->out + at, counts);
        return 0;
    }
    uint32_t bits = 0;
    for (int q = 0; q < 2; q++) {
        __m256i half = q ? _mm512_extracti64x4_epi64(counts, 1) : _mm512_castsi512_si256(counts);
        __m512i dots = few ? _mm512_cvtepi16_epi32(half)
                           : _mm512_sub_epi32(_mm512_loadu_si512(base + 16 * q),
                                              _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 1));
        intptr_t left = width - 16 * q;
        __mmask16 in = full || left >= 16 ? 0xffff : left <= 0 ? 0 : (__mmask16)((1u << left) - 1);
        if (form == BITS) {
            __m512i threshold = _mm512_maskz_loadu_epi32(in, result->threshold + column + 16 * q);
            bits |= (uint32_t)_mm512_mask_cmpge_epi32_mask(in, dots, threshold) << (16 * q);
        } else if (form == INT16)
            _mm512_mask_cvtepi32_storeu_epi16((int16_t *)result->out + at + 16 * q, in, dots);
        else {
            __m512i value = form == FLOAT32 ? _mm512_castps_si512(_mm512_cvtepi32_ps(dots)) : dots;
            if (full)
                _mm512_storeu_si512((int32_t *)result->out + at + 16 * q, value);
            else
                _mm512_mask_storeu_epi32((int32_t *)result->out + at + 16 * q, in, value);
        }
    }
    return bits;
}

/* Finish up to 8 rows and 64 columns. */
BL_TARGET_QUADS BL_INLINE void finish(const bl_xnor_result *result, int form, int full, int few, const __m512i planes[PLANES],
                             intptr_t row, intptr_t rows, intptr_t column, intptr_t width, const int32_t *bases,
                             intptr_t bases_stride)
{
    __m512i low[8], high[8], four[8];
    for (int i = 0; i < 8; i++)
        four[i] = few && i >= 4 ? _mm512_setzero_si512() : planes[8 + i];
    transpose(planes, low);
    transpose(four, high);
    for (int r = 0; r < 8 && r < rows; r++) {
        const int32_t *base = bases + (row + r) * bases_stride;
        uint64_t bits = finish_half(result, form, full, few, row + r, column, width, base,
                                    _mm512_unpacklo_epi8(low[r], high[r]));
        if (full || width > 32)
            bits |= (uint64_t)finish_half(result, form, full, few, row + r, column + 32, width - 32, base + 32,
                                          _mm512_unpackhi_epi8(low[r], high[r]))
                    << 32;
        if (form == BITS)
            ((uint64_t *)result->out)[(row + r) * bl_words(result->columns) + column / 64] = bits;
    }
}

BL_TARGET_QUADS BL_INLINE void tile(int groups, int form, int full, const uint8_t *rows, const uint8_t *columns, intptr_t row,
                           intptr_t left, intptr_t words, intptr_t column, intptr_t width, const int32_t *bases,
                           intptr_t bases_stride, const bl_xnor_result *result)
{
    __m512i planes[GROUPS][PLANES];
    const uint8_t *first = rows + row / 8 * bl_quads_of_rows(words);
    intptr_t size = form == INT16 ? 2 : 4;
    const char *out = form == BITS ? NULL : (const char *)result->out + (row * result->columns + column) * size;
    count(groups, first, groups > 1 ? first + bl_quads_of_rows(words) : first, columns, words, out,
          result->columns * size, form == BITS || !full ? 0 : bl_min(left, 8 * groups), 64 * (int)size, planes);
    for (int r = 0; r < groups; r++)
        if (words < 64)
            finish(result, form, full, 1, planes[r], row + 8 * r, left - 8 * r, column, width, bases, bases_stride);
        else
            finish(result, form, full, 0, planes[r], row + 8 * r, left - 8 * r, column, width, bases, bases_stride);
}

BL_TARGET_QUADS BL_INLINE void all_rows(int form, int full, const uint8_t *rows, const uint8_t *columns, intptr_t m,
                               intptr_t words, intptr_t column, intptr_t width, const int32_t *bases,
                               intptr_t bases_stride, const bl_xnor_result *result)
{
    intptr_t i = 0;
    for (; m - i > 8; i += 16)
        tile(2, form, full, rows, columns, i, m - i, words, column, width, bases, bases_stride, result);
    if (i < m)
        tile(1, form, full, rows, columns, i, m - i, words, column, width, bases, bases_stride, result);
}

/* See bl_quads. */
BL_TARGET_QUADS static void quad_block(const uint8_t *rows, const uint8_t *columns, intptr_t m, intptr_t words,
                                       intptr_t column, intptr_t width, const int32_t *bases, intptr_t bases_stride,
                                       const bl_xnor_result *result)
{
    int form = result->kind == BL_SIGNS ? BITS
               : result->out_type == BL_INT16 ? INT16
               : result->out_type == BL_INT32 ? INT32
                                              : FLOAT32;
#define ALL_ROWS(form, full) all_rows(form, full, rows, columns, m, words, column, width, bases, bases_stride, result)
    if (width < BL_QUAD_PANEL)
        ALL_ROWS(form, 0);
    else if (form == INT16)
        ALL_ROWS(INT16, 1);
    else if (form == INT32)
        ALL_ROWS(INT32, 1);
    else if (form == FLOAT32)
        ALL_ROWS(FLOAT32, 1);
    else
        ALL_ROWS(BITS, 1);
}

static void product(const uint64_t *a, const uint8_t *columns, intptr_t m, intptr_t k, intptr_t words, int64_t n,
                    const bl_xnor_result *result, uint8_t *scratch)
{
    intptr_t step = bl_quads_step(words);
    bl_xnor_result part = *result;
    int32_t base[BL_QUAD_PANEL];
    for (int c = 0; c < BL_QUAD_PANEL; c++)
        base[c] = (int32_t)n;
    for (intptr_t i = 0; i < m; i += step) {
        intptr_t rows = bl_min(step, m - i);
        if (result->kind == BL_SIGNS)
            part.out = (uint64_t *)result->out + i * bl_words(k);
        else
            part.out = (char *)result->out + i * k * (result->out_type == BL_INT16 ? 2 : 4);
        bl_recode_rows(a + i * words, rows, words, scratch);
        const uint8_t *panel = columns;
        for (intptr_t j = 0; j < k; j += BL_QUAD_PANEL, panel += bl_quads_of_columns(1, words))
            quad_block(scratch, panel, rows, words, j, bl_min(BL_QUAD_PANEL, k - j), base, 0, &part);
    }
}

void bl_xnor_matmul_quads_avx512(const uint64_t *a, const uint8_t *columns, intptr_t m, intptr_t k, intptr_t words,
                                 int64_t n, void *out, int out_type, uint8_t *scratch)
{
    bl_xnor_result result = {.kind = BL_DOTS, .out_type = out_type, .out = out, .columns = k};
    product(a, columns, m, k, words, n, &result, scratch);
}

void bl_xnor_matmul_sign_quads_avx512(const uint64_t *a, const uint8_t *columns, intptr_t m, intptr_t k, intptr_t words,
                                      int64_t n, const int32_t *threshold, uint64_t *out, uint8_t *scratch)
{
    bl_xnor_result result = {.kind = BL_SIGNS, .threshold = threshold, .out = out, .columns = k};
    product(a, columns, m, k, words, n, &result, scratch);
}

void bl_xnor_conv2d_quads_avx512(const uint64_t *x, const uint64_t *panels, const uint8_t *columns,
                                 const bl_conv2d *shape, void *out, int out_type, uint8_t *scratch)
{
    bl_quads quads = {columns, scratch, bl_recode_rows, quad_block};
    bl_xnor_result result = {.kind = BL_DOTS, .out_type = out_type, .out = out, .columns = shape->out_channels};
    bl_conv2d_quads_blocked(&quads, x, panels, shape, &result);
}

void bl_xnor_conv2d_sign_quads_avx512(const uint64_t *x, const uint64_t *panels, const uint8_t *columns,
                                      const bl_conv2d *shape, const int32_t *threshold, uint64_t *out,
                                      uint8_t *scratch)
{
    bl_quads quads = {columns, scratch, bl_recode_rows, quad_block};
    bl_xnor_result result = {
        .kind = BL_SIGNS, .threshold = threshold, .out = out, .columns = shape->out_channels};
    bl_conv2d_quads_blocked(&quads, x, panels, shape, &result);
}

#endif
