/* The loop that runs a program, and the split of a call's rows. */
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

intptr_t bl_run(const bl_call *calls, intptr_t count, int threads)
{
    const int taken = bl_take_threads(threads, count > 1);
    intptr_t i = 0;
    for (; i < count; i++) {
        const bl_call *c = calls + i;
        if (taken > 1 && c->parts > 1)
            bl_over_parts(taken, c->parts, c->rows, run_part, c);
        else
            callers[c->kernel].call(bl_kernels_of(c->variant), c->slots);
        if (c->check && !*c->check)
            break;
    }
    if (taken > 1)
        bl_give_threads();
    return i;
}
