/* To bits with comparisons and byte masks, and back with blends. */
#include "avx2.h"

#include "../packing.h"

#ifdef BL_X86_64

#define LOAD(x) _mm256_loadu_si256((const __m256i *)(const void *)(x))

/* The sign bits of 32 bytes. */
#define BYTE_BITS(v) ((uint32_t)_mm256_movemask_epi8(v))

/* The sign bits of 32 lanes of 16 bits, all ones or all zeros. Packing works on halves of the vectors. */
BL_TARGET_AVX2 BL_INLINE uint32_t short_bits(__m256i low, __m256i high)
{
    return BYTE_BITS(_mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8));
}

/* word_<name>: the bits of x[0 .. 64) >= threshold. x >= t where max(x, t) is x; 64-bit lanes have only >, so there the
   bits are those of t > x, inverted. */
#define LIMITS(j) (each ? LOAD(threshold + (j)) : limits)
#define REACHED(bits, sign, j)                                                                                         \
    _mm256_cmpeq_epi##bits(_mm256_max_ep##sign##bits(LOAD(x + (j)), LIMITS(j)), LOAD(x + (j)))
#define SMALL_INTEGERS(sign, prefix)                                                                                   \
    BL_TARGET_AVX2 BL_INLINE uint64_t word_##prefix##8(const prefix##8_t * x, const prefix##8_t * threshold, int each) \
    {                                                                                                                  \
        const __m256i limits = _mm256_set1_epi8((char)*threshold);                                                     \
        return BYTE_BITS(REACHED(8, sign, 0)) | (uint64_t)BYTE_BITS(REACHED(8, sign, 32)) << 32;                       \
    }                                                                                                                  \
    BL_TARGET_AVX2 BL_INLINE uint64_t word_##prefix##16(const prefix##16_t * x, const prefix##16_t * threshold,        \
                                                        int each)                                                      \
    {                                                                                                                  \
        const __m256i limits = _mm256_set1_epi16((short)*threshold);                                                   \
        return short_bits(REACHED(16, sign, 0), REACHED(16, sign, 16)) |                                               \
               (uint64_t)short_bits(REACHED(16, sign, 32), REACHED(16, sign, 48)) << 32;                               \
    }                                                                                                                  \
    BL_TARGET_AVX2 BL_INLINE uint64_t word_##prefix##32(const prefix##32_t * x, const prefix##32_t * threshold,        \
                                                        int each)                                                      \
    {                                                                                                                  \
        const __m256i limits = _mm256_set1_epi32((int)*threshold);                                                     \
        uint64_t word = 0;                                                                                             \
        for (int j = 0; j < 64; j += 8)                                                                                \
            word |= (uint64_t)(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(REACHED(32, sign, j))) << j;            \
        return word;                                                                                                   \
    }
SMALL_INTEGERS(i, int)
SMALL_INTEGERS(u, uint)

/* The top bit is inverted in both operands where they are unsigned. */
#define LARGE_INTEGERS(name, type, top)                                                                                \
    BL_TARGET_AVX2 BL_INLINE uint64_t word_##name(const type *x, const type *threshold, int each)                      \
    {                                                                                                                  \
        const __m256i limits = _mm256_set1_epi64x((long long)*threshold), flip = _mm256_set1_epi64x(top);              \
        uint64_t below = 0;                                                                                            \
        for (int j = 0; j < 64; j += 4) {                                                                              \
            __m256i greater = _mm256_cmpgt_epi64(_mm256_xor_si256(LIMITS(j), flip),                                    \
                                                 _mm256_xor_si256(LOAD(x + j), flip));                                 \
            below |= (uint64_t)(unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(greater)) << j;                        \
        }                                                                                                              \
        return ~below;                                                                                                 \
    }
LARGE_INTEGERS(int64, int64_t, 0)
LARGE_INTEGERS(uint64, uint64_t, INT64_MIN)

BL_TARGET_AVX2 BL_INLINE uint64_t word_float32(const float *x, const float *threshold, int each)
{
    const __m256 limits = _mm256_set1_ps(*threshold);
    uint64_t word = 0;
    for (int j = 0; j < 64; j += 8) {
        __m256 set = _mm256_cmp_ps(_mm256_loadu_ps(x + j), each ? _mm256_loadu_ps(threshold + j) : limits, _CMP_GE_OQ);
        word |= (uint64_t)(unsigned)_mm256_movemask_ps(set) << j;
    }
    return word;
}

BL_TARGET_AVX2 BL_INLINE uint64_t word_float64(const double *x, const double *threshold, int each)
{
    const __m256d limits = _mm256_set1_pd(*threshold);
    uint64_t word = 0;
    for (int j = 0; j < 64; j += 4) {
        __m256d set = _mm256_cmp_pd(_mm256_loadu_pd(x + j), each ? _mm256_loadu_pd(threshold + j) : limits, _CMP_GE_OQ);
        word |= (uint64_t)(unsigned)_mm256_movemask_pd(set) << j;
    }
    return word;
}

/* All ones where a float16 of x is at least the one of t. */
BL_TARGET_AVX2 BL_INLINE __m256i half_cmpge(__m256i x, __m256i t)
{
    const __m256i magnitude = _mm256_set1_epi16(BL_HALF_MAGNITUDE), infinity = _mm256_set1_epi16(BL_HALF_INFINITY);
    __m256i size = _mm256_and_si256(x, magnitude), sign = _mm256_srai_epi16(x, 15);
    __m256i limit_size = _mm256_and_si256(t, magnitude), limit_sign = _mm256_srai_epi16(t, 15);
    __m256i key = _mm256_sub_epi16(_mm256_xor_si256(size, sign), sign);
    __m256i limit = _mm256_sub_epi16(_mm256_xor_si256(limit_size, limit_sign), limit_sign);
    __m256i nan = _mm256_or_si256(_mm256_cmpgt_epi16(size, infinity), _mm256_cmpgt_epi16(limit_size, infinity));
    return _mm256_andnot_si256(nan, _mm256_cmpeq_epi16(_mm256_max_epi16(key, limit), key));
}

BL_TARGET_AVX2 BL_INLINE uint64_t word_float16(const int16_t *x, const int16_t *threshold, int each)
{
    const __m256i limits = _mm256_set1_epi16(*threshold);
    uint64_t word = 0;
    for (int j = 0; j < 64; j += 32) {
        __m256i low = half_cmpge(LOAD(x + j), LIMITS(j)), high = half_cmpge(LOAD(x + j + 16), LIMITS(j + 16));
        word |= (uint64_t)short_bits(low, high) << j;
    }
    return word;
}

#define ROWS(code, name, type) BL_ROWS_OF_WORDS(BL_TARGET_AVX2, name, type)
BL_PACK_TYPES(ROWS)

BL_TARGET_AVX2 static void pack_rows(const char *x, int x_type, intptr_t row_stride, const void *threshold, int each,
                                     intptr_t rows, intptr_t n, uint64_t *out, intptr_t out_stride)
{
    switch (x_type) {
        BL_PACK_TYPES(BL_CASE_OF_TYPE)
    }
}

void bl_pack_avx2(const void *x, int x_type, intptr_t outer, intptr_t rows, int64_t n, intptr_t outer_stride,
                  intptr_t row_stride, intptr_t value_stride, const void *threshold, int each, uint64_t *out)
{
    bl_pack_blocked(pack_rows, bl_transpose_avx2, x, x_type, outer, rows, n, outer_stride, row_stride, value_stride,
                    threshold, each, out);
}

/* Lanes whose bit is set, as all ones: bytes of the word spread over the lanes, and one bit of each kept. */
BL_TARGET_AVX2 BL_INLINE __m256i spread8(uint64_t word)
{
    const __m256i bytes = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bits = _mm256_set1_epi64x((long long)UINT64_C(0x8040201008040201));
    __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int)(uint32_t)word), bytes);
    return _mm256_cmpeq_epi8(_mm256_and_si256(spread, bits), bits);
}

BL_TARGET_AVX2 BL_INLINE __m256i spread16(uint64_t word)
{
    const __m256i bits = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384,
                                           INT16_MIN);
    return _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16((short)(uint16_t)word), bits), bits);
}

BL_TARGET_AVX2 BL_INLINE __m256i spread32(uint64_t word)
{
    const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)(uint32_t)word), bits), bits);
}

BL_TARGET_AVX2 BL_INLINE __m256i spread64(uint64_t word)
{
    const __m256i bits = _mm256_setr_epi64x(1, 2, 4, 8);
    return _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x((long long)word), bits), bits);
}

/* Words to -1 and +1 of so many bits; the last values of a row through a buffer. */
#define UNPACK(bits, lanes)                                                                                            \
    BL_TARGET_AVX2 BL_INLINE void unpack_word##bits(uint64_t word, __m256i minus, __m256i plus, uint##bits##_t *out)   \
    {                                                                                                                  \
        for (int v = 0; v < 64; v += lanes)                                                                            \
            _mm256_storeu_si256((__m256i *)(void *)(out + v), _mm256_blendv_epi8(minus, plus, spread##bits(word >> v)));\
    }                                                                                                                  \
    BL_TARGET_AVX2 static void unpack##bits(const uint64_t *words, intptr_t rows, intptr_t n, bl_signs signs,          \
                                            uint##bits##_t *out)                                                       \
    {                                                                                                                  \
        const __m256i minus = SET##bits(signs.minus), plus = SET##bits(signs.plus);                                    \
        for (intptr_t i = 0; i < rows; i++) {                                                                          \
            intptr_t left = n;                                                                                         \
            for (; left >= 64; left -= 64, out += 64)                                                                  \
                unpack_word##bits(*words++, minus, plus, out);                                                         \
            if (left == 0)                                                                                             \
                continue;                                                                                              \
            uint##bits##_t last[64];                                                                                   \
            unpack_word##bits(*words++, minus, plus, last);                                                            \
            memcpy(out, last, (size_t)left * sizeof *last);                                                            \
            out += left;                                                                                               \
        }                                                                                                              \
    }
#define SET8(x) _mm256_set1_epi8((char)(x))
#define SET16(x) _mm256_set1_epi16((short)(x))
#define SET32(x) _mm256_set1_epi32((int)(x))
#define SET64(x) _mm256_set1_epi64x((long long)(x))
UNPACK(8, 32)
UNPACK(16, 16)
UNPACK(32, 8)
UNPACK(64, 4)
BL_DEFINE_UNPACK(avx2)

#endif
