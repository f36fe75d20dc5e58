/* The tile instructions in plain C, for tests on processors without them. */
#include "emulation.h"

#if defined(BL_TILES) && defined(BL_EMULATE_TILES)

#include <stdlib.h>

/* A thread's tiles stay what they are from one kernel to the next, as registers do. */
static _Thread_local bl_tile_unit unit;

bl_tile_unit *bl_emulate_unit(void) { return &unit; }

void bl_emulate_configuration(int loaded)
{
    memset(unit.bytes, 0, sizeof unit.bytes);
    unit.user = loaded ? BL_KERNEL : BL_NOBODY;
    unit.loads += loaded;
}

void bl_emulate_other_user(void)
{
    memset(unit.bytes, 0x5a, sizeof unit.bytes);
    unit.user = BL_OTHER;
}

static void need_configuration(void)
{
    if (unit.user != BL_KERNEL)
        abort();
}

void bl_emulate_zero(int tile)
{
    need_configuration();
    memset(unit.bytes[tile], 0, sizeof unit.bytes[tile]);
}

void bl_emulate_load(int tile, const void *base, intptr_t stride)
{
    need_configuration();
    for (int r = 0; r < BL_TILE_ROWS; r++)
        memcpy(unit.bytes[tile][r], (const char *)base + r * stride, BL_TILE_BYTES);
}

void bl_emulate_store(int tile, void *base, intptr_t stride)
{
    need_configuration();
    for (int r = 0; r < BL_TILE_ROWS; r++)
        memcpy((char *)base + r * stride, unit.bytes[tile][r], BL_TILE_BYTES);
}

static int32_t signed_byte(unsigned char byte) { return byte < 128 ? byte : byte - 256; }

void bl_emulate_dot(int sums, int a, int b, int a_signed)
{
    need_configuration();
    for (int r = 0; r < BL_TILE_ROWS; r++)
        for (int c = 0; c < BL_TILE_BYTES / 4; c++) {
            uint32_t sum;
            memcpy(&sum, unit.bytes[sums][r] + 4 * c, sizeof sum);
            for (int t = 0; t < BL_TILE_BYTES; t++) {
                unsigned char left = unit.bytes[a][r][t], right = unit.bytes[b][t / 4][4 * c + t % 4];
                sum += (uint32_t)((a_signed ? signed_byte(left) : left) * signed_byte(right));
            }
            memcpy(unit.bytes[sums][r] + 4 * c, &sum, sizeof sum);
        }
}

#endif
