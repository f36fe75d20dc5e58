/* The list of variants, and the public functions: each calls its variant's own. */
#include "lists.h"

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

#define ENTRY(name, features, refused) {#name, features, refused},
static const struct {
    const char *name;
    unsigned needs;
    const char *(*refused)(void);
} variants[] = {BL_VARIANTS(ENTRY){"choice", AMX, bl_tiles_refused}};
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

/* --- Each variant's own ------------------------------------------------------------------------------------------

   For each kernel and variant a pointer of its own, defined without a value and then, where the variant has the kernel, with
   one: so a linker that drops unused sections keeps of all kernels those that a program calls. */

#define POINTER(of, name, parameters) static void(*const name##_##of) parameters
#define NONE(name, parameters, arguments)                                                                              \
    POINTER(amx, name, parameters);                                                                                    \
    POINTER(avx512, name, parameters);                                                                                 \
    POINTER(avx512bw, name, parameters);                                                                               \
    POINTER(avx2, name, parameters);                                                                                   \
    POINTER(neondot, name, parameters);                                                                                \
    POINTER(neon, name, parameters);                                                                                   \
    POINTER(portable, name, parameters);                                                                               \
    POINTER(choice, name, parameters);
BL_ALL_KERNELS(NONE)

#define OF_AMX(name, parameters, arguments) POINTER(amx, name, parameters) = bl_##name##_amx;
#define OF_AVX512(name, parameters, arguments) POINTER(avx512, name, parameters) = bl_##name##_avx512;
#define SHARED(name, parameters, arguments) POINTER(avx512, name, parameters) = bl_##name##_avx512bw;
#define OF_AVX512BW(name, parameters, arguments) POINTER(avx512bw, name, parameters) = bl_##name##_avx512bw;
#define OF_AVX2(name, parameters, arguments) POINTER(avx2, name, parameters) = bl_##name##_avx2;
#define OF_NEONDOT(name, parameters, arguments) POINTER(neondot, name, parameters) = bl_##name##_neondot;
#define OF_NEON(name, parameters, arguments) POINTER(neon, name, parameters) = bl_##name##_neon;
#define OF_PORTABLE(name, parameters, arguments) POINTER(portable, name, parameters) = bl_##name##_portable;
#define OF_CHOICE(name, parameters, arguments) POINTER(choice, name, parameters) = bl_##name##_choice;
BL_OF_AMX(OF_AMX)
BL_OF_AVX512(OF_AVX512, SHARED)
BL_OF_AVX512BW(OF_AVX512BW)
BL_OF_AVX2(OF_AVX2)
BL_OF_NEONDOT(OF_NEONDOT)
BL_OF_NEON(OF_NEON)
BL_OF_PORTABLE(OF_PORTABLE)
BL_OF_CHOICE(OF_CHOICE)

/* In the order of the variants. */
#define OWN(name)                                                                                                      \
    {                                                                                                                  \
        name##_amx, name##_avx512, name##_avx512bw, name##_avx2, name##_neondot, name##_neon, name##_portable,         \
            name##_choice                                                                                              \
    }

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

int bl_variant_implements(int variant, const char *kernel)
{
#define IMPLEMENTS(name, parameters, arguments)                                                                        \
    if (strcmp(kernel, #name) == 0) {                                                                                  \
        void(*const own[]) parameters = OWN(name);                                                                     \
        return own[variant] != NULL;                                                                                   \
    }
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

#if defined(_MSC_VER)
#include <intrin.h>
#define SEEN(flag) _InterlockedOr((volatile long *)&(flag), 0)
#define SHOW(flag, value) _InterlockedExchange((volatile long *)&(flag), value)
#define TAKE(flag) (_InterlockedExchange((volatile long *)&(flag), 1) == 0)
#else
#define SEEN(flag) __atomic_load_n(&(flag), __ATOMIC_ACQUIRE)
#define SHOW(flag, value) __atomic_store_n(&(flag), value, __ATOMIC_RELEASE)
#define TAKE(flag) (__atomic_exchange_n(&(flag), 1, __ATOMIC_ACQ_REL) == 0)
#endif

/* The variants that run here, as bits, and one more bit where they have been found out. Two threads that do this at the same
   time find the same. */
static int those_that_run(void)
{
    static int found;
    int now = (int)SEEN(found);
    if (now)
        return now;
    for (int variant = 0; variant < BL_CHOICE; variant++)
        if (bl_variant_missing(variant, 0) == NULL && bl_variant_refused(variant) == NULL)
            now |= 1 << variant;
    now |= 1 << (BL_CHOICE + 1);
    SHOW(found, now);
    return now;
}

int bl_best_variant(void)
{
    const int running = those_that_run();
    int variant = 0;
    if (running & 1)
        return BL_CHOICE;
    while (!(running >> variant & 1))
        variant++;
    return variant;
}

/* Whose kernel runs, with the variants that have it as bits: the variant's own, or the next one's that runs. */
static int next_of(int variant, int having)
{
    if (having >> variant & 1)
        return variant;
    having &= those_that_run();
    for (int next = variant == BL_CHOICE ? 0 : variant + 1; next < BL_CHOICE; next++)
        if (having >> next & 1)
            return next;
    return variant;
}

#define HAS(own, variant) (own[variant] ? 1 << variant : 0)
#define HAVING(own)                                                                                                    \
    (HAS(own, 0) | HAS(own, 1) | HAS(own, 2) | HAS(own, 3) | HAS(own, 4) | HAS(own, 5) | HAS(own, 6) | HAS(own, 7))

#define DISPATCH(name, parameters, arguments)                                                                          \
    void bl_##name(int variant, BL_UNWRAP parameters)                                                                  \
    {                                                                                                                  \
        void(*const own[]) parameters = OWN(name);                                                                     \
        own[next_of(variant, HAVING(own))] arguments;                                                                  \
    }
BL_ALL_KERNELS(DISPATCH)

#define FILL(name, parameters, arguments)                                                                              \
    {                                                                                                                  \
        void(*const own[]) parameters = OWN(name);                                                                     \
        for (int each = 0; each <= BL_CHOICE; each++)                                                                  \
            filled[each].name = own[next_of(each, HAVING(own))];                                                       \
    }

const bl_kernels *bl_kernels_of(int variant)
{
    static bl_kernels filled[BL_CHOICE + 1];
    static int taken, are_filled;
    if (!SEEN(are_filled)) {
        if (TAKE(taken)) {
            BL_ALL_KERNELS(FILL)
            SHOW(are_filled, 1);
        }
        while (!SEEN(are_filled)) {
            /* Another thread is at it, for some microseconds. */
        }
    }
    return filled + variant;
}
