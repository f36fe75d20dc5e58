/* The amx variant: products on the tile unit. Empty on other processors. */
#ifndef BL_AMX_H
#define BL_AMX_H

#include "../avx512/avx512.h"

#include "tiles.h"

#define BL_DECLARE_AMX(name, parameters, arguments) void bl_##name##_amx parameters;
BL_ALL_KERNELS(BL_DECLARE_AMX)

/* What chooses by the rules of rules.h: amx where tiles pay, else avx512. */
#define BL_DECLARE_CHOICE(name, parameters, arguments) void bl_##name##_choice parameters;
BL_ALL_KERNELS(BL_DECLARE_CHOICE)

/* The interleave of gradients (blocks.h) with the groups of a row side by side, BL_BLOCK_GROUPS of them in each. */
void bl_interleave_int8_amx(const char *const *terms, intptr_t groups, intptr_t count, void *out,
                            bl_gradient_rows *rows, int32_t *totals);
void bl_interleave_int16_amx(const char *const *terms, intptr_t groups, intptr_t count, void *out,
                             bl_gradient_rows *rows, int32_t *totals);

/* The product of gradients (product_expanding of blocks.h) with a panel of int8: of bits, or of codes. */
void bl_product_int8_amx(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums, int add,
                         const uint64_t *next, void *next_panel);
void bl_product_int16_amx(const bl_gradient_rows *rows, const void *panel, intptr_t groups, void *sums, int add,
                          const uint64_t *next, void *next_panel);

#endif
