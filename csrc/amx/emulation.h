/* The emulated tile unit of a thread, for what checks how it is used. */
#ifndef BL_EMULATION_H
#define BL_EMULATION_H

#include "tiles.h"

#if defined(BL_TILES) && defined(BL_EMULATE_TILES)

/* Whose configuration is loaded. Tiles are of use under a kernel's own alone. */
enum { BL_NOBODY, BL_KERNEL, BL_OTHER };

typedef struct {
    int user;
    long loads; /* of a kernel's configuration, so far */
    unsigned char bytes[BL_TILE_COUNT][BL_TILE_ROWS][BL_TILE_BYTES];
} bl_tile_unit;

bl_tile_unit *bl_emulate_unit(void);

/* Another user of tiles loads its configuration, in the place of whatever there is, and fills them; it never releases
   them. */
void bl_emulate_other_user(void);

#endif
#endif
