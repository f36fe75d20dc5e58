/* Products without counting: gf2p8affineqb gives, for 8 rows and 64 columns at once, the parity of eight products of
   bits. Two such forms of the next 4 values of a row and of a column are enough to carry a running count in bit
   planes, so that 4 words of the depth cost 6 operations where xor, vpopcntq and vpaddq cost 12.

   Let x1, x2, ... be the differences a ^ b of a row and a column, and p the parity of those before. A full adder takes
   (p, x1, x2) to the next parity and a carry worth 2. Parities are linear: they are known for the row and for the
   column alone, and none is computed here. A carry is quadratic: with u = p ^ x1 and v = p ^ x2 it is u v ^ p, and as
   each of the three is a part of the row xor a part of the column,
       carry = maj(row) 1 ^ 1 maj(column) ^ u(row) v(column) ^ v(row) u(column):
   four products of bits. Four values have two carries c and d; the row holds a byte for c and one for c ^ d, the column
   holds one byte for both: 1, maj, u, v of the first two values, maj, u, v of the next. Then
       carry of weight 4 = maj(plane2, c, d),    plane2 ^= c ^ d
   are one vpternlogq and one vpxorq, and two such carries cost two vpternlogq (a full adder) at each plane above.

   Layouts. 64 columns: for each word 16 vectors, one for 4 values; byte 8 q + i is column (q % 2) * 32 + q / 2 * 8 + i,
   so that unpacking bytes to 16 bits leaves the columns in order. 8 rows: for each word 4 vectors, [values 0 to 31 or
   32 to 63][c or c ^ d][8 quads][8 rows], the last row first, as the instruction has it. After the last word: one vector,
   or one row of 8 bytes, for the parity of all. */
#ifndef BL_QUADS_H
#define BL_QUADS_H

#include "avx512.h"

#ifdef BL_X86_64

#define BL_TARGET_QUADS BL_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,gfni")

/* Recode rows for a block of a product; those past the last of 8 are 0. */
void bl_recode_rows(const uint64_t *a, intptr_t m, intptr_t words, uint8_t *out);

/* Recode rows [0, m) of 8, `stride` words apart, the words exclusive-or `flip`. */
void bl_recode_eight(const uint64_t *a, intptr_t stride, intptr_t m, intptr_t words, uint64_t flip, uint8_t *out);

bl_quad_block bl_multiply_quads;

/* planes_matmul with recoded columns. */
void bl_multiply_planes(const uint64_t *planes, int bits, const uint64_t *panels, const uint8_t *columns, intptr_t m,
                        intptr_t k, intptr_t words, int64_t n, int accumulate, int32_t *out, uint8_t *scratch);

#endif

#endif
