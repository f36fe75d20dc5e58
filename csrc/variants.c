/* The list of variants, and the public functions: each calls its variant's own. */
#include "variants.h"

#include "amx/choice.h"
#include "amx/tiles.h"

#define AVX512                                                                                                         \
    (BL_AVX512F | BL_AVX512BW | BL_AVX512VL | BL_AVX512DQ | BL_AVX512VPOPCNTDQ | BL_AVX512VNNI | BL_AVX512VBMI |       \
     BL_GFNI)

/* Emulated tiles need nothing of the processor. */
#ifdef BL_EMULATE_TILES
#define AMX AVX512
#else
#define AMX (AVX512 | BL_AMX_TILE | BL_AMX_INT8)
#endif

/* X(name, the features it needs, what refuses it although they are there), best first. A new instruction set is a folder
   and a line here. */
#define BL_VARIANTS(X)                                                                                                 \
    X(amx, AMX, bl_tiles_refused)                                                                                      \
    X(avx512, AVX512, NULL)                                                                                            \
    X(avx512bw, BL_AVX512F | BL_AVX512BW | BL_AVX512VL | BL_AVX512DQ, NULL)                                            \
    X(avx2, BL_AVX2, NULL)                                                                                             \
    X(neondot, BL_NEON | BL_DOTPROD, NULL)                                                                             \
    X(neon, BL_NEON, NULL)                                                                                             \
    X(portable, 0, NULL)

#define DECLARE(name, features, refused) extern const bl_kernels bl_kernels_##name;
BL_VARIANTS(DECLARE)

#define ENTRY(name, features, refused) {#name, features, refused, &bl_kernels_##name},
static const struct {
    const char *name;
    unsigned needs;
    const char *(*refused)(void);
    const bl_kernels *kernels;
} variants[] = {BL_VARIANTS(ENTRY){"choice", AMX, bl_tiles_refused, &bl_kernels_choice}};
_Static_assert(sizeof variants / sizeof variants[0] == BL_CHOICE + 1, "what chooses comes behind the variants");

static const struct {
    unsigned bit;
    const char *name;
} features[] = {
    {BL_AVX2, "avx2"},         {BL_AVX512F, "avx512f"},   {BL_AVX512BW, "avx512bw"},
    {BL_AVX512VL, "avx512vl"}, {BL_AVX512DQ, "avx512dq"}, {BL_AVX512VPOPCNTDQ, "avx512vpopcntdq"},
    {BL_NEON, "neon"},         {BL_AVX512VBMI, "avx512vbmi"}, {BL_GFNI, "gfni"},
    {BL_AVX512VNNI, "avx512vnni"}, {BL_AMX_TILE, "amx_tile"}, {BL_AMX_INT8, "amx_int8"},
    {BL_DOTPROD, "dotprod"},
};

int bl_variant_count(void) { return BL_CHOICE; }

const char *bl_variant_name(int variant) { return variants[variant].name; }

const char *bl_variant_missing(int variant, int i)
{
    unsigned missing = variants[variant].needs & ~bl_cpu_features();
    for (size_t f = 0; f < sizeof features / sizeof features[0]; f++)
        if (missing & features[f].bit && i-- == 0)
            return features[f].name;
    return NULL;
}

const char *bl_variant_refused(int variant)
{
    return variants[variant].refused ? variants[variant].refused() : NULL;
}

const char *bl_kernel_arguments(const char *kernel)
{
#define ARGUMENTS(name, parameters, arguments)                                                                         \
    if (strcmp(kernel, #name) == 0)                                                                                    \
        return #arguments;
    BL_ALL_KERNELS(ARGUMENTS)
    return NULL;
}

/* What chooses has something to choose where the first variant has the kernel. */
int bl_variant_implements(int variant, const char *kernel)
{
#define IMPLEMENTS(name, parameters, arguments)                                                                        \
    if (strcmp(kernel, #name) == 0)                                                                                    \
        return variants[variant].kernels->name && (variant != BL_CHOICE || variants[0].kernels->name);
    BL_ALL_KERNELS(IMPLEMENTS)
    return 0;
}

const char *bl_compiler(void)
{
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#if defined(__clang__)
    return "Clang " __clang_version__;
#elif defined(__GNUC__)
    return "GCC " __VERSION__;
#elif defined(_MSC_VER)
    return "MSVC " TEXT(_MSC_VER);
#else
    return "unknown";
#endif
}

/* build_ffi.py defines the text; another build may leave it out. */
const char *bl_compiler_flags(void)
{
#ifdef BL_FLAGS
    return BL_FLAGS;
#else
    return "unknown";
#endif
}

/* --- What a variant lacks runs on the next one that is there ------------------------------------------------------- */

static bl_kernels filled[sizeof variants / sizeof variants[0]];
static int are_filled;

#if defined(_MSC_VER)
#include <intrin.h>
#define SEEN(flag) _InterlockedOr((volatile long *)&(flag), 0)
#define SHOW(flag) _InterlockedExchange((volatile long *)&(flag), 1)
#else
#define SEEN(flag) __atomic_load_n(&(flag), __ATOMIC_ACQUIRE)
#define SHOW(flag) __atomic_store_n(&(flag), 1, __ATOMIC_RELEASE)
#endif

static int runs(int variant)
{
    return bl_variant_missing(variant, 0) == NULL && bl_variant_refused(variant) == NULL;
}

#define FILL(name, parameters, arguments)                                                                              \
    if (!own.name)                                                                                                     \
        own.name = filled[next].name;

/* Two threads that do this at the same time write the same. */
static void fill(void)
{
    for (int variant = BL_CHOICE - 1; variant >= 0; variant--) {
        bl_kernels own = *variants[variant].kernels;
        int next = variant + 1;
        while (next < BL_CHOICE && !runs(next))
            next++;
        if (next < BL_CHOICE) {
            BL_ALL_KERNELS(FILL)
        }
        filled[variant] = own;
    }
    bl_kernels own = *variants[BL_CHOICE].kernels;
    const int next = 0;
    BL_ALL_KERNELS(FILL)
    filled[BL_CHOICE] = own;
    SHOW(are_filled);
}

const bl_kernels *bl_kernels_of(int variant)
{
    if (!SEEN(are_filled))
        fill();
    return filled + variant;
}

#define DISPATCH(name, parameters, arguments)                                                                          \
    void bl_##name(int variant, BL_UNWRAP parameters) { bl_kernels_of(variant)->name arguments; }
BL_ALL_KERNELS(DISPATCH)
