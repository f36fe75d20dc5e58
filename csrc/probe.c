/* What the registers alone allow: the limit that a kernel's rate is measured against in the same run.

   Each step counts the differences of 2 x 2 pairs of registers into an accumulator of its own, with the instructions
   that a variant's kernels have for it, and loads nothing. Byte counts are folded after 31 steps, as a kernel has to; where
   a kernel adds words place by place before it counts, so does the probe.
   An empty assembly statement tells the compiler that the operands may have changed: it can hoist nothing out of the
   loop, and adds no instruction. So a compiler without that extension has no probe. */
#include "variants.h"

#if defined(__GNUC__) && (defined(BL_X86_64) || defined(__aarch64__))

static const uint64_t left[2] = {UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xbf58476d1ce4e5b9)};
static const uint64_t right[2] = {UINT64_C(0x94d049bb133111eb), UINT64_C(0xd6e8feb86659fd93)};

/* acc[i][j] = add(acc[i][j], a[i], b[j]), then the barrier; `place` is a register's constraint. */
#define STEP(add, place)                                                                                               \
    do {                                                                                                               \
        s00 = add(s00, a0, b0);                                                                                        \
        s01 = add(s01, a0, b1);                                                                                        \
        s10 = add(s10, a1, b0);                                                                                        \
        s11 = add(s11, a1, b1);                                                                                        \
        __asm__ volatile("" : "+" place(b0), "+" place(b1));                                                           \
    } while (0)

#define BYTE_STEPS 31

/* A loop whose accumulators hold bytes; `fold` gives a register's sum. */
#define BYTE_PROBE(vector, splat, zero, add, fold, place)                                                              \
    vector a0 = splat(left[0]), a1 = splat(left[1]), b0 = splat(right[0]), b1 = splat(right[1]);                       \
    int64_t sum = 0;                                                                                                   \
    int64_t steps = iterations * (BL_PROBE_BITS / (4 * 8 * (int64_t)sizeof(vector)));                                  \
    while (steps > 0) {                                                                                                \
        int64_t now = bl_min(steps, BYTE_STEPS);                                                                       \
        vector s00 = zero, s01 = zero, s10 = zero, s11 = zero;                                                         \
        for (int64_t i = 0; i < now; i++)                                                                              \
            STEP(add, place);                                                                                          \
        sum += fold(s00) + fold(s01) + fold(s10) + fold(s11);                                                          \
        steps -= now;                                                                                                  \
    }                                                                                                                  \
    return sum;

typedef uint64_t two_words __attribute__((vector_size(16)));

BL_INLINE two_words splat_two(uint64_t x) { return (two_words){x, x}; }

/* bl_popcount_bytes on two words: every 64-bit processor has the vector instructions for it in its baseline. */
BL_INLINE two_words add_two(two_words sum, two_words x, two_words y)
{
    x ^= y;
    x -= (x >> 1) & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + ((x >> 2) & UINT64_C(0x3333333333333333));
    return sum + ((x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f));
}

BL_INLINE int64_t fold_two(two_words sum) { return bl_sum_bytes(sum[0]) + bl_sum_bytes(sum[1]); }

#ifdef BL_X86_64
#define BASELINE_REGISTER "x"
#else
#define BASELINE_REGISTER "w"
#endif

static int64_t probe_portable(int64_t iterations)
{
    BYTE_PROBE(two_words, splat_two, ((two_words){0, 0}), add_two, fold_two, BASELINE_REGISTER)
}

#ifdef __aarch64__
#include <arm_neon.h>

BL_INLINE uint8x16_t splat_neon(uint64_t x) { return vreinterpretq_u8_u64(vdupq_n_u64(x)); }

BL_INLINE uint8x16_t add_neon(uint8x16_t sum, uint8x16_t x, uint8x16_t y)
{
    return vaddq_u8(sum, vcntq_u8(veorq_u8(x, y)));
}

static int64_t probe_neon(int64_t iterations)
{
    BYTE_PROBE(uint8x16_t, splat_neon, vdupq_n_u8(0), add_neon, vaddlvq_u8, "w")
}
#endif

#ifdef BL_X86_64
#include "avx512bw/avx512bw.h"

BL_TARGET_AVX2 BL_INLINE __m256i splat_256(uint64_t x) { return _mm256_set1_epi64x((int64_t)x); }

BL_TARGET_AVX2 BL_INLINE __m256i add_256(__m256i sum, __m256i x, __m256i y)
{
    const __m256i table = _mm256_setr_epi8(BL_NIBBLE_COUNTS, BL_NIBBLE_COUNTS);
    const __m256i low = _mm256_set1_epi8(15);
    x = _mm256_xor_si256(x, y);
    sum = _mm256_add_epi8(sum, _mm256_shuffle_epi8(table, _mm256_and_si256(x, low)));
    return _mm256_add_epi8(sum, _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
}

BL_TARGET_AVX2 BL_INLINE int64_t fold_256(__m256i sum)
{
    __m256i four = _mm256_sad_epu8(sum, _mm256_setzero_si256());
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    return _mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1);
}

BL_TARGET_AVX2 static int64_t probe_avx2(int64_t iterations)
{
    BYTE_PROBE(__m256i, splat_256, _mm256_setzero_si256(), add_256, fold_256, "x")
}

/* The differences of a and b, then the barrier. */
BL_TARGET_AVX512BW BL_INLINE __m512i differing_512(__m512i a, __m512i *b)
{
    __m512i x = _mm512_xor_si512(a, *b);
    __asm__ volatile("" : "+v"(*b));
    return x;
}

/* Eight steps at a time are added place by place, and the eights folded after 31 times; steps left over one by one. */
BL_TARGET_AVX512BW static int64_t probe_avx512bw(int64_t iterations)
{
    const __m512i table = bl_half_byte_counts(), zero = _mm512_setzero_si512();
    const __m512i a[2] = {_mm512_set1_epi64((int64_t)left[0]), _mm512_set1_epi64((int64_t)left[1])};
    __m512i b[2] = {_mm512_set1_epi64((int64_t)right[0]), _mm512_set1_epi64((int64_t)right[1])};
    __m512i ones[4], twos[4], fours[4], bytes[4], total = zero;
#define EACH for (int i = 0; i < 4; i++)
#define DIFFERING differing_512(a[i / 2], &b[i % 2])
    EACH ones[i] = twos[i] = fours[i] = zero;
    int64_t steps = iterations * (BL_PROBE_BITS / (4 * 512));
    while (steps >= 8) {
        int64_t now = bl_min(steps / 8, BYTE_STEPS);
        EACH bytes[i] = zero;
        for (int64_t group = 0; group < now; group++) {
            __m512i two[4], four[4];
            EACH two[i] = bl_add3(&ones[i], DIFFERING, DIFFERING);
            EACH four[i] = bl_add3(&twos[i], two[i], bl_add3(&ones[i], DIFFERING, DIFFERING));
            EACH two[i] = bl_add3(&ones[i], DIFFERING, DIFFERING);
            EACH two[i] = bl_add3(&twos[i], two[i], bl_add3(&ones[i], DIFFERING, DIFFERING));
            EACH bytes[i] = bl_add_bytes(bytes[i], bl_add3(&fours[i], four[i], two[i]), table);
        }
        EACH total = _mm512_add_epi64(total, _mm512_slli_epi64(_mm512_sad_epu8(bytes[i], zero), 3));
        steps -= 8 * now;
    }
    EACH bytes[i] = bl_add_bytes(zero, ones[i], table);
    for (; steps > 0; steps--)
        EACH bytes[i] = bl_add_bytes(bytes[i], DIFFERING, table);
    const __m512i twice = _mm512_add_epi8(table, table), fourfold = _mm512_add_epi8(twice, twice);
    EACH
    {
        bytes[i] = bl_add_bytes(bl_add_bytes(bytes[i], twos[i], twice), fours[i], fourfold);
        total = _mm512_add_epi64(total, _mm512_sad_epu8(bytes[i], zero));
    }
#undef EACH
#undef DIFFERING
    return _mm512_reduce_add_epi64(total);
}

BL_TARGET_AVX512 BL_INLINE __m512i add_512(__m512i sum, __m512i x, __m512i y)
{
    return _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_xor_si512(x, y)));
}

BL_TARGET_AVX512 static int64_t probe_avx512(int64_t iterations)
{
    __m512i a0 = _mm512_set1_epi64((int64_t)left[0]), a1 = _mm512_set1_epi64((int64_t)left[1]);
    __m512i b0 = _mm512_set1_epi64((int64_t)right[0]), b1 = _mm512_set1_epi64((int64_t)right[1]);
    __m512i s00 = _mm512_setzero_si512(), s01 = s00, s10 = s00, s11 = s00;
    for (int64_t i = 0; i < iterations; i++)
        for (int step = 0; step < BL_PROBE_BITS / (4 * 512); step++)
            STEP(add_512, "v");
    return _mm512_reduce_add_epi64(
        _mm512_add_epi64(_mm512_add_epi64(s00, s01), _mm512_add_epi64(s10, s11)));
}
#endif

static const struct {
    const char *name;
    int64_t (*run)(int64_t iterations);
} probes[] = {
#ifdef BL_X86_64
    {"avx512", probe_avx512},
    {"avx512bw", probe_avx512bw},
    {"avx2", probe_avx2},
#endif
#ifdef __aarch64__
    {"neon", probe_neon},
#endif
    {"portable", probe_portable},
};

int64_t bl_probe_popcount(int variant, int64_t iterations)
{
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++)
        if (strcmp(probes[i].name, bl_variant_name(variant)) == 0)
            return probes[i].run(iterations);
    return -1;
}

#else

int64_t bl_probe_popcount(int variant, int64_t iterations)
{
    (void)variant, (void)iterations;
    return -1;
}

#endif

/* A product of 64-bit integers waits three cycles for the one before it on every x86-64 processor with AVX2. */
int64_t bl_probe_cycles(int64_t iterations)
{
#if defined(__GNUC__) && defined(BL_X86_64)
    uint64_t x = (uint64_t)iterations | 1;
    for (int64_t i = 0; i < iterations; i++)
        __asm__ volatile(".rept 16\n\timul %0, %0\n\t.endr" : "+r"(x));
    return (int64_t)(x >> 1);
#else
    (void)iterations;
    return -1;
#endif
}
