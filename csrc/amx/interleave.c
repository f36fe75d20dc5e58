/* Gradients whose terms lie a row of the matrix apart, laid out so that the groups of a row lie side by side: what a
   tile loads. The bytes of four terms, or the halves of two, are interleaved, and 16 groups by 16 rows transposed. */
#include "amx.h"

#ifdef BL_TILES

#define GROUPS BL_TILE_ROWS
#define ROW_BYTES (BL_BLOCK_GROUPS * BL_GROUP_BYTES)

/* Group l of row i to group i of row l: pairs, fours, then quarters of vectors change places. */
BL_TARGET_AMX BL_INLINE void transpose(__m512i v[GROUPS])
{
    __m512i w[GROUPS];
    for (int i = 0; i < GROUPS; i += 2) {
        w[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        w[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < GROUPS; i += 4) {
        v[i] = _mm512_unpacklo_epi64(w[i], w[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(w[i], w[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(w[i + 1], w[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(w[i + 1], w[i + 3]);
    }
    /* Quarter l of v[4 g + i] is row 4 l + i of groups 4 g to 4 g + 3. */
    for (int i = 0; i < 4; i++) {
        __m512i a = _mm512_shuffle_i32x4(v[i], v[4 + i], 0x44), b = _mm512_shuffle_i32x4(v[i], v[4 + i], 0xee);
        __m512i c = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0x44);
        __m512i d = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0xee);
        w[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        w[4 + i] = _mm512_shuffle_i32x4(a, c, 0xdd);
        w[8 + i] = _mm512_shuffle_i32x4(b, d, 0x88);
        w[12 + i] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
    for (int i = 0; i < GROUPS; i++)
        v[i] = w[i];
}

/* The group of 64 rows of int8, or 32 of int16, from `bytes` on: row 4 * parts * l + 4 * q + i is number 4 * l + i of
   part q. */
BL_TARGET_AMX BL_INLINE void load_group(int type, const char *const *terms, intptr_t bytes, __mmask64 in,
                                        __m512i part[4])
{
    __m512i a = _mm512_maskz_loadu_epi8(in, terms[0] + bytes), b = _mm512_maskz_loadu_epi8(in, terms[1] + bytes);
    if (type == BL_INT16) {
        part[0] = _mm512_unpacklo_epi16(a, b);
        part[1] = _mm512_unpackhi_epi16(a, b);
        return;
    }
    __m512i c = _mm512_maskz_loadu_epi8(in, terms[2] + bytes), d = _mm512_maskz_loadu_epi8(in, terms[3] + bytes);
    bl_interleave_bytes(a, b, c, d, part);
}

BL_TARGET_AMX BL_INLINE void interleave(int type, const char *const *terms, intptr_t groups, intptr_t count, void *out,
                                        bl_gradient_rows *rows, int32_t *totals)
{
    const __m512i ones = _mm512_set1_epi8(1);
    int parts = type == BL_INT8 ? 4 : 2, size = type == BL_INT8 ? 1 : 2, wide = 16 * parts;
    rows->count = count;
    rows->step = BL_GROUP_BYTES;
    for (intptr_t r = 0; r < count; r++) {
        rows->at[r] = (const char *)out + r * ROW_BYTES;
        rows->slot[r] = r;
    }
    for (intptr_t from = 0; from < count; from += wide) {
        intptr_t left = (count - from) * size;
        __mmask64 in = left >= 64 ? ~UINT64_C(0) : ~UINT64_C(0) >> (64 - left);
        __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                          _mm512_setzero_si512()};
        for (intptr_t g = 0; g < groups; g += GROUPS) {
            __m512i v[4][GROUPS];
            for (intptr_t s = 0; s < GROUPS; s++) {
                __m512i part[4];
                if (g + s < groups)
                    load_group(type, terms + (g + s) * BL_GROUP_BYTES / size, from * size, in, part);
                for (int q = 0; q < parts; q++) {
                    v[q][s] = g + s < groups ? part[q] : _mm512_setzero_si512();
                    if (type == BL_INT8)
                        sum[q] = _mm512_dpbusd_epi32(sum[q], ones, v[q][s]);
                }
            }
            for (int q = 0; q < parts; q++) {
                transpose(v[q]);
                for (intptr_t l = 0; l < 16; l++) {
                    intptr_t row = from + l / 4 * 4 * parts + 4 * q + l % 4;
                    if (row < count)
                        _mm512_storeu_si512((char *)out + row * ROW_BYTES + g * BL_GROUP_BYTES, v[q][l]);
                }
            }
        }
        if (type == BL_INT8) {
            int32_t sums[4][16];
            for (int q = 0; q < 4; q++)
                _mm512_storeu_si512(sums[q], sum[q]);
            for (intptr_t r = 0; r < 64 && from + r < count; r++)
                totals[from + r] += sums[r / 4 % 4][r / 16 * 4 + r % 4];
        }
    }
}

BL_TARGET_AMX void bl_interleave_int8_amx(const char *const *terms, intptr_t groups, intptr_t count, void *out,
                                          bl_gradient_rows *rows, int32_t *totals)
{
    interleave(BL_INT8, terms, groups, count, out, rows, totals);
}

BL_TARGET_AMX void bl_interleave_int16_amx(const char *const *terms, intptr_t groups, intptr_t count, void *out,
                                           bl_gradient_rows *rows, int32_t *totals)
{
    interleave(BL_INT16, terms, groups, count, out, rows, totals);
}

#endif
