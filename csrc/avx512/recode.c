/* Rows and columns recoded for products with forms over two bits: what the bytes mean is in quads.h. */
#include "quads.h"

#ifdef BL_X86_64

/* The bytes of an index: p, then the parities z0 to z3 after each of the values. */
#define BIT(i, b) ((i) >> (b)&1)
#define MAJ(x, y, z) (((x) & (y)) | ((x) & (z)) | ((y) & (z)))
#define U1(i) BIT(i, 1)
#define V1(i) (BIT(i, 0) ^ BIT(i, 1) ^ BIT(i, 2))
#define F1(i) MAJ(BIT(i, 0), BIT(i, 0) ^ BIT(i, 1), BIT(i, 1) ^ BIT(i, 2))
#define U2(i) BIT(i, 3)
#define V2(i) (BIT(i, 2) ^ BIT(i, 3) ^ BIT(i, 4))
#define F2(i) MAJ(BIT(i, 2), BIT(i, 2) ^ BIT(i, 3), BIT(i, 3) ^ BIT(i, 4))
#define COLUMN(i) 1 | F1(i) << 1 | U1(i) << 2 | V1(i) << 3 | F2(i) << 4 | U2(i) << 5 | V2(i) << 6
#define ROW_C(i) F1(i) | 1 << 1 | V1(i) << 2 | U1(i) << 3
#define ROW_CD(i) (F1(i) ^ F2(i)) | 1 << 1 | V1(i) << 2 | U1(i) << 3 | 1 << 4 | V2(i) << 5 | U2(i) << 6
#define TIMES4(f, i) f(i), f((i) + 1), f((i) + 2), f((i) + 3)
#define TIMES16(f, i) TIMES4(f, i), TIMES4(f, (i) + 4), TIMES4(f, (i) + 8), TIMES4(f, (i) + 12)
/* Twice, since vpermb takes six bits of an index. */
#define TABLE(f) {TIMES16(f, 0), TIMES16(f, 16), TIMES16(f, 0), TIMES16(f, 16)}
static const uint8_t column_table[64] = TABLE(COLUMN), row_c_table[64] = TABLE(ROW_C), row_cd_table[64] = TABLE(ROW_CD);

/* Of 8 words, one a lane, the indices of 16 quads, as bytes [quad][lane as `order` has it]; `parity` is all ones in the
   lanes whose words before had an odd number of ones, and is carried on. */
BL_TARGET_QUADS BL_INLINE void indices(__m512i words, __m512i order, __m512i *parity, __m512i index[2])
{
    const __m512i low = _mm512_set1_epi64(0x1c1814100c080400), high = _mm512_set1_epi64(0x3b37332f2b27231f);
    __m512i z = _mm512_gf2p8affine_epi64_epi8(words, _mm512_set1_epi64(0x0103070f1f3f7fff), 0);
    __m512i bytes = _mm512_slli_epi64(_mm512_gf2p8affine_epi64_epi8(words, _mm512_set1_epi64(-1), 0), 8);
    bytes = _mm512_xor_si512(bytes, _mm512_slli_epi64(bytes, 8));
    bytes = _mm512_xor_si512(bytes, _mm512_slli_epi64(bytes, 16));
    z = _mm512_ternarylogic_epi64(z, bytes, _mm512_slli_epi64(bytes, 32), 0x96);
    z = _mm512_xor_si512(z, *parity);
    __m512i shifted = _mm512_ternarylogic_epi64(_mm512_slli_epi64(z, 1), *parity, _mm512_set1_epi64(1), 0xf8);
    *parity = _mm512_srai_epi64(z, 63);
    index[0] = _mm512_permutexvar_epi8(order, _mm512_multishift_epi64_epi8(low, shifted));
    index[1] = _mm512_permutexvar_epi8(order, _mm512_multishift_epi64_epi8(high, z));
}

/* order[8 * quad + place] = 8 * lane + quad, lane = place or 7 - place. */
BL_TARGET_QUADS BL_INLINE __m512i transpose_order(int reverse)
{
    __m512i first = _mm512_set1_epi64(reverse ? 0x0008101820283038 : 0x3830282018100800);
    const uint64_t one = 0x0101010101010101;
    return _mm512_add_epi8(first, _mm512_set_epi64(7 * one, 6 * one, 5 * one, 4 * one, 3 * one, 2 * one, one, 0));
}

/* Eight columns lie side by side in a panel, which are the eight words of a step. */
BL_TARGET_QUADS void bl_recode_panels_avx512(const uint64_t *panels, intptr_t k, intptr_t words, uint8_t *out)
{
    const __m512i order = transpose_order(0), table = _mm512_loadu_si512(column_table);
    for (intptr_t j = 0; j < k; j += BL_QUAD_PANEL, out += words * 1024 + 64)
        for (int q = 0; q < 8; q++) {
            intptr_t column = j + q % 2 * BL_PANEL + q / 2 * 8, first = column / BL_PANEL * BL_PANEL;
            intptr_t width = (bl_min(BL_PANEL, k - first) + 7) / 8 * 8;
            const uint64_t *from = panels + first * words + column % BL_PANEL;
            __m512i parity = _mm512_setzero_si512();
            for (intptr_t p = 0; p < words; p++) {
                __m512i eight = column < k ? _mm512_loadu_si512(from + p * width) : _mm512_setzero_si512();
                __m512i index[2];
                indices(eight, order, &parity, index);
                uint64_t *to = (uint64_t *)(void *)(out + p * 1024) + q;
                for (int half = 0; half < 2; half++) {
                    uint64_t bytes[8];
                    _mm512_storeu_si512(bytes, _mm512_permutexvar_epi8(index[half], table));
                    for (int g = 0; g < 8; g++)
                        to[(8 * half + g) * 8] = bytes[g];
                }
            }
            uint64_t last = 0;
            __mmask8 odd = _mm512_movepi64_mask(parity);
            for (int c = 0; c < 8; c++)
                last |= (uint64_t)(1 | (odd >> c & 1) << 1) << (8 * c);
            ((uint64_t *)(void *)(out + words * 1024))[q] = last;
        }
}

/* Eight rows of eight words to eight words of eight rows. */
BL_TARGET_QUADS BL_INLINE void transpose_words(__m512i v[8])
{
    __m512i t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_epi64(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi64(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            v[i + j] = _mm512_shuffle_i64x2(t[i + j], t[i + j + 2], 0x88);
            v[i + j + 2] = _mm512_shuffle_i64x2(t[i + j], t[i + j + 2], 0xdd);
        }
    for (int j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_i64x2(v[j], v[j + 4], 0x88);
        t[j + 4] = _mm512_shuffle_i64x2(v[j], v[j + 4], 0xdd);
    }
    for (int j = 0; j < 8; j++)
        v[j] = t[j];
}

/* Eight rows, `stride` words apart: 8 x 8 words are transposed, so that a lane is a row. All bits are flipped where `flip`
   has all set. */
BL_TARGET_QUADS void bl_recode_eight(const uint64_t *a, intptr_t stride, intptr_t m, intptr_t words, uint64_t flip,
                                     uint8_t *out)
{
    const __m512i order = transpose_order(1), flips = _mm512_set1_epi64((long long)flip);
    const __m512i c = _mm512_loadu_si512(row_c_table), cd = _mm512_loadu_si512(row_cd_table);
    __m512i parity = _mm512_setzero_si512();
    for (intptr_t p = 0; p < words; p += 8) {
        intptr_t now = bl_min(8, words - p);
        __mmask8 in = (__mmask8)((1u << now) - 1);
        __m512i v[8];
        for (int r = 0; r < 8; r++)
            v[r] = r < m ? _mm512_xor_si512(flips, _mm512_maskz_loadu_epi64(in, a + r * stride + p))
                         : _mm512_setzero_si512();
        transpose_words(v);
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++, out += 256) {
            if (k >= now)
                break;
            __m512i index[2];
            indices(v[k], order, &parity, index);
            for (int half = 0; half < 2; half++) {
                _mm512_storeu_si512(out + 128 * half, _mm512_permutexvar_epi8(index[half], c));
                _mm512_storeu_si512(out + 128 * half + 64, _mm512_permutexvar_epi8(index[half], cd));
            }
        }
    }
    uint64_t last = 0;
    __mmask8 odd = _mm512_movepi64_mask(parity);
    for (int r = 0; r < 8; r++)
        last |= (uint64_t)((odd >> r & 1) | 2) << (8 * (7 - r));
    _mm512_storeu_si512(out, _mm512_set1_epi64((long long)last));
}

void bl_recode_rows(const uint64_t *a, intptr_t m, intptr_t words, uint8_t *out)
{
    for (intptr_t i = 0; i < m; i += 8, out += bl_quads_of_rows(words))
        bl_recode_eight(a + i * words, words, m - i, words, 0, out);
}

#endif
