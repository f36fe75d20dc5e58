/* Run the C kernels without Python, on whatever processor this is compiled for.

   `driver list` prints a line a variant: its name and either what the processor lacks, after "lacks", or what refuses it,
   after "refused:", or its kernels.

   `driver choice` and others check how tiles are used (tiles.c).

   `driver run` answers calls until its input ends, each made through bl_run (program.h). All numbers are int64_t,
   little-endian. A call: the length of the kernel's name and the name, the variant's index, the number of slots and of
   those that are pointers, the slots, and for each pointer its slot, how many bytes into its memory it points, whether
   the kernel writes there, the size of the memory and its content. The answer: 0, or the slot (from 1) of memory that was
   changed or written around; then what was written. */
#include <stdio.h>
#include <stdlib.h>

#include "common.h"

#include "tiles.h"

#define MARGIN 72 /* bytes around an array: a multiple of the alignment of words, and not of vectors */

typedef struct {
    int64_t slot, first, is_result, size;
    unsigned char *base; /* MARGIN bytes before the array */
    unsigned char *copy; /* of the array as it came */
} memory;

static void fail(const char *reason)
{
    fprintf(stderr, "driver: %s\n", reason);
    exit(1);
}

static void *allocate(int64_t bytes)
{
    void *found = malloc(bytes ? (size_t)bytes : 1);
    if (!found)
        fail("out of memory");
    return found;
}

static void receive(void *to, int64_t bytes)
{
    if (fread(to, 1, (size_t)bytes, stdin) != (size_t)bytes)
        fail("the input ends within a call");
}

static int64_t receive_number(void)
{
    int64_t number;
    receive(&number, sizeof number);
    return number;
}

static void receive_memory(memory *to, int fill)
{
    to->slot = receive_number();
    to->first = receive_number();
    to->is_result = receive_number();
    to->size = receive_number();
    to->base = allocate(to->size + 2 * MARGIN);
    to->copy = allocate(to->size);
    memset(to->base, fill, (size_t)to->size + 2 * MARGIN);
    receive(to->copy, to->size);
    memcpy(to->base + MARGIN, to->copy, (size_t)to->size);
}

static int intact(const memory *m, int fill)
{
    for (int i = 0; i < MARGIN; i++)
        if (m->base[i] != fill || m->base[MARGIN + m->size + i] != fill)
            return 0;
    return m->is_result || memcmp(m->base + MARGIN, m->copy, (size_t)m->size) == 0;
}

/* Tiles come from another user and are left to the next one without a kernel's configuration. */
static void run(const bl_call *call)
{
#ifdef BL_EMULATE_TILES
    bl_emulate_other_user();
#endif
    bl_run(call, 1, 1, 1);
#ifdef BL_EMULATE_TILES
    if (bl_emulate_unit()->user == BL_KERNEL)
        fail("a kernel that keeps its configuration of tiles");
#endif
}

/* What lies around the arrays differs from one call to the next, so that a result that depends on it shows when the
   same call is made twice. */
static void answer(const char *name, int fill)
{
    const int variant = (int)receive_number();
    const int64_t count = receive_number(), pointers = receive_number();
    uint64_t slots[BL_CALL_SLOTS];
    memory found[BL_CALL_SLOTS];
    int64_t broken = 0;
    bl_call call = {.slots = slots, .kernel = bl_kernel_number(name), .variant = variant, .parts = 1};
    if (call.kernel < 0)
        fail("a kernel that is none");
    if (count < 0 || count > BL_CALL_SLOTS || pointers < 0 || pointers > count)
        fail("too many arguments");
    receive(slots, count * (int64_t)sizeof *slots);
    for (int i = 0; i < pointers; i++) {
        receive_memory(&found[i], fill);
        slots[found[i].slot] = (uint64_t)(uintptr_t)(found[i].base + MARGIN + found[i].first);
    }
    run(&call);
    for (int i = 0; i < pointers; i++)
        if (!intact(&found[i], fill) && !broken)
            broken = found[i].slot + 1;
    fwrite(&broken, sizeof broken, 1, stdout);
    for (int i = 0; i < pointers; i++)
        if (found[i].is_result)
            fwrite(found[i].base + MARGIN, 1, (size_t)found[i].size, stdout);
    fflush(stdout);
    for (int i = 0; i < pointers; i++) {
        free(found[i].base);
        free(found[i].copy);
    }
}

static void list(void)
{
    for (int variant = 0; variant < bl_variant_count(); variant++) {
        printf("%s", bl_variant_name(variant));
        if (bl_variant_missing(variant, 0)) {
            printf(" lacks");
            for (int i = 0; bl_variant_missing(variant, i); i++)
                printf(" %s", bl_variant_missing(variant, i));
        } else if (bl_variant_refused(variant)) {
            printf(" refused: %s", bl_variant_refused(variant));
        } else {
#define PRINT(name, parameters, arguments)                                                                             \
    if (bl_variant_implements(variant, #name))                                                                         \
        printf(" " #name);
            BL_KERNELS(PRINT)
        }
        printf("\n");
    }
}

int main(int count, char **words)
{
    if (count == 2 && strcmp(words[1], "list") == 0) {
        list();
        return 0;
    }
    if (count == 2 && check_tiles(words[1]))
        return 0;
    if (count != 2 || strcmp(words[1], "run") != 0)
        fail("usage: driver list|run|choice|user|fork|signal|threads");
    int64_t length;
    for (int fill = 0xa5; fread(&length, sizeof length, 1, stdin) == 1; fill ^= 0xff) {
        char name[64] = {0};
        if (length < 0 || length >= (int64_t)sizeof name)
            fail("a name that is too long");
        receive(name, length);
        answer(name, fill);
    }
    return 0;
}
