/* Which instruction sets this processor has and its operating system has switched on, asked at run time. */
#include "variants.h"

#if defined(BL_X86_64) && defined(_MSC_VER)

#include <intrin.h>

static unsigned bit(int word, int position, unsigned feature)
{
    return (unsigned)word >> position & 1 ? feature : 0;
}

unsigned bl_cpu_features(void)
{
    int leaf[4];
    __cpuid(leaf, 0);
    if (leaf[0] < 7)
        return 0;
    __cpuid(leaf, 1);
    /* Without OSXSAVE the register that says which vector state is saved cannot be read. */
    if (!(leaf[2] >> 27 & 1))
        return 0;
    unsigned long long state = _xgetbv(0);
    unsigned features = 0;
    __cpuidex(leaf, 7, 0);
    if ((state & 0x06) == 0x06)
        features |= bit(leaf[1], 5, BL_AVX2);
    if ((state & 0xe6) == 0xe6)
        features |= bit(leaf[1], 16, BL_AVX512F) | bit(leaf[1], 30, BL_AVX512BW) | bit(leaf[1], 31, BL_AVX512VL) |
                    bit(leaf[1], 17, BL_AVX512DQ) | bit(leaf[2], 14, BL_AVX512VPOPCNTDQ) |
                    bit(leaf[2], 11, BL_AVX512VNNI) | bit(leaf[2], 1, BL_AVX512VBMI) | bit(leaf[2], 8, BL_GFNI);
    if ((state & 0x600e6) == 0x600e6)
        features |= bit(leaf[3], 24, BL_AMX_TILE) | bit(leaf[3], 25, BL_AMX_INT8);
    return features;
}

#elif defined(BL_X86_64)

#include <cpuid.h>

/* Not every compiler's list of names has the tiles. Their state, like the vectors', is saved where the system sets bits
   of a register, which can be read with OSXSAVE. */
static unsigned tile_features(void)
{
    unsigned a, b, c, d, state, upper;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1))
        return 0;
    __asm__("xgetbv" : "=a"(state), "=d"(upper) : "c"(0));
    if ((state & 0x60000) != 0x60000 || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    return (d >> 24 & 1 ? BL_AMX_TILE : 0) | (d >> 25 & 1 ? BL_AMX_INT8 : 0);
}

unsigned bl_cpu_features(void)
{
    unsigned features = 0;
    __builtin_cpu_init();
    features |= __builtin_cpu_supports("avx2") ? BL_AVX2 : 0;
    features |= __builtin_cpu_supports("avx512f") ? BL_AVX512F : 0;
    features |= __builtin_cpu_supports("avx512bw") ? BL_AVX512BW : 0;
    features |= __builtin_cpu_supports("avx512vl") ? BL_AVX512VL : 0;
    features |= __builtin_cpu_supports("avx512dq") ? BL_AVX512DQ : 0;
    features |= __builtin_cpu_supports("avx512vpopcntdq") ? BL_AVX512VPOPCNTDQ : 0;
    features |= __builtin_cpu_supports("avx512vnni") ? BL_AVX512VNNI : 0;
    features |= __builtin_cpu_supports("avx512vbmi") ? BL_AVX512VBMI : 0;
    features |= __builtin_cpu_supports("gfni") ? BL_GFNI : 0;
    return features | tile_features();
}

#elif defined(BL_AARCH64)

#if defined(__linux__)
#include <sys/auxv.h>
/* HWCAP_ASIMDDP, which older headers lack. */
static int has_dot_products(void) { return getauxval(AT_HWCAP) >> 20 & 1; }
#elif defined(__APPLE__)
#include <sys/sysctl.h>
static int has_dot_products(void)
{
    int found = 0;
    size_t size = sizeof found;
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &found, &size, NULL, 0) == 0 && found;
}
#elif defined(_WIN32)
#include <windows.h>
/* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE */
static int has_dot_products(void) { return IsProcessorFeaturePresent(43); }
#else
static int has_dot_products(void) { return 0; }
#endif

/* Advanced SIMD itself is part of AArch64: there is nothing to ask. */
unsigned bl_cpu_features(void) { return BL_NEON | (has_dot_products() ? BL_DOTPROD : 0); }

#else

unsigned bl_cpu_features(void) { return 0; }

#endif
