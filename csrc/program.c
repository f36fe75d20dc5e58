/* The loops that run a program, and the split of a call's rows. */
#include "slots.h"

#include "pool.h"

BL_ALL_KERNELS(BL_CALLER)

#define ENTRY(name, parameters, arguments) {#name, call_##name, sizeof(slots_of_##name)},
static const struct {
    const char *name;
    void (*call)(const bl_kernels *kernels, const uint64_t *slots);
    size_t bytes;
} callers[] = {BL_ALL_KERNELS(ENTRY)};

int bl_kernel_number(const char *kernel)
{
    for (int i = 0; i < (int)(sizeof callers / sizeof callers[0]); i++)
        if (strcmp(kernel, callers[i].name) == 0)
            return i;
    return -1;
}

typedef union {
    bl_conv2d conv2d;
    bl_pool2d pool2d;
} sizes_of_any;

static void run_part(const void *call, int thread, intptr_t start, intptr_t stop)
{
    const bl_call *c = call;
    uint64_t slots[BL_CALL_SLOTS];
    sizes_of_any sizes;
    const intptr_t rows = stop - start;
    memcpy(slots, c->slots, callers[c->kernel].bytes);
    for (const bl_change *each = c->changes; each < c->changes + c->change_count; each++) {
        uint64_t *slot = slots + each->slot;
        switch (each->kind) {
        case BL_MOVES:
            *slot += (uint64_t)(start * each->step);
            break;
        case BL_COUNTS:
            *slot = (uint64_t)(rows * each->step);
            break;
        case BL_SIZES:
            memcpy(&sizes, (const void *)(uintptr_t)*slot, (size_t)each->step);
            memcpy(&sizes, &rows, sizeof rows);
            *slot = (uint64_t)(uintptr_t)&sizes;
            break;
        default:
            *slot += (uint64_t)(thread * each->step);
        }
    }
    callers[c->kernel].call(bl_kernels_of(c->variant), slots);
}

static void run_whole(const bl_call *c) { callers[c->kernel].call(bl_kernels_of(c->variant), c->slots); }

intptr_t bl_run(const bl_call *calls, intptr_t count, int threads, int processors)
{
    const int taken = threads > 1 ? bl_take_threads(threads, processors, count > 1) : 1;
    intptr_t i = 0;
    for (; i < count; i++) {
        const bl_call *c = calls + i;
        if (taken > 1 && c->parts > 1)
            bl_over_parts(taken, c->parts, c->rows, run_part, c);
        else
            run_whole(c);
        if (c->check && !*c->check)
            break;
    }
    if (threads > 1)
        bl_give_threads(taken);
    return i;
}

typedef struct {
    const bl_call *calls;
    const intptr_t *starts;
} call_groups;

static void run_some_groups(const void *all, int thread, intptr_t start, intptr_t stop)
{
    const call_groups *g = all;
    (void)thread;
    for (intptr_t i = g->starts[start]; i < g->starts[stop]; i++)
        run_whole(g->calls + i);
}

void bl_run_groups(const bl_call *calls, const intptr_t *starts, intptr_t groups, int threads, int processors)
{
    const call_groups all = {calls, starts};
    const int taken = bl_take_threads(threads, processors, 0);
    bl_over_parts(taken, groups, groups, run_some_groups, &all);
    bl_give_threads(taken);
}
