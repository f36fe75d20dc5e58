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

BL_TARGET_AVX512 void bl_emulate_dot(int sums, int a, int b, int a_signed)
{
    int16_t columns[BL_TILE_ROWS][BL_TILE_BYTES];
    need_configuration();
    for (int d = 0; d < BL_TILE_ROWS; d++)
        for (int i = 0; i < BL_TILE_BYTES; i++)
            columns[d][i] = (int16_t)signed_byte(unit.bytes[b][d][i]);
    for (int r = 0; r < BL_TILE_ROWS; r++) {
        uint32_t sum[BL_TILE_BYTES / 4];
        memcpy(sum, unit.bytes[sums][r], sizeof sum);
        for (int d = 0; d < BL_TILE_ROWS; d++)
            for (int c = 0; c < BL_TILE_BYTES / 4; c++)
                for (int t = 0; t < 4; t++) {
                    unsigned char left = unit.bytes[a][r][4 * d + t];
                    sum[c] += (uint32_t)((a_signed ? signed_byte(left) : left) * columns[d][4 * c + t]);
                }
        memcpy(unit.bytes[sums][r], sum, sizeof sum);
    }
}

#endif
