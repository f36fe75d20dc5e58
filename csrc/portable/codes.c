/* First-layer codes for any processor. */
#include "portable.h"

#define BL_CODES(name) bl_##name##_portable
#define BL_CODES_TARGET

/* A vector of one. */
#define VECTOR int32_t
#define LANES 1
#define VECTORS 4
#define TILE 6
#define ZERO 0
#define STORE(to, vector) (*(to) = (vector))
#define SPLAT(pair) (pair)

typedef struct {
    int16_t first, second;
} int16_pair;

#define LOAD(from) (*(from))

BL_INLINE int32_t madd(int32_t sum, int32_t x, int32_t g)
{
    int16_pair a, b;
    memcpy(&a, &x, sizeof a);
    memcpy(&b, &g, sizeof b);
    return sum + a.first * b.first + a.second * b.second;
}
#define MADD(sum, x, g) madd(sum, x, g)

#include "../codes.h"
