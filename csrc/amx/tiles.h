/* The few tile instructions that are needed, each a macro, since the number of a tile is part of the instruction. With
   BL_EMULATE_TILES they are plain C (emulation.c), so that what is built on them runs on processors without them. */
#ifndef BL_TILES_H
#define BL_TILES_H

#include "../common.h"

/* GCC and Clang from these on know the instructions; the permission is asked of Linux. */
#if defined(BL_X86_64)
#if defined(BL_EMULATE_TILES)
#define BL_TILES 1
#elif defined(__linux__) && defined(__clang__)
#if __clang_major__ >= 12
#define BL_TILES 1
#endif
#elif defined(__linux__) && defined(__GNUC__)
#if __GNUC__ >= 11
#define BL_TILES 1
#endif
#endif
#endif

/* Tiles, the rows of one, and the bytes of a row: all there are in the first palette. One configuration of whole tiles
   serves all kernels, and edges are filled with zeros: another configuration costs more than an edge. */
#define BL_TILE_COUNT 8
#define BL_TILE_ROWS 16
#define BL_TILE_BYTES 64

/* Why tiles cannot be used although the processor has them; NULL where they can. Asks the system for the permission
   once a process. */
const char *bl_tiles_refused(void);

#ifdef BL_TILES

#define BL_VECTORS_AMX "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx512vnni,avx512vbmi,gfni"

#ifdef BL_EMULATE_TILES

#define BL_TARGET_AMX BL_TARGET(BL_VECTORS_AMX)

/* A use of tiles without a configuration ends the process, as the processor ends it. */
void bl_emulate_configuration(int loaded);
void bl_emulate_zero(int tile);
void bl_emulate_load(int tile, const void *base, intptr_t stride);
void bl_emulate_store(int tile, void *base, intptr_t stride);
void bl_emulate_dot(int sums, int a, int b, int a_signed);

#define BL_TILES_CONFIGURE() bl_emulate_configuration(1)
#define BL_TILES_RELEASE() bl_emulate_configuration(0)
#define BL_TILE_ZERO(tile) bl_emulate_zero(tile)
#define BL_TILE_LOAD(tile, base, stride) bl_emulate_load(tile, base, stride)
#define BL_TILE_STORE(tile, base, stride) bl_emulate_store(tile, base, stride)
#define BL_TILE_DOT_SIGNED(sums, a, b) bl_emulate_dot(sums, a, b, 1)
#define BL_TILE_DOT_UNSIGNED(sums, a, b) bl_emulate_dot(sums, a, b, 0)

#else

#define BL_TARGET_AMX BL_TARGET("amx-tile,amx-int8," BL_VECTORS_AMX)

/* What ldtilecfg reads. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} bl_tile_configuration;

static const bl_tile_configuration bl_whole_tiles = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

/* Assembly and not the intrinsics of the compiler, whose loads in GCC 12 do not say that they read memory: stores
   before, those into a local configuration too, may be dropped or moved behind them. */
#define BL_TILES_CONFIGURE() __asm__ volatile("ldtilecfg %0" : : "m"(bl_whole_tiles))
#define BL_TILES_RELEASE() __asm__ volatile("tilerelease" : :)
#define BL_TILE_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile : :)
#define BL_TILE_LOAD(tile, base, stride)                                                                               \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(base), "r"(stride) : "memory")
#define BL_TILE_STORE(tile, base, stride)                                                                              \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(base), "r"(stride) : "memory")
/* sums[r][c] += the products of the four bytes of dword d in row r of a with those of dword c in row d of b, over d.
   b is signed, a signed or unsigned. */
#define BL_TILE_DOT_SIGNED(sums, a, b) __asm__ volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #sums : :)
#define BL_TILE_DOT_UNSIGNED(sums, a, b) __asm__ volatile("tdpbusd %%tmm" #b ", %%tmm" #a ", %%tmm" #sums : :)

#endif
#endif
#endif
