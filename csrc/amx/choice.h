/* Tiles or counted bits: a rule for each kernel on tiles, by the sizes of its product. */
#ifndef BL_CHOICE_H
#define BL_CHOICE_H

#include "../variants.h"

/* The kernels that choose: each runs on amx, which has to have it, where its rule says so, and else on avx512. */
extern const bl_kernels bl_kernels_choice;

#endif
