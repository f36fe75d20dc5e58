/* First-layer codes with AVX2. */
#include "avx2.h"

#ifdef BL_X86_64

#define BL_CODES(name) bl_##name##_avx2
#define BL_CODES_TARGET BL_TARGET_AVX2

/* 12 accumulators of the 16 registers. */
#define VECTOR __m256i
#define LANES 8
#define VECTORS 2
#define TILE 6
#define ZERO _mm256_setzero_si256()
#define LOAD(from) _mm256_loadu_si256((const __m256i *)(const void *)(from))
#define STORE(to, vector) _mm256_storeu_si256((__m256i *)(to), vector)
#define SPLAT(pair) _mm256_set1_epi32(pair)
#define MADD(sum, x, g) _mm256_add_epi32(sum, _mm256_madd_epi16(x, g))

#include "../codes.h"

#endif
