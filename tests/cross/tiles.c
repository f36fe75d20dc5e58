/* How kernels on emulated tiles live with the rest of a process: `driver choice|user|fork|signal|threads`. Prints what is
   wrong and ends with 1, or ends with 0. */
#define _GNU_SOURCE
#include "tiles.h"

#ifdef BL_EMULATE_TILES

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* The sizes of the products: more than a tile of each, and none a multiple of one. */
enum { M = 70, K = 130, N = 200, WORDS = 4, PANELS = 136 * WORDS };
enum { IMAGE = 9, CHANNELS = 70, FILTERS = 40, PIXELS = IMAGE * IMAGE };

typedef struct {
    int32_t dots[M * K], input[M * N], weight[K * N];
    int64_t wide[M * N];
    uint64_t signs[M * 3], weight_signs[K * WORDS];
    int32_t images[PIXELS * FILTERS], maps[PIXELS * CHANNELS], filters[FILTERS * 9 * CHANNELS];
} results;

static int8_t narrow_gradient[M * K], map[PIXELS * FILTERS];
static int16_t wide_gradient[M * K];
static uint64_t left[M * WORDS], right[K * WORDS], panels[PANELS], mask[K * WORDS];
static uint64_t image[PIXELS * 2], kernels[FILTERS * 9 * 2], kernel_panels[FILTERS * 9 * 2];
static int32_t thresholds[K];
static int64_t no_threshold[K];
static const bl_conv2d shape = {1, IMAGE, IMAGE, 2, IMAGE, IMAGE, FILTERS, 3, 3, 1, 1, 1, 1, CHANNELS, 0};

static void fail(const char *reason)
{
    fprintf(stderr, "tiles: %s\n", reason);
    exit(1);
}

static uint64_t random_word(void)
{
    static uint64_t state = 20260801;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state ^ state >> 29;
}

static void fill_bits(uint64_t *bits, int rows, int words, int n)
{
    for (int i = 0; i < rows * words; i++)
        bits[i] = random_word() & (i % words == words - 1 ? bl_tail_mask(n) : ~UINT64_C(0));
}

static int variant_named(const char *name)
{
    for (int v = 0; v < bl_variant_count(); v++)
        if (strcmp(bl_variant_name(v), name) == 0)
            return v;
    fail("a variant is missing");
    return -1;
}

static void prepare(void)
{
    fill_bits(left, M, WORDS, N);
    fill_bits(right, K, WORDS, N);
    fill_bits(image, PIXELS, 2, CHANNELS);
    fill_bits(kernels, FILTERS * 9, 2, CHANNELS);
    memset(mask, 0xff, sizeof mask);
    for (int i = 0; i < M * K; i++) {
        narrow_gradient[i] = (int8_t)random_word();
        wide_gradient[i] = (int16_t)random_word();
    }
    for (int i = 0; i < PIXELS * FILTERS; i++)
        map[i] = (int8_t)random_word();
    int portable = variant_named("portable");
    bl_pack_panels(portable, right, K, WORDS, panels);
    bl_pack_panels(portable, kernels, FILTERS, 9 * 2, kernel_panels);
}

static int has(int variant, const char *kernel) { return bl_variant_implements(variant, kernel); }

/* Every product once, by a variant where it has the kernel and else by the portable one. */
static void run(int asked, results *r)
{
    int portable = variant_named("portable");
#define V(kernel) (has(asked, #kernel) ? asked : portable)
    memset(r, 0, sizeof *r);
    bl_xnor_matmul(V(xnor_matmul), left, panels, 1, NULL, M, K, WORDS, N, 0, NULL, r->dots, BL_INT32, NULL);
    bl_xnor_matmul(V(xnor_matmul), left, panels, 1, NULL, M, K, WORDS, N, 0, thresholds, r->signs, BL_UINT64, NULL);
    bl_xnor_conv2d(V(xnor_conv2d), image, kernel_panels, 1, NULL, &shape, NULL, r->images, BL_INT32, NULL);
    bl_grad_input(V(grad_input), narrow_gradient, BL_INT8, right, M, K, N, r->input);
    bl_grad_input(V(grad_input), wide_gradient, BL_INT16, right, M, K, N, r->wide);
    bl_grad_weight(V(grad_weight), narrow_gradient, BL_INT8, left, M, K, N, 0, K, 0, r->weight);
    bl_grad_weight_sign(V(grad_weight_sign), narrow_gradient, BL_INT8, left, M, K, N, 0, K, no_threshold, mask,
                        r->weight_signs);
    bl_conv2d_grad_input(V(conv2d_grad_input), map, BL_INT8, kernels, &shape, r->maps);
    bl_conv2d_grad_weight(V(conv2d_grad_weight), map, BL_INT8, image, &shape, 0, FILTERS, 0, r->filters);
}

static results expected;

static void check(const results *found, const char *where)
{
    if (memcmp(found, &expected, sizeof expected) != 0)
        fail(where);
}

static results *new_results(void)
{
    results *r = malloc(sizeof *r);
    if (!r)
        fail("out of memory");
    return r;
}

/* --- The choice ---------------------------------------------------------------------------------------------------- */

/* Whether a product of so many rows, all else large, ran on tiles. */
static int on_tiles(int m, int k, int n, int type, int variant)
{
    int words = (int)bl_words(n);
    void *g = calloc((size_t)m * (size_t)k, 2), *out = calloc((size_t)m * (size_t)n, 8);
    uint64_t *w = calloc((size_t)k * (size_t)words, 8);
    if (!g || !w || !out)
        fail("out of memory");
    long before = bl_emulate_unit()->loads;
    bl_grad_input(variant, g, type, w, m, k, n, out);
    free(g);
    free(w);
    free(out);
    return bl_emulate_unit()->loads > before;
}

static void choose(void)
{
    int choice = BL_CHOICE, sizes[][3] = {{1, 64, 64}, {64, 64, 64}, {128, 256, 256}, {300, 200, 100}};
    int chosen = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int type = BL_INT8; type <= BL_INT16; type++) {
            int m = sizes[i][0], k = sizes[i][1], n = sizes[i][2], pays = bl_tiles_pay("grad_input", type, m, k, n);
            if (on_tiles(m, k, n, type, choice) != pays)
                fail("a rule and what runs differ");
            if (!on_tiles(m, k, n, type, variant_named("amx")) || on_tiles(m, k, n, type, variant_named("avx512")))
                fail("a variant that is asked for does not run");
            chosen += pays;
        }
    if (chosen == 0 || chosen == 8)
        fail("one side was never chosen");
}

/* --- Other users --------------------------------------------------------------------------------------------------- */

static void share(void)
{
    results *r = new_results();
    long before = bl_emulate_unit()->loads;
    for (int i = 0; i < 2; i++) {
        bl_emulate_other_user();
        run(variant_named("amx"), r);
        check(r, "another user's tiles came into a result");
        if (bl_emulate_unit()->user == BL_KERNEL)
            fail("a kernel kept its configuration");
    }
    if (bl_emulate_unit()->loads - before < 2 * 6)
        fail("the products did not run on tiles");
    free(r);
}

static void *of_a_thread(void *unused)
{
    share();
    return unused;
}

static void in_threads(void)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, of_a_thread, NULL))
            fail("no thread");
    share();
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

/* --- Fork and signals ---------------------------------------------------------------------------------------------- */

static void in_a_child(void)
{
    share();
    pid_t child = fork();
    if (child == 0) {
        in_threads();
        _exit(0);
    }
    share();
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        fail("the child's results differ");
}

enum { FEW = 3, TIMES = 8 };
static results in_handler;
static volatile sig_atomic_t within;

/* One more signal, a little later: handlers may take longer than the time between them. */
static void arm(void)
{
    struct itimerval once = {{0, 0}, {0, 3000}};
    if (setitimer(ITIMER_REAL, &once, NULL))
        abort();
}

/* The system keeps a thread's tiles while its handler runs, and gives it none. */
static void handler(int number)
{
    (void)number;
    bl_tile_unit kept = *bl_emulate_unit();
    within += kept.user == BL_KERNEL;
    bl_emulate_unit()->user = BL_NOBODY;
    bl_grad_input(variant_named("amx"), narrow_gradient, BL_INT8, right, FEW, K, N, in_handler.input);
    if (memcmp(in_handler.input, expected.input, FEW * N * sizeof expected.input[0]) != 0)
        abort();
    *bl_emulate_unit() = kept;
    if (within < TIMES)
        arm();
}

static void interrupted(void)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    results *r = new_results();
    if (sigaction(SIGALRM, &action, NULL))
        fail("no handler");
    arm();
    for (int i = 0; i < 1000 && within < TIMES; i++) {
        run(variant_named("amx"), r);
        check(r, "a handler's kernel changed a result");
    }
    if (within < TIMES)
        fail("no kernel was interrupted");
    free(r);
}

int check_tiles(const char *what)
{
    prepare();
    run(variant_named("portable"), &expected);
    if (strcmp(what, "choice") == 0)
        choose();
    else if (strcmp(what, "user") == 0)
        share();
    else if (strcmp(what, "fork") == 0)
        in_a_child();
    else if (strcmp(what, "signal") == 0)
        interrupted();
    else if (strcmp(what, "threads") == 0)
        in_threads();
    else
        return 0;
    return 1;
}

#else

int check_tiles(const char *what)
{
    (void)what;
    return 0;
}

#endif
