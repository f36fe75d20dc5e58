/* Programs on the kernels' own threads, from several threads at once, for ThreadSanitizer: what one call writes in parts
   the next one reads whole. Exits with 1 where a result differs from one thread's. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common.h"
#include "kernels.h"
#include "program.h"

#define CALLERS 4
#define ROWS 64 /* rows of every matrix, which are the values of a row of the second product's operand */
#define WORDS 2

typedef struct {
    uint64_t a[ROWS * WORDS], b[ROWS * WORDS], bits[ROWS];
    int32_t threshold[ROWS], out[ROWS * ROWS];
    uint64_t slots[2][BL_CALL_SLOTS];
    bl_change changes[2][3];
    bl_call calls[2];
} work;

static int rounds, variant;

static uint64_t word_of(const void *pointer) { return (uint64_t)(uintptr_t)pointer; }

/* The signs of a product, and the product of these with themselves, each in `parts` parts of rows. */
static void prepare(work *w, unsigned seed, int parts)
{
    for (int i = 0; i < ROWS * WORDS; i++) {
        w->a[i] = (seed = seed * 1664525u + 1013904223u) * UINT64_C(0x9e3779b97f4a7c15);
        w->b[i] = (seed = seed * 1664525u + 1013904223u) * UINT64_C(0xc2b2ae3d27d4eb4f);
    }
    memset(w->threshold, 0, sizeof w->threshold);
    /* As bl_xnor_matmul has its arguments. */
    const uint64_t first[] = {word_of(w->a), word_of(w->b), 0, 0, ROWS, ROWS, WORDS, 64 * WORDS, 0,
                              word_of(w->threshold), word_of(w->bits), BL_UINT64, 0};
    const uint64_t second[] = {word_of(w->bits), word_of(w->bits), 0, 0, ROWS, ROWS, 1, ROWS, 0, 0, word_of(w->out),
                               BL_INT32, 0};
    memcpy(w->slots[0], first, sizeof first);
    memcpy(w->slots[1], second, sizeof second);
    const bl_change changes[2][3] = {
        {{0, BL_MOVES, 8 * WORDS}, {4, BL_COUNTS, 1}, {10, BL_MOVES, 8}},
        {{0, BL_MOVES, 8}, {4, BL_COUNTS, 1}, {10, BL_MOVES, 4 * ROWS}},
    };
    memcpy(w->changes, changes, sizeof changes);
    for (int i = 0; i < 2; i++)
        w->calls[i] = (bl_call){.slots = w->slots[i],
                                .changes = w->changes[i],
                                .rows = ROWS,
                                .kernel = bl_kernel_number("xnor_matmul"),
                                .variant = variant,
                                .parts = parts,
                                .change_count = 3};
}

static void *call(void *argument)
{
    const unsigned seed = (unsigned)(uintptr_t)argument;
    work *alone = malloc(sizeof *alone), *w = malloc(sizeof *w);
    if (!alone || !w)
        abort();
    prepare(alone, seed, 1);
    bl_run(alone->calls, 2, 1, 1);
    prepare(w, seed, 1 + (int)(seed % 9));
    for (int i = 0; i < rounds; i++) {
        memset(w->out, 0x55, sizeof w->out);
        bl_run(w->calls, 2, 1 + (i + (int)seed) % 4, 4 * CALLERS);
        if (memcmp(w->out, alone->out, sizeof w->out) != 0) {
            fprintf(stderr, "%s: another result on several threads\n", bl_variant_name(variant));
            exit(1);
        }
    }
    free(alone);
    free(w);
    return NULL;
}

int main(int count, char **words)
{
    rounds = count > 1 ? atoi(words[1]) : 300;
    const unsigned seed = count > 2 ? (unsigned)strtoul(words[2], NULL, 10) : 1;
    for (variant = 0; variant < bl_variant_count(); variant++) {
        if (bl_variant_missing(variant, 0) || bl_variant_refused(variant))
            continue;
        pthread_t callers[CALLERS];
        for (unsigned i = 0; i < CALLERS; i++)
            if (pthread_create(&callers[i], NULL, call, (void *)(uintptr_t)(seed + i)) != 0)
                return 1;
        for (unsigned i = 0; i < CALLERS; i++)
            pthread_join(callers[i], NULL);
    }
    return 0;
}
