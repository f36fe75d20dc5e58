/* How the kernels of the packed format are put together: a driver in portable/ looks after strides, and a variant brings
   short functions for what lies side by side. */
#ifndef BL_PACKING_H
#define BL_PACKING_H

#include "variants.h"

/* Every type that is packed: X(code, name, C type). A float16 comes as its bits. */
#define BL_PACK_TYPES(X)                                                                                               \
    X(BL_INT8, int8, int8_t)                                                                                           \
    X(BL_INT16, int16, int16_t)                                                                                        \
    X(BL_INT32, int32, int32_t)                                                                                        \
    X(BL_INT64, int64, int64_t)                                                                                        \
    X(BL_UINT8, uint8, uint8_t)                                                                                        \
    X(BL_UINT16, uint16, uint16_t)                                                                                     \
    X(BL_UINT32, uint32, uint32_t)                                                                                     \
    X(BL_UINT64, uint64, uint64_t)                                                                                     \
    X(BL_FLOAT16, float16, int16_t)                                                                                    \
    X(BL_FLOAT32, float32, float)                                                                                      \
    X(BL_FLOAT64, float64, double)

/* The bits of rows of n values that lie side by side: row i starts i * row_stride bytes after x and goes to out +
   i * out_stride. One threshold a value where `each`, else one for all. */
typedef void bl_pack_rows(const char *x, int x_type, intptr_t row_stride, const void *threshold, int each,
                          intptr_t rows, intptr_t n, uint64_t *out, intptr_t out_stride);

/* out bit [j, i] = x bit [i, j] for i < m and j < n; rows are x_stride and out_stride words apart. */
typedef void bl_transpose(const uint64_t *x, intptr_t x_stride, intptr_t m, intptr_t n, uint64_t *out,
                          intptr_t out_stride);

/* The set bits of words that lie side by side. */
typedef int64_t bl_count(const uint64_t *x, intptr_t words);

/* out[c] += the set bits of words c of `lines` lines, `stride` words apart. */
typedef void bl_add_counts(const uint64_t *x, intptr_t stride, intptr_t lines, intptr_t columns, int64_t *out);

void bl_pack_blocked(bl_pack_rows *pack_rows, bl_transpose *transpose, const void *x, int x_type, intptr_t outer,
                     intptr_t rows, int64_t n, intptr_t outer_stride, intptr_t row_stride, intptr_t value_stride,
                     const void *threshold, int each, uint64_t *out);
void bl_popcount_blocked(bl_count *count, bl_add_counts *add_counts, const uint64_t *x, intptr_t outer, intptr_t rows,
                         intptr_t words, intptr_t outer_stride, intptr_t row_stride, intptr_t word_stride,
                         int64_t *out);
bl_transpose bl_transpose_portable, bl_transpose_avx2, bl_transpose_avx512bw;

/* -1 and +1 as the bits of a type, and its bytes. */
typedef struct {
    uint64_t minus, plus;
    int bytes;
} bl_signs;

BL_INLINE bl_signs bl_signs_of(int type)
{
    switch (type) {
    case BL_INT8:
        return (bl_signs){0xff, 1, 1};
    case BL_INT16:
        return (bl_signs){0xffff, 1, 2};
    case BL_INT32:
        return (bl_signs){0xffffffff, 1, 4};
    case BL_INT64:
        return (bl_signs){~UINT64_C(0), 1, 8};
    case BL_FLOAT16:
        return (bl_signs){0xbc00, 0x3c00, 2};
    case BL_FLOAT32:
        return (bl_signs){0xbf800000, 0x3f800000, 4};
    default:
        return (bl_signs){UINT64_C(0xbff0000000000000), UINT64_C(0x3ff0000000000000), 8};
    }
}

/* float16 is compared as integers, in every variant: exact, and without an instruction that some processors lack. The
   key has the order of the numbers and takes both zeros as one. */
#define BL_HALF_MAGNITUDE 0x7fff
#define BL_HALF_INFINITY 0x7c00
BL_INLINE int bl_half_key(int16_t half)
{
    return half < 0 ? -(half & BL_HALF_MAGNITUDE) : half;
}

BL_INLINE int bl_half_is_nan(int16_t half) { return (half & BL_HALF_MAGNITUDE) > BL_HALF_INFINITY; }

/* rows_<name> from word_<name>(x, threshold, each), the bits of 64 values, which has the attributes. The last values of
   a row are copied, so that nothing past them is read. */
#define BL_ROWS_OF_WORDS(attributes, name, type)                                                                       \
    attributes BL_INLINE void rows_##name(const char *x, intptr_t row_stride, const type *threshold, int each,         \
                                          intptr_t rows, intptr_t n, uint64_t *out, intptr_t out_stride)               \
    {                                                                                                                  \
        for (intptr_t i = 0; i < rows; i++, x += row_stride, out += out_stride) {                                      \
            const type *row = (const type *)(const void *)x;                                                           \
            intptr_t j = 0;                                                                                            \
            for (; j + 64 <= n; j += 64)                                                                               \
                out[j / 64] = word_##name(row + j, each ? threshold + j : threshold, each);                            \
            if (j < n) {                                                                                               \
                type last[64] = {0}, limits[64] = {0};                                                                 \
                memcpy(last, row + j, (size_t)(n - j) * sizeof(type));                                                 \
                if (each)                                                                                              \
                    memcpy(limits, threshold + j, (size_t)(n - j) * sizeof(type));                                     \
                out[j / 64] = word_##name(last, each ? limits : threshold, each) & bl_tail_mask(n);                    \
            }                                                                                                          \
        }                                                                                                              \
    }

/* A case of a switch over types: rows_<name>, compiled for one threshold and for one a value. */
#define BL_CASE_OF_TYPE(code, name, type)                                                                              \
    case code:                                                                                                         \
        if (each)                                                                                                      \
            rows_##name(x, row_stride, threshold, 1, rows, n, out, out_stride);                                        \
        else                                                                                                           \
            rows_##name(x, row_stride, threshold, 0, rows, n, out, out_stride);                                        \
        break;

/* The kernel of a variant, from its unpack8 to unpack64, by the bytes of a value. */
#define BL_DEFINE_UNPACK(variant)                                                                                      \
    void bl_unpack_##variant(const uint64_t *words, intptr_t rows, int64_t n, void *out, int out_type)                 \
    {                                                                                                                  \
        const bl_signs signs = bl_signs_of(out_type);                                                                  \
        if (signs.bytes == 1)                                                                                          \
            unpack8(words, rows, (intptr_t)n, signs, out);                                                             \
        else if (signs.bytes == 2)                                                                                     \
            unpack16(words, rows, (intptr_t)n, signs, out);                                                            \
        else if (signs.bytes == 4)                                                                                     \
            unpack32(words, rows, (intptr_t)n, signs, out);                                                            \
        else                                                                                                           \
            unpack64(words, rows, (intptr_t)n, signs, out);                                                            \
    }

#endif
