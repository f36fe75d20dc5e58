/* Which form of a product is the fastest, as rules found by measurements. They are compiled in: what runs must not depend
   on a timing of the moment, and never changes what is accepted. */
#include "variants.h"


/* Rows from which on a product of recoded columns is faster; and those that pay for columns that are recoded for it
   alone. */
#define ROWS_RECODED 8
#define ROWS_RECODED_ONCE 128

int bl_product_form(int variant, const char *kernel, int64_t rows, int64_t k, intptr_t words, int64_t n, int once)
{
    if ((once && rows < BL_ROWS_WORTH_PANELS) || (strcmp(kernel, "xnor_conv2d") == 0 && words > BL_PANEL_WINDOW))
        return BL_AS_WORDS;
    if (rows < (once ? ROWS_RECODED_ONCE : ROWS_RECODED) || words < 1 || words > BL_QUADS_WORDS)
        return BL_AS_PANELS;
    /* What chooses between tiles and counted bits recodes for the second variant, and for that alone. */
    const int chooses = variant == BL_CHOICE;
    if (chooses && bl_tiles_pay(kernel, BL_UINT64, rows, k, n) == 1)
        return BL_AS_PANELS;
    return bl_variant_implements(chooses ? 1 : variant, "recode_panels") ? BL_RECODED : BL_AS_PANELS;
}

/* Seconds that a word of a sum's depth takes, of a plane, of int8, and of int8 values of up to four bits, which some variants
   have tables for; measured on Zen 4. A variant that is not named has not been measured, and runs on int8. */
static const struct {
    const char *variant;
    double plane, int8, few;
} measured[] = {
    {"amx", 43e-12, 314e-12, 314e-12},
    {"avx512", 43e-12, 210e-12, 120e-12},
    {"avx512bw", 142e-12, 417e-12, 417e-12},
    {"avx2", 220e-12, 417e-12, 417e-12},
    {"portable", 605e-12, 2570e-12, 2570e-12},
};
/* Costs beside the counting, measured on Zen 4, in seconds: a call; a word of the right operand, transposed and laid out;
   a value that is split; a sum passed over again. Then, in words of depth: what a plane's sum and an int8 sum take at
   any depth. */
#define A_CALL 2e-5
#define A_WORD 2.5e-9
#define A_VALUE 2.5e-10
#define A_PASS 8e-10
#define A_PLANE_SUM 1.2
#define AN_INT8_SUM 3.0
/* Planes must be expected to be faster by so much, in a product of so many terms or more. */
#define MARGIN 1.15
#define LEAST_TERMS (1 << 23)

int bl_planes_pay(int variant, int bits, int64_t rows, int64_t depth, int64_t columns, int64_t taps, int64_t passes)
{
    const double m = (double)rows, k = (double)columns, terms = (double)depth;
    if (bits > 7 || m * k * terms < LEAST_TERMS)
        return 0;
    const char *name = bl_variant_name(variant == BL_CHOICE ? 0 : variant);
    for (size_t i = 0; i < sizeof measured / sizeof measured[0]; i++) {
        if (strcmp(measured[i].variant, name) != 0)
            continue;
        /* Tiles of 16 rows and 64 columns. */
        const double words = (double)bl_words(depth);
        const double tiled = (double)((rows + 15) / 16 * 16) * (double)(bl_words(columns) * 64);
        const double once = A_CALL + A_WORD * words * k + A_VALUE * m * terms / (double)(taps > 1 ? taps : 1);
        const double counted = bits * tiled * (words + A_PLANE_SUM) * measured[i].plane;
        const double by_planes = once + counted + A_PASS * (double)passes * m * k;
        return by_planes * MARGIN < m * k * (terms / 64 * (bits > 4 ? measured[i].int8 : measured[i].few) + AN_INT8_SUM * measured[i].plane);
    }
    return 0;
}
