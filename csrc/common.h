/* What every C file needs: integer types, target macros and helpers on words. */
#ifndef BL_COMMON_H
#define BL_COMMON_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__)
#error "compile without -ffast-math: results would no longer be the same in every variant"
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the packed format, and the slots of a call, are little-endian"
#endif

/* GCC for Windows keeps the stack at multiples of 16 bytes and moves what it spills of wider vectors as if it lay at
   multiples of 32 or 64 (GCC bug 54412): half of all calls would crash. So it compiles portable C alone, unless its
   assembler makes these moves unaligned ones: -Wa,-muse-unaligned-vector-move -DBL_UNALIGNED_MOVES (binutils 2.38). */
#if defined(_WIN32) && defined(__GNUC__) && !defined(__clang__) && !defined(BL_UNALIGNED_MOVES)
#define BL_X86_64_LEFT_OUT 1
#endif

#if (defined(__x86_64__) || defined(_M_X64)) && !defined(BL_X86_64_LEFT_OUT)
#define BL_X86_64 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#define BL_AARCH64 1
#endif

/* GCC and Clang need to be told, function by function, which instructions they may use; MSVC takes any intrinsic. */
#if defined(__GNUC__) || defined(__clang__)
#define BL_TARGET(features) __attribute__((target(features)))
#define BL_INLINE static inline __attribute__((always_inline))
#else
#define BL_TARGET(features)
#define BL_INLINE static __forceinline
#endif
/* Keep a vector in a register across the iterations of a loop; `place` is a register's constraint. GCC 12 otherwise
   stores each of 24 accumulators in every iteration, for the sake of a use behind the loop: half of the speed. */
#if defined(__GNUC__)
#define BL_KEEP(place, vector) __asm__("" : "+" place(vector))
#else
#define BL_KEEP(place, vector) ((void)0)
#endif
#define BL_TARGET_AVX2 BL_TARGET("avx2")
#define BL_TARGET_AVX512BW BL_TARGET("avx512f,avx512bw,avx512vl,avx512dq")
#define BL_TARGET_AVX512 BL_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx512vnni")

/* Fetch a cache line that will be read, or written. */
#if defined(__GNUC__) || defined(__clang__)
#define BL_PREFETCH(address) __builtin_prefetch(address, 0, 3)
#define BL_PREFETCH_WRITE(address) __builtin_prefetch(address, 1, 3)
#else
#define BL_PREFETCH(address) ((void)(address))
#define BL_PREFETCH_WRITE(address) ((void)(address))
#endif

/* Stores past the caches come before what follows, for other threads too. */
#if defined(BL_X86_64) && (defined(__GNUC__) || defined(__clang__))
#define BL_STORES_DONE() __builtin_ia32_sfence()
#elif defined(BL_X86_64)
#include <immintrin.h>
#define BL_STORES_DONE() _mm_sfence()
#else
#define BL_STORES_DONE() ((void)0)
#endif

static inline intptr_t bl_min(intptr_t a, intptr_t b) { return a < b ? a : b; }
static inline intptr_t bl_max(intptr_t a, intptr_t b) { return a > b ? a : b; }

static inline intptr_t bl_words(int64_t n) { return (intptr_t)((n + 63) / 64); }

/* The bits in use in the last word of n values. */
static inline uint64_t bl_tail_mask(int64_t n) { return ~UINT64_C(0) >> (-n & 63); }

/* The number of set bits in each byte, as bytes. Without the hardware instruction, which the baseline lacks; sums
   of up to 31 results stay in their bytes (31 * 8 = 248), so a caller adds up before it folds. */
static inline uint64_t bl_popcount_bytes(uint64_t x)
{
    x -= (x >> 1) & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + ((x >> 2) & UINT64_C(0x3333333333333333));
    return (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
}

/* The set bits of each half byte, as the table of a byte shuffle. */
#define BL_NIBBLE_COUNTS 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4

/* The sum of the eight bytes: pairs first, because the sum may pass 255. */
static inline int64_t bl_sum_bytes(uint64_t x)
{
    x = (x & UINT64_C(0x00ff00ff00ff00ff)) + ((x >> 8) & UINT64_C(0x00ff00ff00ff00ff));
    return (int64_t)((x * UINT64_C(0x0001000100010001)) >> 48);
}

static inline int64_t popcount64(uint64_t x) { return bl_sum_bytes(bl_popcount_bytes(x)); }

/* Bit j of the result = flags[j], each 0 or 1, j < count. The product gathers the lowest bits of eight bytes in the top
   byte. */
static inline uint64_t bl_pack_flags(const uint8_t *flags, int count)
{
    uint64_t word = 0;
    for (int byte = 0; byte < count / 8; byte++) {
        uint64_t eight = 0;
        for (int j = 0; j < 8; j++)
            eight |= (uint64_t)flags[8 * byte + j] << (8 * j);
        word |= (eight * UINT64_C(0x0102040810204080) >> 56) << (8 * byte);
    }
    return word;
}

/* flags[j] = bit j of the word, as 0 or 1: byte j of eight keeps bit j alone, and the addition carries it to the
   top of its byte. (A loop of shifts compiles to scalar code.) Little-endian, as the format is. */
static inline void bl_unpack_flags(uint64_t word, uint8_t flags[64])
{
    for (int byte = 0; byte < 8; byte++) {
        uint64_t eight = (word >> (8 * byte) & 0xff) * UINT64_C(0x0101010101010101) & UINT64_C(0x8040201008040201);
        eight = ((eight + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7) & UINT64_C(0x0101010101010101);
        memcpy(flags + 8 * byte, &eight, 8);
    }
}

/* An int64 as a double, rounded once: its halves are put into the fractions of 2^84 and 2^52, and the powers taken off
   again. Only AVX-512 has an instruction for a vector of them. */
BL_INLINE double bl_double_of(int64_t x)
{
    const uint64_t upper = (uint64_t)x >> 32 ^ UINT64_C(0x4530000080000000);
    const uint64_t lower = ((uint64_t)x & UINT64_C(0xffffffff)) | UINT64_C(0x4330000000000000);
    double high, low;
    memcpy(&high, &upper, sizeof high);
    memcpy(&low, &lower, sizeof low);
    return (high - 0x1.00000801p84) + low;
}

/* The float16 next to x, ties to even, in one rounding. Adding and subtracting 1.5 * 2^52 times what its last place is
   worth, 2^-24 where it is below the normal numbers, rounds at that place. */
static inline double bl_rounded_to_float16(double x)
{
    if (!(fabs(x) < 65520.0))
        return x != x ? x : copysign(HUGE_VAL, x);
    int exponent;
    (void)frexp(x, &exponent);
    const double rounding = ldexp(1.5, 52 + (exponent < -13 ? -13 : exponent) - 11);
    return copysign((fabs(x) + rounding) - rounding, x);
}

/* A double as it is stored: rounded once, to float16 or to float32. */
BL_INLINE double bl_rounded(double x, int half) { return half ? bl_rounded_to_float16(x) : (double)(float)x; }

/* The running statistic after a batch's. */
BL_INLINE float bl_moved(float running, double value, double momentum)
{
    return running * (float)momentum + (float)(value * (1 - momentum));
}

#endif
