/* The counting of products with forms over two bits, in bit planes: the idea is in quads.h. A file that includes it
   defines PLANES before, the bits that a count may have. */
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
#if defined(__clang__)
    /* Clang before 20 encodes an offset to a broadcast operand of this instruction eight times too large (LLVM pull request
       120340): it is left none. */
    __m512i parities;
    __asm__("vgf2p8affineqb $0, (%2)%{1to8%}, %1, %0"
            : "=v"(parities)
            : "v"(columns), "r"(row), "m"(*(const struct eight_rows *)(const void *)row));
    return parities;
#elif defined(__GNUC__)
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

/* Add `count` carries of weight 64, one or more, to the planes from there on; carries has room for one more. */
BL_TARGET_QUADS BL_INLINE void add_carries(__m512i *planes, int levels, __m512i *carries, intptr_t count)
{
    int level = 0;
    for (; count > 2; level++) {
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
    __m512i x = carries[0], y = count == 2 ? carries[1] : _mm512_setzero_si512();
    for (; level < levels; level++) {
        __m512i carry;
        FULL_ADD(planes[level], x, y, carry);
        x = carry;
        y = _mm512_setzero_si512();
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

/* planes[r * PLANES + i] = bit i of the counts of 8 rows r (bits of a byte) and 64 columns (bytes), i < most; where
   `doubling`, of those and the sums that the planes from 1 on hold, of `doubling` such counts, each doubled for the next.
   What will be written is asked for in the meantime, a row a word: `bytes` at out + stride * row. */
BL_TARGET_QUADS BL_INLINE void count_quads(int groups, int doubling, const uint8_t *row0, const uint8_t *row1,
                                           const uint8_t *columns, intptr_t words, const char *out, intptr_t stride,
                                           intptr_t rows, int bytes, int most, __m512i *planes)
{
    const __m512i zero = _mm512_setzero_si512();
#define HELD(r, i) doubling && r < groups ? planes[r * PLANES + i] : zero
    __m512i p0 = HELD(0, 1), p1 = HELD(0, 2), p2 = HELD(0, 3), p3 = HELD(0, 4), p4 = HELD(0, 5);
    __m512i q0 = HELD(1, 1), q1 = HELD(1, 2), q2 = HELD(1, 3), q3 = HELD(1, 4), q4 = HELD(1, 5);
    __m512i carries[GROUPS][CARRIES + 1];
    intptr_t kept = 0;
    int levels = 0;
    while (words << (doubling ? doubling + 1 : 0) >> levels)
        levels++;
    for (int r = 0; r < groups && !doubling; r++)
        for (int i = 6; i < most; i++)
            planes[r * PLANES + i] = zero;
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
                add_carries(planes + r * PLANES + 6, levels, carries[r], kept);
            kept = 0;
        }
    }
    const __m512i low[GROUPS][5] = {{p0, p1, p2, p3, p4}, {q0, q1, q2, q3, q4}};
    for (int r = 0; r < groups; r++) {
        planes[r * PLANES] = form(_mm512_loadu_si512(columns), r ? row1 : row0);
        for (int i = 0; i < 5; i++)
            planes[r * PLANES + 1 + i] = low[r][i];
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
