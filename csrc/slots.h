/* A call's arguments as a row of 8-byte slots, and the typed call that is made of them.

   The lists of variants.h describe a kernel as X(name, (parameters), (arguments)). From the parameters the preprocessor
   makes a struct whose members each begin a slot, so that the row of slots and the struct are the same memory:

       X(copy, (const void *x, int x_type), (x, x_type))
       typedef struct { _Alignas(8) const void *x; _Alignas(8) int x_type; } slots_of_copy;

   and from the arguments the call: kernels->copy(s.x, s.x_type). An integer or a float of four bytes is in the lower
   half of its slot, which is where its member lies on a little-endian processor.

   BL_FOR_EACH(F, SEPARATOR, a, b, c) is F(a) SEPARATOR() F(b) SEPARATOR() F(c): BL_EACH_3 does the first and leaves
   the others to BL_EACH_2. Which one begins is found by counting: the arguments push the list of BL_EACH_... to the
   right, and what comes to lie in the place behind the 24th is the one for their number. */
#ifndef BL_SLOTS_H
#define BL_SLOTS_H

#include "variants.h"


#define BL_EACH_1(F, S, x) F(x)
#define BL_EACH_2(F, S, x, ...) F(x) S() BL_EACH_1(F, S, __VA_ARGS__)
#define BL_EACH_3(F, S, x, ...) F(x) S() BL_EACH_2(F, S, __VA_ARGS__)
#define BL_EACH_4(F, S, x, ...) F(x) S() BL_EACH_3(F, S, __VA_ARGS__)
#define BL_EACH_5(F, S, x, ...) F(x) S() BL_EACH_4(F, S, __VA_ARGS__)
#define BL_EACH_6(F, S, x, ...) F(x) S() BL_EACH_5(F, S, __VA_ARGS__)
#define BL_EACH_7(F, S, x, ...) F(x) S() BL_EACH_6(F, S, __VA_ARGS__)
#define BL_EACH_8(F, S, x, ...) F(x) S() BL_EACH_7(F, S, __VA_ARGS__)
#define BL_EACH_9(F, S, x, ...) F(x) S() BL_EACH_8(F, S, __VA_ARGS__)
#define BL_EACH_10(F, S, x, ...) F(x) S() BL_EACH_9(F, S, __VA_ARGS__)
#define BL_EACH_11(F, S, x, ...) F(x) S() BL_EACH_10(F, S, __VA_ARGS__)
#define BL_EACH_12(F, S, x, ...) F(x) S() BL_EACH_11(F, S, __VA_ARGS__)
#define BL_EACH_13(F, S, x, ...) F(x) S() BL_EACH_12(F, S, __VA_ARGS__)
#define BL_EACH_14(F, S, x, ...) F(x) S() BL_EACH_13(F, S, __VA_ARGS__)
#define BL_EACH_15(F, S, x, ...) F(x) S() BL_EACH_14(F, S, __VA_ARGS__)
#define BL_EACH_16(F, S, x, ...) F(x) S() BL_EACH_15(F, S, __VA_ARGS__)
#define BL_EACH_17(F, S, x, ...) F(x) S() BL_EACH_16(F, S, __VA_ARGS__)
#define BL_EACH_18(F, S, x, ...) F(x) S() BL_EACH_17(F, S, __VA_ARGS__)
#define BL_EACH_19(F, S, x, ...) F(x) S() BL_EACH_18(F, S, __VA_ARGS__)
#define BL_EACH_20(F, S, x, ...) F(x) S() BL_EACH_19(F, S, __VA_ARGS__)
#define BL_EACH_21(F, S, x, ...) F(x) S() BL_EACH_20(F, S, __VA_ARGS__)
#define BL_EACH_22(F, S, x, ...) F(x) S() BL_EACH_21(F, S, __VA_ARGS__)
#define BL_EACH_23(F, S, x, ...) F(x) S() BL_EACH_22(F, S, __VA_ARGS__)
#define BL_EACH_24(F, S, x, ...) F(x) S() BL_EACH_23(F, S, __VA_ARGS__)

#define BL_25TH(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, _17, _18, _19, _20, _21, _22,   \
                _23, _24, it, ...)                                                                                     \
    it
#define BL_FOR_EACH(F, SEPARATOR, ...)                                                                                 \
    BL_25TH(__VA_ARGS__, BL_EACH_24, BL_EACH_23, BL_EACH_22, BL_EACH_21, BL_EACH_20, BL_EACH_19, BL_EACH_18,           \
            BL_EACH_17, BL_EACH_16, BL_EACH_15, BL_EACH_14, BL_EACH_13, BL_EACH_12, BL_EACH_11, BL_EACH_10, BL_EACH_9, \
            BL_EACH_8, BL_EACH_7, BL_EACH_6, BL_EACH_5, BL_EACH_4, BL_EACH_3, BL_EACH_2, BL_EACH_1, none)              \
    (F, SEPARATOR, __VA_ARGS__)

#define BL_SEMICOLON() ;
#define BL_COMMA() ,
#define BL_PLUS() +
#define BL_SLOT(parameter) _Alignas(8) parameter
#define BL_SLOT_OF_S(argument) s.argument
#define BL_ONE(argument) 1

/* The struct of a kernel's slots, and call_<kernel>, which calls it with them. The copy keeps the slots from being read
   as other types than they were written as; the compiler leaves it out. */
#define BL_CALLER(name, parameters, arguments)                                                                         \
    typedef struct {                                                                                                   \
        BL_FOR_EACH(BL_SLOT, BL_SEMICOLON, BL_UNWRAP parameters);                                                      \
    } slots_of_##name;                                                                                                 \
    _Static_assert(sizeof(slots_of_##name) == 8 * (BL_FOR_EACH(BL_ONE, BL_PLUS, BL_UNWRAP arguments)),                 \
                   "a member a slot");                                                                                 \
    static void call_##name(const bl_kernels *kernels, const uint64_t *slots)                                          \
    {                                                                                                                  \
        slots_of_##name s;                                                                                             \
        memcpy(&s, slots, sizeof s);                                                                                   \
        kernels->name(BL_FOR_EACH(BL_SLOT_OF_S, BL_COMMA, BL_UNWRAP arguments));                                       \
    }

#endif
