/* From int8 to bit planes, compiled once a variant with that variant's instructions. A file that includes it defines
   before:

   TARGET      the target attribute of its functions;
   split       the planes of 64 values, to out[p * stride], p < bits; whether one of them needs more bits:
               int split(const int8_t *values, int bits, uint64_t *out, intptr_t stride);
   transpose   a bl_transpose. */
#include "packing.h"

/* Whether a value has the range of so many bits, by bytes: (value + add) & high is 0 where it has. */
typedef struct {
    uint8_t add, high;
} bl_code_range;

static inline bl_code_range bl_code_range_of(int bits)
{
    return (bl_code_range){(uint8_t)(1 << (bits - 1)), (uint8_t)(0xff << bits)};
}

TARGET static void split_rows(const int8_t *g, intptr_t m, intptr_t k, int bits, uint64_t *out, uint8_t *outside)
{
    intptr_t words = bl_words(k);
    for (intptr_t i = 0; i < m; i++, g += k, out += bits * words) {
        int found = 0;
        intptr_t j = 0;
        for (; j + 64 <= k; j += 64)
            found |= split(g + j, bits, out + j / 64, words);
        if (j < k) {
            int8_t last[64];
            /* Ones are in every range; of one bit they are cleared again. */
            memset(last, bits == 1, sizeof last);
            memcpy(last, g + j, (size_t)(k - j));
            found |= split(last, bits, out + j / 64, words);
            if (bits == 1)
                out[j / 64] &= bl_tail_mask(k);
        }
        outside[i] = (uint8_t)found;
    }
}

/* Rows of g and words of its planes that are transposed at a time: 32 KiB before and 32 KiB after. */
#define LINES 512
#define WIDE 8

TARGET static void split_transposed(const int8_t *g, intptr_t m, intptr_t channels, intptr_t first, intptr_t k,
                                    int bits, uint64_t *out, uint8_t *outside)
{
    intptr_t words = bl_words(m), group = WIDE / bits;
    uint64_t lines[LINES][WIDE], columns[64 * WIDE][LINES / 64];
    memset(outside, 0, (size_t)k);
    for (intptr_t j = 0; j < k; j += 64 * group) {
        intptr_t count = bl_min(64 * group, k - j), used = bl_words(count) * bits;
        for (intptr_t i = 0; i < m; i += LINES) {
            intptr_t height = bl_min(LINES, m - i), deep = bl_words(height);
            for (intptr_t r = 0; r < height; r++) {
                const int8_t *row = g + (i + r) * channels + first + j;
                for (intptr_t c = 0; c < count; c += 64) {
                    int8_t last[64];
                    intptr_t left = count - c;
                    if (left < 64) {
                        memset(last, bits == 1, sizeof last);
                        memcpy(last, row + c, (size_t)left);
                    }
                    if (split(left < 64 ? last : row + c, bits, lines[r] + c / 64 * bits, 1))
                        outside[j + c] = 1;
                }
            }
            transpose(lines[0], WIDE, height, 64 * used, columns[0], LINES / 64);
            for (intptr_t c = 0; c < count; c++)
                for (int p = 0; p < bits; p++)
                    memcpy(out + ((j + c) * bits + p) * words + i / 64, columns[(c / 64 * bits + p) * 64 + c % 64],
                           (size_t)deep * sizeof(uint64_t));
        }
    }
}
