/* Dots of 4 rows with 4 columns in vectors of 512 bits, eight words a step, a masked last step: all but the counting of
   bits, in nothing but AVX-512 F, BW, VL and DQ. */
/* The number of set bits of each word. Functions are constants where they are inlined, as are numbers. */
typedef __m512i bl_popcount512(__m512i x);

/* The sums of four vectors of 64-bit counts, as four 32-bit ones. */
BL_TARGET_AVX512BW static inline __m128i reduce4(const __m512i v[4])
{
    __m512i v01 = _mm512_add_epi64(_mm512_unpacklo_epi64(v[0], v[1]), _mm512_unpackhi_epi64(v[0], v[1]));
    __m512i v23 = _mm512_add_epi64(_mm512_unpacklo_epi64(v[2], v[3]), _mm512_unpackhi_epi64(v[2], v[3]));
    /* Lanes of 128 bits: {01, 01, 23, 23} of the lower and of the upper halves, then {01, 23, 01, 23}. */
    __m512i halves = _mm512_add_epi64(_mm512_shuffle_i64x2(v01, v23, 0x44), _mm512_shuffle_i64x2(v01, v23, 0xee));
    halves = _mm512_add_epi64(halves, _mm512_shuffle_i64x2(halves, halves, 0xb1));
    halves = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 1, 4, 5, 0, 1, 4, 5), halves);
    return _mm256_castsi256_si128(_mm512_cvtepi64_epi32(halves));
}

/* acc[r][c] += popcount((a[r] ^ b[c]) & valid[r]) of words [p, p + 8), or of those in `in`. */
BL_TARGET_AVX512BW BL_INLINE void step(bl_popcount512 *popcount, const uint64_t *const a[4],
                                       const uint64_t *const valid[4], const uint64_t *const b[4], intptr_t p,
                                       __mmask8 in, __m512i acc[4][4])
{
    __m512i column[4];
    for (int c = 0; c < 4; c++)
        column[c] = _mm512_maskz_loadu_epi64(in, b[c] + p);
    for (int r = 0; r < 4; r++) {
        __m512i row = _mm512_maskz_loadu_epi64(in, a[r] + p);
        __m512i counted = valid ? _mm512_maskz_loadu_epi64(in, valid[r] + p) : _mm512_setzero_si512();
        for (int c = 0; c < 4; c++) {
            /* 0x28 is (x ^ y) & z. */
            __m512i differ = valid ? _mm512_ternarylogic_epi64(row, column[c], counted, 0x28)
                                   : _mm512_xor_si512(row, column[c]);
            acc[r][c] = _mm512_add_epi64(acc[r][c], popcount(differ));
        }
    }
}

BL_TARGET_AVX512BW BL_INLINE void dot_tile(bl_popcount512 *popcount, const uint64_t *const a[4],
                                           const uint64_t *const valid[4], const uint64_t *const b[4], intptr_t words,
                                           int32_t counts[BL_ROWS][BL_COLUMNS], intptr_t c)
{
    __m512i acc[4][4];
    intptr_t p = 0;
    for (int r = 0; r < 4; r++)
        for (int q = 0; q < 4; q++)
            acc[r][q] = _mm512_setzero_si512();
    for (; p + 8 <= words; p += 8)
        step(popcount, a, valid, b, p, 0xff, acc);
    if (p < words)
        step(popcount, a, valid, b, p, (__mmask8)(0xff >> (8 - (words - p))), acc);
    for (int r = 0; r < 4; r++) {
        __m128i *to = (__m128i *)(counts[r] + c);
        _mm_storeu_si128(to, _mm_add_epi32(_mm_loadu_si128(to), reduce4(acc[r])));
    }
}

BL_TARGET_AVX512BW BL_INLINE void bl_xnor_block512(bl_popcount512 *popcount, const uint64_t *const a[BL_ROWS],
                                                   const uint64_t *const valid[BL_ROWS], const uint64_t *b,
                                                   intptr_t b_stride, intptr_t columns, intptr_t words,
                                                   int32_t counts[BL_ROWS][BL_COLUMNS])
{
    for (intptr_t c = 0; c < columns; c += 4) {
        const uint64_t *four[4];
        for (int q = 0; q < 4; q++)
            four[q] = b + bl_min(c + q, columns - 1) * b_stride;
        if (valid)
            dot_tile(popcount, a, valid, four, words, counts, c);
        else
            dot_tile(popcount, a, NULL, four, words, counts, c);
    }
}
