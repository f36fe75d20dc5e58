/* First-layer codes with the dot instructions for pairs of int16 and quads of int8 (VNNI). */
#include "avx512.h"

#ifdef BL_X86_64

#define BL_CODES(name) bl_##name##_avx512
#define BL_CODES_TARGET BL_TARGET_AVX512

#define VECTOR __m512i
#define LANES 16
#define VECTORS 2
#define TILE 12
#define ZERO _mm512_setzero_si512()
#define LOAD(from) _mm512_loadu_si512(from)
#define STORE(to, vector) _mm512_storeu_si512(to, vector)
#define SPLAT(pair) _mm512_set1_epi32(pair)
#define MADD(sum, x, g) _mm512_dpwssd_epi32(sum, x, g)
#define DOT(sum, x, g) _mm512_dpbusd_epi32(sum, x, g)

#include "../codes.h"

#endif
