/* What kernels share. Each part begins with a line of `// @`, which names what it defines; a part is printed where another
   one that is printed names it. */

// @ popcount64
/* The set bits of a word, in halves of 32 bits, by additions alone. */
static i32 popcount32(u32 x)
{
    x -= x >> 1 & 0x55555555u;
    x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0fu;
    return (i32)(x * 0x01010101u >> 24);
}

static i32 popcount64(u64 x) { return popcount32((u32)x) + popcount32((u32)(x >> 32)); }

// @ words_of
static i32 words_of(i32 n) { return (n + 63) / 64; }

// @ differing
/* How many bits of two rows differ. */
static i32 differing(const u64 *a, const u64 *b, i32 words)
{
    i32 count = 0;
    for (i32 i = 0; i < words; i++)
        count += popcount64(a[i] ^ b[i]);
    return count;
}

// @ nearest_f64
/* The nearest integer, ties to even: 2^52 leaves no room for a fraction. */
static f64 nearest_f64(f64 x)
{
    const f64 two52 = 4503599627370496.0;
    if (x >= 0)
        return x < two52 ? (x + two52) - two52 : x;
    return x > -two52 ? (x - two52) + two52 : x;
}

// @ nearest_f32
static f32 nearest_f32(f32 x)
{
    const f32 two23 = 8388608.0f;
    if (x >= 0)
        return x < two23 ? (x + two23) - two23 : x;
    return x > -two23 ? (x - two23) + two23 : x;
}

// @ floor_f64
static f64 floor_f64(f64 x)
{
    const f64 near = nearest_f64(x);
    return near > x ? near - 1 : near;
}

// @ ceil_f64
static f64 ceil_f64(f64 x)
{
    const f64 near = nearest_f64(x);
    return near < x ? near + 1 : near;
}

// @ clip_f64
/* x between -limit and limit; -limit where it is no number. */
static f64 clip_f64(f64 x, f64 limit) { return !(x > -limit) ? -limit : x > limit ? limit : x; }

// @ clip_f32
static f32 clip_f32(f32 x, f32 limit) { return !(x > -limit) ? -limit : x > limit ? limit : x; }

// @ magnitude
static f64 magnitude(f64 x) { return x < 0 ? -x : x; }

// @ is_finite
static int is_finite(f64 x) { return x - x == 0; }

// @ power_of_two
/* 2^e for the exponents of normal numbers. */
static f64 power_of_two(i32 e)
{
    const u64 bits = (u64)(e + 1023) << 52;
    f64 x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// @ to_half
/* The float16 next to x, ties to even, in one rounding: 1.5 * 2^52 times what its last place is worth is added and taken
   off again. */
static f64 to_half(f64 x)
{
    const f64 size = magnitude(x);
    u64 bits;
    i32 e;
    f64 rounding;
    if (!(size < 65520.0))
        return x != x ? x : x < 0 ? -HUGE_VAL : HUGE_VAL;
    memcpy(&bits, &size, sizeof bits);
    e = (i32)(bits >> 52) - 1023;
    rounding = 1.5 * power_of_two(52 - 10 + (e < -14 ? -14 : e));
    return x < 0 ? -((size + rounding) - rounding) : (size + rounding) - rounding;
}

// @ rounded
/* A double as it is stored: rounded once, to float16 or to float32. */
static f64 rounded(f64 x, i32 half) { return half ? to_half(x) : (f64)(f32)x; }

// @ real_f32
static f32 real_f32(f32 x) { return x; }

// @ kept_f32
static f32 kept_f32(f32 x) { return x; }

// @ real_u16
/* The value of the bits of a float16. */
static f32 real_u16(u16 half)
{
    const u32 sign = (u32)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;
    u32 bits = sign | (exponent + 112) << 23 | fraction << 13;
    f32 x;
    if (exponent == 0) {
        x = (f32)fraction * 5.9604644775390625e-08f;
        return sign ? -x : x;
    }
    if (exponent == 31)
        bits = sign | 0x7f800000u | fraction << 13;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// @ kept_u16
/* The bits of the float16 next to x, ties to even. */
static u16 kept_u16(f32 x)
{
    u32 bits, sign, value, rest, half, shift;
    memcpy(&bits, &x, sizeof bits);
    sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits >= 0x47800000)
        return (u16)(sign | (bits > 0x7f800000 ? 0x7e00 : 0x7c00));
    if (bits >= 0x38800000) {
        value = (bits - 0x38000000) >> 13;
        rest = bits & 0x1fff;
        half = 0x1000;
    } else {
        shift = 126 - (bits >> 23);
        if (shift > 24)
            return (u16)sign;
        value = ((bits & 0x7fffff) | 0x800000) >> shift;
        rest = ((bits & 0x7fffff) | 0x800000) & ((1u << shift) - 1);
        half = 1u << (shift - 1);
    }
    return (u16)(sign | (value + (rest > half || (rest == half && (value & 1)))));
}

// @ inverse
/* 1 / std in single, 0 where std is not above 0. */
static f32 inverse(f64 std) { return std > 0 ? (f32)(1.0 / std) : 0.0f; }

// @ LARGEST_SCALE
/* Sums of codes of the largest scale, and their squares, stay finite in single. */
#define LARGEST_SCALE 1073741824.0

// @ SMALLEST_NORMAL
#define SMALLEST_NORMAL 1.17549435e-38f

// @ largest_of
static f64 largest_of(const f64 *x, i32 n)
{
    f64 most = 0;
    for (i32 i = 0; i < n; i++)
        if (x[i] > most || x[i] != x[i])
            most = x[i];
    return most;
}

// @ philox
/* Four random words: Philox4x32-10 of "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). key: the low and the high
   half of a seed, a step, a stream. */
static void philox(const u32 *key, u64 block, u32 *out)
{
    u32 a = (u32)block, b = (u32)(block >> 32), c = key[2], d = key[3], low = key[0], high = key[1];
    for (i32 round = 0; round < 10; round++) {
        const u64 first = (u64)0xD2511F53u * a, second = (u64)0xCD9E8D57u * c;
        a = (u32)(second >> 32) ^ b ^ low;
        b = (u32)second;
        c = (u32)(first >> 32) ^ d ^ high;
        d = (u32)first;
        low += 0x9E3779B9u;
        high += 0xBB67AE85u;
    }
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
}

// @ random_word
static u32 random_word(const u32 *key, u64 place)
{
    u32 four[4];
    philox(key, place / 4, four);
    return four[place % 4];
}

// @ power
/* base^n by squaring: the same on every processor, which pow() is not. */
static f64 power(f64 base, i64 n)
{
    f64 found = 1;
    for (; n > 0; n >>= 1) {
        if (n & 1)
            found = found * base;
        base = base * base;
    }
    return found;
}
