/* What the fuzz targets share: sizes and contents from a fuzzer's bytes, arrays alone in their memory, so that
   AddressSanitizer sees what is read or written beside them, and each variant's result beside that of the last one,
   which is portable C. Where the bytes end, zeros follow. */
#ifndef BL_FUZZ_H
#define BL_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "common.h"
#include "kernels.h"
#include "program.h"

#define MOST_ARRAYS 64
#define PORTABLE (BL_CHOICE - 1)

typedef struct {
    const uint8_t *at;
    size_t left;
    void *arrays[MOST_ARRAYS];
    int count;
} input;

static inline void take(input *in, void *to, size_t size)
{
    const size_t there = size < in->left ? size : in->left;
    if (size)
        memset(to, 0, size);
    if (there)
        memcpy(to, in->at, there);
    in->at += there;
    in->left -= there;
}

/* A number from low to high, both included. */
static inline int64_t number(input *in, int64_t low, int64_t high)
{
    uint16_t found;
    take(in, &found, sizeof found);
    return low + found % (high - low + 1);
}

static inline void *empty(input *in, size_t size)
{
    void *found = malloc(size);
    if (in->count == MOST_ARRAYS || (!found && size))
        abort();
    in->arrays[in->count++] = found;
    if (size)
        memset(found, 0x6b, size);
    return found;
}

/* An array of that many bytes, a short run of the fuzzer's bytes again and again where there are not enough. */
static inline void *filled(input *in, size_t size)
{
    uint8_t *found = empty(in, size);
    const size_t own = size < in->left ? size : in->left < 64 ? in->left : 64;
    take(in, found, own);
    for (size_t i = own; i < size; i++)
        found[i] = own ? (uint8_t)(found[i % own] + 37 * (i / own)) : 0;
    return found;
}

/* Rows of n packed values, the bits past the last one zero. */
static inline uint64_t *packed(input *in, int64_t rows, int64_t n)
{
    const int64_t words = bl_words(n);
    uint64_t *found = filled(in, (size_t)(rows * words) * 8);
    for (int64_t i = 0; n % 64 && i < rows; i++)
        found[i * words + words - 1] &= bl_tail_mask(n);
    return found;
}

/* Whole numbers as float32, so that sums are the same in any order. */
static inline float *whole(input *in, int64_t count)
{
    int8_t *values = filled(in, (size_t)count);
    float *found = empty(in, (size_t)count * sizeof(float));
    for (int64_t i = 0; i < count; i++)
        found[i] = values[i];
    return found;
}

static inline int64_t size_of_type(int type)
{
    static const int sizes[] = {1, 2, 4, 8, 4, 8, 1, 2, 4, 8, 2};
    return sizes[type];
}

static inline int runs(int variant) { return !bl_variant_missing(variant, 0) && !bl_variant_refused(variant); }

/* Whether a variant is to be compared, in a kernel of its own. */
static inline int has(int variant, const char *kernel)
{
    return runs(variant) && bl_variant_implements(variant, kernel);
}

static inline void same(const char *kernel, int variant, const void *got, const void *wanted, size_t size)
{
    if (size && memcmp(got, wanted, size) != 0) {
        fprintf(stderr, "%s of %s differs from portable\n", kernel, bl_variant_name(variant));
        abort();
    }
}

static inline void done(input *in)
{
    while (in->count)
        free(in->arrays[--in->count]);
}

/* Run a call into `out` of `size` bytes on portable, then on each variant that has the kernel, and compare. The call
   names the variant `v` and the result `to`; what a result holds before is the same for all. */
#define COMPARE(kernel, in, size, call)                                                                                \
    do {                                                                                                               \
        uint8_t *wanted = empty(in, size), *to = wanted;                                                               \
        int v = PORTABLE;                                                                                              \
        call;                                                                                                          \
        for (v = 0; v < PORTABLE; v++)                                                                                 \
            if (has(v, kernel)) {                                                                                      \
                to = malloc(size);                                                                                     \
                if (size)                                                                                              \
                    memset(to, 0x6b, size);                                                                            \
                call;                                                                                                  \
                same(kernel, v, to, wanted, size);                                                                     \
                free(to);                                                                                              \
            }                                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
