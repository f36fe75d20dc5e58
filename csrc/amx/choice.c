/* The choice between amx and avx512, by the rules of rules.h: four comparisons a call, none on a processor without
   tiles, where nobody asks this table. It is C and no file that is read when the library is loaded, so that it costs
   nothing then, and that the kernels choose without Python too. */
#include "amx.h"

#include "rules.h"

typedef struct {
    const char *kernel;
    int type;
    int64_t m, k, n, work;
} rule;

#define RULE_INDEX(kernel, form, m, k, n, work) RULE_##kernel##_##form,
enum { BL_TILE_RULES(RULE_INDEX) RULES };

#define RULE_ENTRY(kernel, form, m, k, n, work) {#kernel, BL_##form, m, k, n, work},
static const rule rules[] = {BL_TILE_RULES(RULE_ENTRY)};

static int pays(const rule *r, int64_t m, int64_t k, int64_t n)
{
    return m >= r->m && k >= r->k && n >= r->n && (double)m * (double)k * (double)n >= (double)r->work;
}

int bl_tiles_pay(const char *kernel, int type, int64_t m, int64_t k, int64_t n)
{
    for (int i = 0; i < RULES; i++)
        if (rules[i].type == type && strcmp(rules[i].kernel, kernel) == 0)
            return pays(&rules[i], m, k, n);
    return -1;
}

/* --- The kernels ------------------------------------------------------------------------------------------------- */

#ifdef BL_TILES

#define RUN(name, rule, m, k, n, arguments)                                                                            \
    do {                                                                                                               \
        if (pays(&rules[rule], m, k, n))                                                                               \
            bl_##name##_amx arguments;                                                                                 \
        else                                                                                                           \
            bl_##name##_avx512 arguments;                                                                              \
    } while (0)

/* A convolution is the product of its pixels, its kernels and the values of a window. */
#define PIXELS (shape->batch * shape->out_height * shape->out_width)
#define WINDOW (shape->kernel_height * shape->kernel_width * shape->n)

#define OF_BITS(name, parameters, arguments)                                                                           \
    void bl_##name##_choice parameters { RUN(name, RULE_##name##_UINT64, m, k, n, arguments); }
#define OF_IMAGES(name, parameters, arguments)                                                                         \
    void bl_##name##_choice parameters { RUN(name, RULE_##name##_UINT64, PIXELS, shape->out_channels, WINDOW, arguments); }

#define RULE_OF(name) (g_type == BL_INT8 ? RULE_##name##_INT8 : RULE_##name##_INT16)
#define OF_GRADIENTS(name, parameters, arguments)                                                                      \
    void bl_##name##_choice parameters { RUN(name, RULE_OF(name), m, k, n, arguments); }
#define OF_MAPS(name, parameters, arguments)                                                                           \
    void bl_##name##_choice parameters { RUN(name, RULE_OF(name), PIXELS, shape->out_channels, WINDOW, arguments); }

BL_MATMUL_KERNELS(OF_BITS)
BL_CONV2D_KERNELS(OF_IMAGES)
BL_PRODUCT_GRADIENT_KERNELS(OF_GRADIENTS)
BL_CONV2D_GRADIENT_KERNELS(OF_MAPS)
BL_CODE_PRODUCT_KERNELS(OF_GRADIENTS)

#endif
