/* A program that loads the library given, runs on helper threads, and unloads it: the threads must have ended. And one of its
   own threads has no more stack than the header promises that a kernel takes. Prints what is wrong and ends with 1. */
#define _GNU_SOURCE
#include <bitlearn.h>
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { M = 300, K = 200, N = 500, WORDS = (N + 63) / 64, IMAGE = 12, CHANNELS = 130, IMAGE_WORDS = (CHANNELS + 63) / 64 };

static void *library;
static int16_t gradient[M * K], maps[IMAGE * IMAGE * K];
static uint64_t bits[M * WORDS], image[IMAGE * IMAGE * IMAGE_WORDS], kernels[K * 9 * IMAGE_WORDS], mask[K * WORDS];
static int64_t out[M * N], thresholds[K], filters[K * 9 * CHANNELS];

static void fail(const char *reason)
{
    puts(reason);
    exit(1);
}

static void *found(const char *name)
{
    void *at = dlsym(library, name);
    if (!at)
        fail(name);
    return at;
}

/* The kernels with the most scratch on the stack, by each variant that runs here. */
static void *on_a_small_stack(void *unused)
{
    const bl_conv2d shape = {1, IMAGE, IMAGE, IMAGE_WORDS, IMAGE, IMAGE, K, 3, 3, 1, 1, 1, 1, CHANNELS, 0};
    int (*count)(void) = (int (*)(void))found("bl_variant_count");
    const char *(*missing)(int, int) = (const char *(*)(int, int))found("bl_variant_missing");
    const char *(*refused)(int) = (const char *(*)(int))found("bl_variant_refused");
#define KERNEL(name) ((__typeof__(&bl_##name))found("bl_" #name))
    for (int v = 0; v < count(); v++) {
        if (missing(v, 0) || refused(v))
            continue;
        for (int type = BL_INT8; type <= BL_INT16; type++) {
            KERNEL(grad_input)(v, gradient, type, bits, M, K, N, out);
            KERNEL(grad_weight)(v, gradient, type, bits, M, K, N, 0, K, 0, out);
            KERNEL(grad_weight_sign)(v, gradient, type, bits, M, K, N, 0, K, thresholds, mask, mask);
            KERNEL(conv2d_grad_input)(v, maps, type, kernels, &shape, filters);
            KERNEL(conv2d_grad_weight)(v, maps, type, image, &shape, 0, K, 0, filters);
        }
        KERNEL(xnor_conv2d)(v, image, kernels, 0, NULL, &shape, NULL, filters, BL_INT32, NULL);
        KERNEL(xnor_matmul)(v, bits, bits, 0, NULL, M, K, WORDS, N, 0, NULL, out, BL_INT32, NULL);
    }
    return unused;
}

static int threads_of_the_process(void)
{
    char line[256];
    int threads = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        sscanf(line, "Threads: %d", &threads);
    if (status)
        fclose(status);
    return threads;
}

static void blocked_signals(void)
{
    char line[256], name[64];
    unsigned long long held = 0;
    snprintf(name, sizeof name, "/proc/self/task/%d/status", atoi(getenv("HELPER")));
    FILE *status = fopen(name, "r");
    while (status && fgets(line, sizeof line, status))
        sscanf(line, "SigBlk: %llx", &held);
    if (!status)
        fail("there is no such thread");
    fclose(status);
    if (held >> (SIGSEGV - 1) & 1 || !(held >> (SIGTERM - 1) & 1))
        fail("a helper must block the signals of the program, and none of its own faults");
}

int main(int arguments, char **words)
{
    library = arguments == 2 ? dlopen(words[1], RTLD_NOW) : NULL;
    if (!library)
        fail("no library");
    for (int i = 0; i < M * K; i++)
        gradient[i] = (int16_t)(i * 7919 % 251 - 125);

    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    /* What the header promises, and what the system and the compiler take of a thread's stack. */
    if (pthread_attr_setstacksize(&attributes, (256 + 16) * 1024) ||
        pthread_create(&thread, &attributes, on_a_small_stack, NULL) || pthread_join(thread, NULL))
        fail("no thread with a small stack");

    /* A program of two parts: counts of words. */
    static int64_t counts[M];
    const uint64_t slots[] = {(uint64_t)(uintptr_t)bits, 1, M, WORDS, sizeof bits, 8 * WORDS, 8, (uint64_t)(uintptr_t)counts};
    const bl_change changes[] = {{0, BL_MOVES, 8 * WORDS}, {2, BL_COUNTS, 1}, {7, BL_MOVES, 8}};
    bl_call call = {.slots = slots, .changes = changes, .rows = M, .parts = 4, .change_count = 3};
    call.kernel = ((int (*)(const char *))found("bl_kernel_number"))("popcount");
    call.variant = ((int (*)(void))found("bl_best_variant"))();
    memset(bits, 0xff, sizeof bits);
    const bl_call both[] = {call, call};
    for (int i = 0; i < 100; i++)
        if (KERNEL(run)(both, 2, 2, 2) != 2 || counts[0] != 64 * WORDS || counts[M - 1] != 64 * WORDS)
            fail("wrong counts");
    if (KERNEL(threads_started)() != 1 || threads_of_the_process() != 2)
        fail("one helper was to be started");
    /* Its number is the next one, where nothing else starts threads. */
    char helper[16] = "0";
    FILE *listed = popen("ls /proc/$PPID/task | tail -1", "r");
    if (!listed || !fgets(helper, sizeof helper, listed))
        fail("no list of threads");
    pclose(listed);
    setenv("HELPER", helper, 1);
    blocked_signals();
    if (dlclose(library) || threads_of_the_process() != 1)
        fail("the helper was to end with the library");
    return 0;
}
