/* csrc/amx/permission.c on a processor and a system that answer what they are told: `permission PALETTE ROWS BYTES TILES
   GRANTED`. Prints the reason of a refusal, or "granted", and how often the permission was asked for. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cpuid.h>

#include "common.h"

static int palette, rows, bytes, tiles, granted, held, requests;

static int answer_cpuid(unsigned leaf, unsigned sub, unsigned *a, unsigned *b, unsigned *c, unsigned *d)
{
    *a = *b = *c = *d = 0;
    if (leaf == 0x1d && sub == 1) {
        *b = (unsigned)(tiles << 16 | bytes);
        *c = (unsigned)rows;
        return palette >= 1;
    }
    if (leaf == 0x1e && sub == 0) {
        *b = (unsigned)(bytes << 8 | rows);
        return 1;
    }
    return 0;
}

/* As Linux: 0x1022 tells the permissions, 0x1023 asks for one. */
static long answer_syscall(long number, long code, unsigned long argument)
{
    if (number != SYS_arch_prctl || granted < 0)
        return -1;
    if (code == 0x1022) {
        *(unsigned long *)argument = (unsigned long)held << 18;
        return 0;
    }
    requests++;
    held = code == 0x1023 && argument == 18 && granted;
    return held ? 0 : -1;
}

#define __get_cpuid_count(leaf, sub, a, b, c, d) answer_cpuid(leaf, sub, a, b, c, d)
#define syscall(number, code, argument) answer_syscall(number, code, (unsigned long)(argument))
#include "amx/permission.c"

int main(int count, char **words)
{
    if (count != 6)
        return 2;
    palette = atoi(words[1]);
    rows = atoi(words[2]);
    bytes = atoi(words[3]);
    tiles = atoi(words[4]);
    granted = atoi(words[5]);
    for (int i = 0; i < 2; i++) {
        const char *reason = bl_tiles_refused();
        printf("%s\n", reason ? reason : "granted");
    }
    printf("%d\n", requests);
    return 0;
}
