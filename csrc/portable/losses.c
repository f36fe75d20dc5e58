/* The gradient of softmax cross-entropy, with an exponential of additions and multiplications alone: that of a library
   has other last bits with other vector instructions. */
#include <math.h>

#include "portable.h"

#define BLOCK 64

/* 1 / k!, each the one before divided by k, from k = 13 down to 0: the next term is below 2^-53 for |r| <= ln(2) / 2. */
static const double taylor[] = {
    1.6059043836821616e-10, 2.08767569878681e-09, 2.505210838544172e-08,
    2.7557319223985894e-07, 2.7557319223985893e-06, 2.48015873015873e-05,
    0.0001984126984126984, 0.001388888888888889, 0.008333333333333333, 0.041666666666666664,
    0.16666666666666666, 0.5, 1.0, 1.0,
};

/* x = exp(x) for x <= 0, 0 below -700. */
static void exponentials(double *x, intptr_t count)
{
    /* Adding 1.5 * 2^52 to a double below 2^51 rounds it to an integer, ties to even, and leaves it in the lowest bits. */
    const double log2_e = 1.4426950408889634, rounding = 6755399441055744.0;
    /* ln 2 in two parts: a multiple of the first is exact, so that the reduction loses nothing. */
    const double ln2_high = 0.6931471803691238, ln2_low = 1.9082149292705877e-10;
    double r[BLOCK], power[BLOCK], total[BLOCK];
    for (intptr_t at = 0; at < count; at += BLOCK) {
        const intptr_t width = bl_min(BLOCK, count - at);
        for (intptr_t j = 0; j < width; j++) {
            const double clipped = x[at + j] < -700.0 ? -700.0 : x[at + j], k = clipped * log2_e + rounding;
            const double whole = k - rounding;
            uint64_t bits;
            r[j] = (clipped - whole * ln2_high) - whole * ln2_low;
            total[j] = taylor[0];
            memcpy(&bits, &k, sizeof bits);
            bits = (bits + 1023) << 52; /* 2^whole */
            memcpy(power + j, &bits, sizeof bits);
        }
        for (size_t term = 1; term < sizeof taylor / sizeof taylor[0]; term++)
            for (intptr_t j = 0; j < width; j++)
                total[j] = total[j] * r[j] + taylor[term];
        for (intptr_t j = 0; j < width; j++)
            x[at + j] = x[at + j] < -700.0 ? 0 : total[j] * power[j];
    }
}

void bl_softmax_gradient_portable(const int64_t *labels, const float *scores, intptr_t rows, intptr_t classes,
                                  double *powers, double *terms, float *out, uint8_t *finite)
{
    for (intptr_t i = 0; i < rows * classes; i++)
        if (!isfinite(scores[i])) {
            *finite = 0;
            return;
        }
    for (intptr_t i = 0; i < rows; i++) {
        const float *row = scores + i * classes;
        float largest = row[0];
        for (intptr_t j = 1; j < classes; j++)
            largest = row[j] > largest ? row[j] : largest;
        for (intptr_t j = 0; j < classes; j++)
            powers[i * classes + j] = (double)row[j] - (double)largest;
        terms[rows + i] = powers[i * classes + labels[i]];
    }
    exponentials(powers, rows * classes);
    for (intptr_t i = 0; i < rows; i++) {
        const double *row = powers + i * classes;
        double total = 0;
        for (intptr_t j = 0; j < classes; j++)
            total += row[j];
        for (intptr_t j = 0; j < classes; j++)
            out[i * classes + j] = (float)((row[j] / total - (j == labels[i])) / (double)rows);
        terms[i] = total;
    }
}

void bl_probability_gradient_portable(const int64_t *labels, const double *powers, const double *terms, intptr_t rows,
                                      intptr_t classes, int32_t levels, int32_t *out)
{
    for (intptr_t i = 0; i < rows; i++) {
        for (intptr_t j = 0; j < classes; j++)
            out[i * classes + j] = (int32_t)nearbyint(powers[i * classes + j] / terms[i] * (double)levels);
        out[i * classes + labels[i]] -= levels;
    }
}
