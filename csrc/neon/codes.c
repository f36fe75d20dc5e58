/* First-layer codes with Advanced SIMD. */
#include "neon.h"

#ifdef BL_AARCH64

#define BL_CODES(name) bl_##name##_neon
#define BL_CODES_TARGET

#define VECTOR int32x4_t
#define LANES 4
#define VECTORS 4
#define TILE 6
#define ZERO vdupq_n_s32(0)
#define LOAD(from) vld1q_s32(from)
#define STORE(to, vector) vst1q_s32(to, vector)
#define SPLAT(pair) vdupq_n_s32(pair)

BL_INLINE int32x4_t madd(int32x4_t sum, int32x4_t x, int32x4_t g)
{
    const int16x8_t a = vreinterpretq_s16_s32(x), b = vreinterpretq_s16_s32(g);
    return vaddq_s32(sum, vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b)));
}
#define MADD(sum, x, g) madd(sum, x, g)

#include "../codes.h"

#endif
