/* The checks of tiles.c. */
#ifndef BL_TEST_TILES_H
#define BL_TEST_TILES_H

#include "amx/emulation.h"
#include "variants.h"

/* Run the checks of a name; 0 where it is no name of one, or tiles are not emulated. Ends the process where one fails. */
int check_tiles(const char *what);

#endif
