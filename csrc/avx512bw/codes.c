/* First-layer codes with AVX-512 BW. */
#include "avx512bw.h"

#ifdef BL_X86_64

#define BL_CODES(name) bl_##name##_avx512bw
#define BL_CODES_TARGET BL_TARGET_AVX512BW

#define VECTOR __m512i
#define LANES 16
#define VECTORS 2
#define TILE 12
#define ZERO _mm512_setzero_si512()
#define LOAD(from) _mm512_loadu_si512(from)
#define STORE(to, vector) _mm512_storeu_si512(to, vector)
#define SPLAT(pair) _mm512_set1_epi32(pair)
#define MADD(sum, x, g) _mm512_add_epi32(sum, _mm512_madd_epi16(x, g))

#include "../codes.h"

#endif
