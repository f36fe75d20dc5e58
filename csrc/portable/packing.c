/* The packed format: to bits and back. */
#include "portable.h"

#include "../packing.h"

/* Bits of x[0 .. 64) >= threshold. */
#define WORD(code, name, type)                                                                                         \
    static inline uint64_t word_##name(const type *x, const type *threshold, int each)                                 \
    {                                                                                                                  \
        uint8_t flags[64];                                                                                             \
        for (int j = 0; j < 64; j++)                                                                                   \
            flags[j] = (uint8_t)GREATER_EQUAL_##name(x[j], threshold[each ? j : 0]);                                   \
        return bl_pack_flags(flags, 64);                                                                               \
    }                                                                                                                  \
    BL_ROWS_OF_WORDS(, name, type)
#define GREATER_EQUAL_int8(a, b) (a >= b)
#define GREATER_EQUAL_int16(a, b) (a >= b)
#define GREATER_EQUAL_int32(a, b) (a >= b)
#define GREATER_EQUAL_int64(a, b) (a >= b)
#define GREATER_EQUAL_uint8(a, b) (a >= b)
#define GREATER_EQUAL_uint16(a, b) (a >= b)
#define GREATER_EQUAL_uint32(a, b) (a >= b)
#define GREATER_EQUAL_uint64(a, b) (a >= b)
#define GREATER_EQUAL_float32(a, b) (a >= b)
#define GREATER_EQUAL_float64(a, b) (a >= b)
#define GREATER_EQUAL_float16(a, b)                                                                                    \
    ((int)(bl_half_key(a) >= bl_half_key(b)) & (int)!bl_half_is_nan(a) & (int)!bl_half_is_nan(b))
BL_PACK_TYPES(WORD)

static void pack_adjacent(const char *x, int x_type, intptr_t row_stride, const void *threshold, int each,
                          intptr_t rows, intptr_t n, uint64_t *out, intptr_t out_stride)
{
    switch (x_type) {
        BL_PACK_TYPES(BL_CASE_OF_TYPE)
    }
}

static intptr_t bytes_of(int type)
{
    switch (type) {
#define CASE(code, name, type)                                                                                         \
    case code:                                                                                                         \
        return (intptr_t)sizeof(type);
        BL_PACK_TYPES(CASE)
    }
    return 0;
}

/* Copy elements that lie `stride` bytes apart side by side. The size is a constant where it is inlined. */
BL_INLINE void gather_of(size_t size, const char *x, intptr_t stride, intptr_t count, char *to)
{
    for (intptr_t j = 0; j < count; j++)
        memcpy(to + j * (intptr_t)size, x + j * stride, size);
}

static void gather(intptr_t size, const char *x, intptr_t stride, intptr_t count, char *to)
{
    if (size == 1)
        gather_of(1, x, stride, count, to);
    else if (size == 2)
        gather_of(2, x, stride, count, to);
    else if (size == 4)
        gather_of(4, x, stride, count, to);
    else
        gather_of(8, x, stride, count, to);
}

#define GATHERED 8192 /* bytes, whole words of values of every type */

/* As pack_rows for values `stride` bytes apart. */
static void pack_strided(bl_pack_rows *pack_rows, const char *x, int x_type, intptr_t row_stride, intptr_t stride,
                         const void *threshold, int each, intptr_t rows, intptr_t n, uint64_t *out,
                         intptr_t out_stride)
{
    intptr_t size = bytes_of(x_type), step = GATHERED / size;
    if (stride == size || n <= 1) {
        pack_rows(x, x_type, row_stride, threshold, each, rows, n, out, out_stride);
        return;
    }
    for (intptr_t i = 0; i < rows; i++)
        for (intptr_t j = 0; j < n; j += step) {
            uint64_t values[GATHERED / 8];
            intptr_t count = bl_min(step, n - j);
            gather(size, x + i * row_stride + j * stride, stride, count, (char *)values);
            pack_rows((const char *)values, x_type, 0, (const char *)threshold + (each ? j * size : 0), each, 1, count,
                      out + i * out_stride + j / 64, 0);
        }
}

#define LINES 64
#define SCRATCH 6144

/* Where neighbours in memory belong to different rows: lines of memory are packed as they come, and the bits are
   transposed in the cache. Few lines, thousands of values of each: 512 lines would write whole cache lines of the
   result, but runs that are eight times shorter cost up to half of the speed at which memory is read. */
static void pack_across(bl_pack_rows *pack_rows, bl_transpose *transpose, const char *x, int x_type,
                        intptr_t row_stride, intptr_t value_stride, const void *threshold, int each, intptr_t rows,
                        intptr_t n, uint64_t *out)
{
    uint64_t scratch[SCRATCH];
    intptr_t size = bytes_of(x_type);
    for (intptr_t j = 0; j < n; j += LINES) {
        intptr_t lines = bl_min(LINES, n - j), words = SCRATCH / lines;
        for (intptr_t i = 0; i < rows; i += 64 * words) {
            intptr_t count = bl_min(64 * words, rows - i);
            const char *block = x + i * row_stride + j * value_stride;
            if (each)
                for (intptr_t l = 0; l < lines; l++)
                    pack_strided(pack_rows, block + l * value_stride, x_type, 0, row_stride,
                                 (const char *)threshold + (j + l) * size, 0, 1, count, scratch + l * words, 0);
            else
                pack_strided(pack_rows, block, x_type, value_stride, row_stride, threshold, 0, lines, count, scratch,
                             words);
            transpose(scratch, words, lines, count, out + i * bl_words(n) + j / 64, bl_words(n));
        }
    }
}

void bl_pack_blocked(bl_pack_rows *pack_rows, bl_transpose *transpose, const void *x, int x_type, intptr_t outer,
                     intptr_t rows, int64_t n, intptr_t outer_stride, intptr_t row_stride, intptr_t value_stride,
                     const void *threshold, int each, uint64_t *out)
{
    intptr_t row = row_stride < 0 ? -row_stride : row_stride, value = value_stride < 0 ? -value_stride : value_stride;
    if (n == 0)
        return; /* there may be no threshold to read */
    for (intptr_t o = 0; o < outer; o++, out += rows * bl_words(n)) {
        const char *from = (const char *)x + o * outer_stride;
        if (row < value && rows > 1 && n > 1)
            pack_across(pack_rows, transpose, from, x_type, row_stride, value_stride, threshold, each, rows,
                        (intptr_t)n, out);
        else
            pack_strided(pack_rows, from, x_type, row_stride, value_stride, threshold, each, rows, (intptr_t)n, out,
                         bl_words(n));
    }
}

void bl_pack_portable(const void *x, int x_type, intptr_t outer, intptr_t rows, int64_t n, intptr_t outer_stride,
                      intptr_t row_stride, intptr_t value_stride, const void *threshold, int each, uint64_t *out)
{
    bl_pack_blocked(pack_adjacent, bl_transpose_portable, x, x_type, outer, rows, n, outer_stride, row_stride,
                    value_stride, threshold, each, out);
}

#define UNPACK(bits)                                                                                                   \
    static void unpack##bits(const uint64_t *words, intptr_t rows, intptr_t n, bl_signs signs, uint##bits##_t *out)    \
    {                                                                                                                  \
        uint##bits##_t minus = (uint##bits##_t)signs.minus, change = (uint##bits##_t)(signs.minus ^ signs.plus);       \
        for (intptr_t i = 0; i < rows; i++)                                                                            \
            for (intptr_t j = 0; j < n; j += 64) {                                                                     \
                uint8_t flags[64];                                                                                     \
                intptr_t width = bl_min(64, n - j);                                                                    \
                bl_unpack_flags(*words++, flags);                                                                      \
                for (intptr_t c = 0; c < width; c++)                                                                   \
                    *out++ = (uint##bits##_t)(minus ^ (change & (uint##bits##_t) - (uint##bits##_t)flags[c]));         \
            }                                                                                                          \
    }
UNPACK(8)
UNPACK(16)
UNPACK(32)
UNPACK(64)
BL_DEFINE_UNPACK(portable)
