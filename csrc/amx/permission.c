/* Whether the tiles that the processor has can be used: their size is read, and the system is asked. */
#if defined(__linux__)
#define _GNU_SOURCE /* syscall */
#endif
#include "tiles.h"

#if defined(BL_TILES) && !defined(BL_EMULATE_TILES)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux gives the 8 KiB of tiles to a process that asks (asm/prctl.h, which older systems lack). */
#define GET_PERMISSION 0x1022
#define REQUEST_PERMISSION 0x1023
#define TILE_DATA 18

static int permitted(void)
{
    unsigned long mask = 0;
    return syscall(SYS_arch_prctl, GET_PERMISSION, &mask) == 0 && (mask >> TILE_DATA & 1);
}

/* Whether the first palette has the tiles that the kernels are written for, and the products take whole ones. */
static int of_expected_size(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(0x1d, 1, &a, &b, &c, &d))
        return 0;
    if ((b & 0xffff) != BL_TILE_BYTES || b >> 16 < BL_TILE_COUNT || (c & 0xffff) != BL_TILE_ROWS)
        return 0;
    if (!__get_cpuid_count(0x1e, 0, &a, &b, &c, &d))
        return 0;
    return (b & 0xff) >= BL_TILE_ROWS && (b >> 8 & 0xffff) >= BL_TILE_BYTES;
}

const char *bl_tiles_refused(void)
{
    if (!of_expected_size())
        return "this processor's tiles are not of 16 rows of 64 bytes";
    if (!permitted() && (syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) != 0 || !permitted()))
        return "the system refuses the permission to use tiles";
    return NULL;
}

#elif defined(BL_TILES)

const char *bl_tiles_refused(void) { return NULL; }

#else

const char *bl_tiles_refused(void) { return "tiles need a build for Linux by GCC 11, Clang 12 or later"; }

#endif
