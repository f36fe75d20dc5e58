/* The packed format: to bits and back, counts and the transpose. */
#include "portable.h"

void bl_pack_portable(const void *x, int x_type, const void *threshold, intptr_t rows, int64_t n, uint64_t *out)
{
    const float *xf = x, *tf = threshold;
    const double *xd = x, *td = threshold;
    for (intptr_t i = 0; i < rows; i++)
        for (intptr_t j = 0; j < n; j += 64) {
            uint8_t flags[64] = {0};
            intptr_t width = bl_min(64, n - j);
            if (x_type == BL_FLOAT32)
                for (intptr_t c = 0; c < width; c++)
                    flags[c] = xf[i * n + j + c] >= tf[j + c];
            else
                for (intptr_t c = 0; c < width; c++)
                    flags[c] = xd[i * n + j + c] >= td[j + c];
            *out++ = bl_pack_flags(flags);
        }
}

void bl_pack_bool_portable(const uint8_t *x, intptr_t rows, int64_t n, uint64_t *out)
{
    for (intptr_t i = 0; i < rows; i++)
        for (intptr_t j = 0; j < n; j += 64) {
            uint8_t flags[64] = {0};
            intptr_t width = bl_min(64, n - j);
            for (intptr_t c = 0; c < width; c++)
                flags[c] = x[i * n + j + c] != 0;
            *out++ = bl_pack_flags(flags);
        }
}

void bl_unpack_portable(const uint64_t *words, intptr_t rows, int64_t n, int8_t *out)
{
    for (intptr_t i = 0; i < rows; i++)
        for (intptr_t j = 0; j < n; j += 64) {
            uint8_t flags[64];
            intptr_t width = bl_min(64, n - j);
            bl_unpack_flags(*words++, flags);
            for (intptr_t c = 0; c < width; c++)
                *out++ = (int8_t)(2 * flags[c] - 1);
        }
}

void bl_popcount_portable(const uint64_t *x, intptr_t rows, intptr_t words, int64_t *out)
{
    for (intptr_t i = 0; i < rows; i++) {
        int64_t count = 0;
        for (intptr_t p = 0; p < words; p++)
            count += popcount64(x[i * words + p]);
        out[i] = count;
    }
}

/* Transpose 64 words of 64 bits in place: swap the off-diagonal halves of ever smaller squares (Hacker's Delight,
   7-3). */
static void transpose64(uint64_t block[64])
{
    uint64_t low = UINT64_C(0x00000000ffffffff);
    for (int half = 32; half; half >>= 1, low ^= low << half)
        for (int i = 0; i < 64; i = ((i | half) + 1) & ~half) {
            uint64_t swap = ((block[i] >> half) ^ block[i | half]) & low;
            block[i] ^= swap << half;
            block[i | half] ^= swap;
        }
}

void bl_transpose_bits_portable(const uint64_t *x, intptr_t m, int64_t n, uint64_t *out)
{
    intptr_t words = bl_words(n), out_words = bl_words(m);
    for (intptr_t i = 0; i < out_words; i++)
        for (intptr_t j = 0; j < words; j++) {
            uint64_t block[64] = {0};
            intptr_t height = bl_min(64, m - 64 * i), width = bl_min(64, n - 64 * j);
            for (intptr_t r = 0; r < height; r++)
                block[r] = x[(64 * i + r) * words + j];
            transpose64(block);
            for (intptr_t c = 0; c < width; c++)
                out[(64 * j + c) * out_words + i] = block[c];
        }
}
