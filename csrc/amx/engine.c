/* The product of expanded strips: 32 rows by 32 columns in four tiles of sums, a tile load a product. */
#include "engine.h"

#ifdef BL_TILES

#include "../scratch.h"

/* The first-level cache (48 KiB) holds a chunk of a strip (36 KiB), a step that streams past it and the sums of two
   strips (4 KiB). Longer chunks save loads and stores of sums, which take as long as two steps. */
#define CHUNK_STEPS 18
/* Half of a second-level cache of 2 MiB. */
#define STILL_STEPS 512
#define STILL_STRIPS 32
/* As many strips as have more than one chunk. */
#define SUM_STRIPS (STILL_STEPS / (CHUNK_STEPS + 1))
#define SUMS (BL_STRIP * BL_STRIP)
#define SUMS_STRIDE ((intptr_t)(BL_STRIP * sizeof(int32_t)))
#define TILE_STRIDE ((intptr_t)BL_TILE_BYTES)
/* A step is expanded so many steps before its product, so that its stores have reached the cache. */
#define AHEAD 2

/* 1.2 MiB: more than a thread may have of stack, and than every thread of a program should have for what it never does. */
typedef struct {
    _Alignas(64) char still[STILL_STEPS * BL_STEP_BYTES];
    char moving[CHUNK_STEPS * BL_STEP_BYTES];
    int32_t sums[SUM_STRIPS][SUMS];
} engine_scratch;

int bl_engine_is_ready(void) { return bl_scratch(sizeof(engine_scratch)) != NULL; }

/* The steps of a strip that are multiplied: expanded already, or by the product where `operand` is given. */
typedef struct {
    char *at;
    const bl_operand *operand;
    intptr_t strip, step;
} strip_steps;

static inline void expand(const strip_steps *s, intptr_t step)
{
    s->operand->expand(s->operand, s->strip, s->step + step, s->at + step * BL_STEP_BYTES);
}

/* Write the next rows of what is pending. */
static inline void finish(bl_product *product, intptr_t rows)
{
    bl_pending *p = &product->pending;
    rows = bl_min(rows, p->rows - p->done);
    if (!rows)
        return;
    bl_finish_strip(product->result, p->row + p->done, rows, p->column, p->terms + p->done,
                    p->sums + p->done * BL_STRIP);
    p->done += rows;
}

/* sums = or += (where `add`) the product of two strips over so many steps; `lower` says that there are more than 16
   rows. `add` and `lower` are constants where it is inlined. */
BL_TARGET_AMX BL_INLINE void multiply(int add, int lower, bl_product *product, const strip_steps *rows,
                                      const strip_steps *columns, intptr_t steps, int32_t *sums)
{
    intptr_t after_each = (BL_STRIP + steps - 1) / bl_max(steps, 1);
    int32_t *below = sums + BL_TILE_ROWS * BL_STRIP;
    for (intptr_t s = 0; s < bl_min(AHEAD, steps); s++) {
        if (rows->operand)
            expand(rows, s);
        if (columns->operand)
            expand(columns, s);
    }
    if (add) {
        BL_TILE_LOAD(0, sums, SUMS_STRIDE);
        BL_TILE_LOAD(1, sums + 16, SUMS_STRIDE);
        if (lower) {
            BL_TILE_LOAD(2, below, SUMS_STRIDE);
            BL_TILE_LOAD(3, below + 16, SUMS_STRIDE);
        }
    } else {
        BL_TILE_ZERO(0);
        BL_TILE_ZERO(1);
        BL_TILE_ZERO(2);
        BL_TILE_ZERO(3);
    }
    for (intptr_t s = 0; s < steps; s++) {
        const char *a = rows->at + s * BL_STEP_BYTES, *b = columns->at + s * BL_STEP_BYTES;
        BL_TILE_LOAD(6, b, TILE_STRIDE);
        BL_TILE_LOAD(4, a, TILE_STRIDE);
        BL_TILE_DOT_SIGNED(0, 4, 6);
        BL_TILE_LOAD(7, b + BL_STEP_BYTES / 2, TILE_STRIDE);
        BL_TILE_DOT_SIGNED(1, 4, 7);
        if (rows->operand && s + AHEAD < steps)
            expand(rows, s + AHEAD);
        if (lower) {
            BL_TILE_LOAD(5, a + BL_STEP_BYTES / 2, TILE_STRIDE);
            BL_TILE_DOT_SIGNED(2, 5, 6);
            BL_TILE_DOT_SIGNED(3, 5, 7);
        }
        if (columns->operand && s + AHEAD < steps)
            expand(columns, s + AHEAD);
        finish(product, after_each);
    }
    /* Without steps nothing has been written; and these sums may take the place of those. */
    finish(product, BL_STRIP);
    BL_TILE_STORE(0, sums, SUMS_STRIDE);
    BL_TILE_STORE(1, sums + 16, SUMS_STRIDE);
    if (lower) {
        BL_TILE_STORE(2, below, SUMS_STRIDE);
        BL_TILE_STORE(3, below + 16, SUMS_STRIDE);
    }
}

BL_TARGET_AMX static void multiply_strips(int add, int lower, bl_product *product, const strip_steps *rows,
                                          const strip_steps *columns, intptr_t steps, int32_t *sums)
{
    if (add && lower)
        multiply(1, 1, product, rows, columns, steps, sums);
    else if (add)
        multiply(1, 0, product, rows, columns, steps, sums);
    else if (lower)
        multiply(0, 1, product, rows, columns, steps, sums);
    else
        multiply(0, 0, product, rows, columns, steps, sums);
}

/* A chunk of strip `moving` times the strips [from, to) that stay: the steps [step, step + steps). `first` says that no
   strip has moved past these before. */
static void multiply_chunk(bl_product *product, intptr_t moving, intptr_t from, intptr_t to, intptr_t step,
                           intptr_t steps, int first)
{
    const bl_operand *mover = product->rows_move ? product->rows : product->columns;
    const bl_operand *stayer = product->rows_move ? product->columns : product->rows;
    engine_scratch *scratch = bl_scratch(sizeof *scratch);
    int resident = product->steps <= STILL_STEPS;
    for (intptr_t j = from; j < to; j++) {
        intptr_t row_strip = product->rows_move ? moving : j, column_strip = product->rows_move ? j : moving;
        intptr_t row = row_strip * BL_STRIP, rows = bl_min(BL_STRIP, product->rows->count - row);
        strip_steps mine = {scratch->moving, j == from ? mover : NULL, moving, step};
        strip_steps theirs = {scratch->still, first || !resident ? stayer : NULL, j, step};
        if (resident)
            theirs.at += ((j - from) * product->steps + step) * BL_STEP_BYTES;
        int32_t *sums = scratch->sums[steps == product->steps ? 0 : j - from];
        multiply_strips(step > 0, rows > BL_TILE_ROWS, product, product->rows_move ? &mine : &theirs,
                        product->rows_move ? &theirs : &mine, steps, sums);
        if (step + steps < product->steps)
            continue;
        bl_pending *next = &product->pending;
        *next = (bl_pending){.row = row, .rows = rows, .column = column_strip * BL_STRIP, .sums = sums};
        product->find(product, row_strip, column_strip, next->terms);
    }
}

void bl_multiply_strips(bl_product *product)
{
    intptr_t moving = bl_strips((product->rows_move ? product->rows : product->columns)->count);
    intptr_t still = bl_strips((product->rows_move ? product->columns : product->rows)->count);
    intptr_t most = bl_min(product->most, bl_min(STILL_STRIPS, STILL_STEPS / bl_max(product->steps, 1)));
    /* Groups and chunks as even as can be. */
    intptr_t groups = (still + bl_max(most, 1) - 1) / bl_max(most, 1);
    intptr_t chunks = bl_max(1, (product->steps + CHUNK_STEPS - 1) / CHUNK_STEPS);
    bl_operand *mover = product->rows_move ? product->rows : product->columns;
    for (intptr_t g = 0; g < groups; g++) {
        intptr_t from = g * still / groups, to = (g + 1) * still / groups;
        finish(product, BL_STRIP);
        if (product->begin)
            product->begin(product, from, to);
        for (intptr_t i = 0; i < moving; i++) {
            if (mover->open)
                mover->open(mover, i);
            for (intptr_t c = 0; c < chunks; c++) {
                intptr_t step = c * product->steps / chunks, end = (c + 1) * product->steps / chunks;
                multiply_chunk(product, i, from, to, step, end - step, i == 0);
            }
        }
    }
    finish(product, BL_STRIP);
}

intptr_t bl_tiles_scratch(void) { return (intptr_t)sizeof(engine_scratch); }

#else

intptr_t bl_tiles_scratch(void) { return 0; }

#endif
