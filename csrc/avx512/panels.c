/* Products with column panels on vpopcntq: a tile of up to 6 rows and 32 columns lives in registers for the whole depth,
   so a count is never reduced across lanes. 24 accumulators, 4 vectors of the panel, a broadcast word of a row and a
   temporary: 30 of 32 registers. */
#include "avx512.h"

#ifdef BL_X86_64

#define ROWS 6
#define TARGET BL_TARGET_AVX512

/* acc[r][q] = counts of row r in columns [8 * q, 8 * q + 8). rows and vectors are constants where it is inlined. */
BL_TARGET_AVX512 BL_INLINE void panel_tile(int rows, int vectors, const uint64_t *const a[ROWS], const uint64_t *panel,
                                           intptr_t words, __m512i acc[ROWS][4])
{
    for (int r = 0; r < rows; r++)
        for (int q = 0; q < vectors; q++)
            acc[r][q] = _mm512_setzero_si512();
    for (intptr_t p = 0; p < words; p++, panel += 8 * vectors) {
        __m512i column[4];
        for (int q = 0; q < vectors; q++)
            column[q] = _mm512_loadu_si512(panel + 8 * q);
        for (int r = 0; r < rows; r++) {
            __m512i row = _mm512_set1_epi64((long long)a[r][p]);
            for (int q = 0; q < vectors; q++)
                acc[r][q] = _mm512_add_epi64(acc[r][q], _mm512_popcnt_epi64(_mm512_xor_si512(row, column[q])));
        }
    }
}

#include "../avx512bw/panels.h"

#define KERNEL(name, parameters, arguments)                                                                            \
    void bl_##name##_avx512 parameters { bl_##name##_blocked(panel_block, BL_UNWRAP arguments); }
BL_PANEL_KERNELS(KERNEL)

#endif
