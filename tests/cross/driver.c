/* Run the C kernels without Python, on whatever processor this is compiled for.

   `driver list` prints a line a variant: its name and either what the processor lacks, after "lacks", or what refuses it,
   after "refused:", or its kernels.

   `driver choice` and others check how tiles are used (tiles.c).

   `driver run` answers calls until its input ends. All numbers are int64_t, little-endian. A call: the length of the
   kernel's name and the name, the variant's index, the number of arguments and of results, and the arguments in the order
   of kernels.h after `variant`, each its kind, its value or its size in bytes, and for an array its bytes. The last
   arrays are the results. The answer: 0, or the place (from 1) of an argument that was changed or written around; then
   the results. */
#include <stdio.h>
#include <stdlib.h>

#include "common.h"

#include "tiles.h"

#define ARGUMENTS 16
#define MARGIN 72 /* bytes around an array: a multiple of the alignment of words, and not of vectors */

enum { NUMBER, ARRAY };

typedef struct {
    int64_t value;       /* a number, or a size in bytes */
    unsigned char *base; /* MARGIN bytes before the array */
    unsigned char *copy; /* of the array as it came */
    void *array;         /* NULL for a number */
} argument;

static void fail(const char *reason)
{
    fprintf(stderr, "driver: %s\n", reason);
    exit(1);
}

static void *allocate(int64_t bytes)
{
    void *memory = malloc(bytes ? (size_t)bytes : 1);
    if (!memory)
        fail("out of memory");
    return memory;
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

static void receive_argument(argument *to, int fill)
{
    memset(to, 0, sizeof *to);
    int64_t kind = receive_number();
    to->value = receive_number();
    if (kind == NUMBER)
        return;
    to->base = allocate(to->value + 2 * MARGIN);
    to->copy = allocate(to->value);
    to->array = to->base + MARGIN;
    memset(to->base, fill, (size_t)to->value + 2 * MARGIN);
    receive(to->copy, to->value);
    memcpy(to->array, to->copy, (size_t)to->value);
}

static int intact(const argument *a, int fill, int is_result)
{
    for (int i = 0; i < MARGIN; i++)
        if (a->base[i] != fill || a->base[MARGIN + a->value + i] != fill)
            return 0;
    return is_result || memcmp(a->array, a->copy, (size_t)a->value) == 0;
}

#define P(i) (a[i].array)
#define N(i) ((intptr_t)a[i].value)
#define I(i) ((int)a[i].value)
#define D(i) (*(const double *)P(i))

/* The first element of an array with strides, so many bytes into its memory. */
#define AT(i, offset) ((void *)((char *)P(i) + N(offset)))

#define TRY(kernel, ...)                                                                                               \
    if (strcmp(name, #kernel) == 0) {                                                                                  \
        bl_##kernel(variant, __VA_ARGS__);                                                                             \
        return;                                                                                                        \
    }

static void dispatch(const char *name, int variant, const argument *a)
{
    TRY(pack, AT(0, 1), I(2), N(3), N(4), N(5), N(6), N(7), N(8), P(9), I(10), P(11))
    TRY(unpack, P(0), N(1), N(2), P(3), I(4))
    TRY(popcount, AT(0, 1), N(2), N(3), N(4), N(5), N(6), N(7), P(8))
    TRY(transpose_bits, P(0), N(1), N(2), P(3))
    TRY(hamming, P(0), P(1), N(2), N(3), N(4), P(5), I(6))
    TRY(xnor_matmul, P(0), P(1), N(2), N(3), N(4), N(5), P(6), I(7))
    TRY(xnor_matmul_sign, P(0), P(1), N(2), N(3), N(4), N(5), P(6), P(7))
    TRY(pack_panels, P(0), N(1), N(2), P(3))
    TRY(hamming_panels, P(0), P(1), N(2), N(3), N(4), P(5), I(6))
    TRY(xnor_matmul_panels, P(0), P(1), N(2), N(3), N(4), N(5), P(6), I(7))
    TRY(xnor_matmul_sign_panels, P(0), P(1), N(2), N(3), N(4), N(5), P(6), P(7))
    TRY(split_planes, P(0), N(1), N(2), I(3), P(4), P(5))
    TRY(split_columns, P(0), N(1), N(2), N(3), N(4), I(5), P(6), P(7))
    TRY(plane_windows, P(0), I(1), P(2), N(3), N(4), P(5))
    TRY(planes_matmul_panels, P(0), I(1), P(2), N(3), N(4), N(5), N(6), I(7), P(8))
    TRY(xnor_conv2d_panels, P(0), P(1), P(2), P(3), I(4))
    TRY(xnor_conv2d_sign_panels, P(0), P(1), P(2), P(3), P(4))
    TRY(xnor_conv2d, P(0), P(1), P(2), P(3), I(4))
    TRY(xnor_conv2d_sign, P(0), P(1), P(2), P(3), P(4))
    TRY(grad_input, P(0), I(1), P(2), N(3), N(4), N(5), P(6))
    TRY(grad_weight, P(0), I(1), P(2), N(3), N(4), N(5), N(6), N(7), I(8), P(9))
    TRY(grad_weight_sign, P(0), I(1), P(2), N(3), N(4), N(5), N(6), N(7), P(8), P(9), P(10))
    TRY(conv2d_grad_input, P(0), I(1), P(2), P(3), P(4))
    TRY(conv2d_grad_weight, P(0), I(1), P(2), P(3), N(4), N(5), I(6), P(7))
    TRY(conv2d_grad_weight_sign, P(0), I(1), P(2), P(3), N(4), N(5), P(6), P(7), P(8))
    TRY(l2_statistics, P(0), N(1), N(2), N(3), P(4))
    TRY(norm_bounds, P(0), P(1), P(2), N(3), P(4))
    TRY(l2_factors, P(0), N(1), P(2), P(3), N(4), D(5), N(6), P(7))
    TRY(codes_grad_weight, P(0), I(1), P(2), N(3), N(4), N(5), N(6), N(7), I(8), P(9), I(10))
    TRY(unfold_codes, P(0), P(1), P(2))
    TRY(largest_magnitude, P(0), I(1), N(2), N(3), N(4), P(5))
    TRY(quantize_linear, P(0), I(1), P(2), P(3), N(4), N(5), N(6), I(7), I(8), P(9), P(10), I(11))
    TRY(requantize, P(0), I(1), N(2), I(3), P(4), P(5), I(6))
    TRY(random_words, P(0), N(1), N(2), N(3), N(4), P(5))
    TRY(adam_update, P(0), I(1), P(2), P(3), N(4), N(5), P(6), I(7), P(8), P(9), I(10))
    TRY(sgd_update, P(0), I(1), P(2), P(3), N(4), N(5), P(6), I(7), P(8), I(9))
    TRY(bop_update, P(0), I(1), P(2), P(3), N(4), N(5), P(6), I(7), P(8), I(9))
    TRY(channel_sums, P(0), I(1), N(2), N(3), N(4), P(5))
    TRY(channel_sums_above, P(0), I(1), P(2), N(3), N(4), N(5), P(6))
    TRY(sign_pass, P(0), I(1), P(2), P(3), P(4), N(5), N(6), P(7))
    TRY(gradient_sums, P(0), I(1), P(2), P(3), I(4), N(5), N(6), N(7), P(8))
    TRY(norm_gradient_peak, P(0), I(1), P(2), P(3), I(4), P(5), P(6), P(7), N(8), N(9), N(10), P(11))
    TRY(norm_gradient, P(0), I(1), P(2), P(3), I(4), P(5), P(6), P(7), *(const float *)P(8), I(9), N(10), N(11), P(12))
    TRY(batch_statistics, P(0), I(1), D(2), D(3), P(4), P(5), N(6), N(7), P(8), P(9))
    TRY(norm_signs, P(0), I(1), P(2), P(3), P(4), P(5), N(6), N(7), P(8))
    TRY(batch_gradient, P(0), I(1), P(2), P(3), I(4), P(5), P(6), D(7), D(8), I(9), P(10), P(11), P(12), N(13), N(14),
        P(15))
    TRY(softmax_gradient, P(0), N(1), N(2), P(3), P(4), P(5))
    TRY(max_pool, P(0), I(1), P(2), P(3))
    TRY(max_pool_places, P(0), I(1), P(2), P(3))
    TRY(max_pool_gradient, P(0), I(1), P(2), P(3), P(4), I(5))
    fail("there is a kernel that tests/cross/driver.c does not know");
}

/* Tiles come from another user and are left to the next one without a kernel's configuration. */
static void call(const char *name, int variant, const argument *a)
{
#ifdef BL_EMULATE_TILES
    bl_emulate_other_user();
#endif
    dispatch(name, variant, a);
#ifdef BL_EMULATE_TILES
    if (bl_emulate_unit()->user == BL_KERNEL)
        fail("a kernel that keeps its configuration of tiles");
#endif
}

/* What lies around the arrays differs from one call to the next, so that a result that depends on it shows when the
   same call is made twice. */
static void answer(const char *name, int fill)
{
    int variant = (int)receive_number();
    int64_t count = receive_number(), results = receive_number(), broken = 0, arrays = 0;
    argument a[ARGUMENTS];
    if (count < 0 || count > ARGUMENTS)
        fail("too many arguments");
    for (int i = 0; i < count; i++) {
        receive_argument(&a[i], fill);
        arrays += a[i].array != NULL;
    }
    if (results < 1 || results > arrays)
        fail("a call without a result");
    call(name, variant, a);
    int64_t left = arrays;
    for (int i = 0; i < count; i++)
        if (a[i].array && !intact(&a[i], fill, left-- <= results) && !broken)
            broken = i + 1;
    fwrite(&broken, sizeof broken, 1, stdout);
    for (int i = 0; i < count; i++)
        if (a[i].array && arrays-- <= results)
            fwrite(a[i].array, 1, (size_t)a[i].value, stdout);
    fflush(stdout);
    for (int i = 0; i < count; i++) {
        free(a[i].base);
        free(a[i].copy);
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
