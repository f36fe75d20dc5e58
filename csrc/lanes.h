/* 64 values of a row at a time, those of a word of bits: what the passes over arrays are made of.

   Plain loops over 64 values, which every compiler turns into vector code. What is made of these is written once, in
   channels.h, norms.h, norm_gradients.h, pooling.h and arrays.h, and compiled for each instruction set. It waits for memory
   more than for arithmetic. A variant's lanes.h, which includes this file, and with it stands before those five, defines
   before:

   BL_VARIANT(name)    bl_<name>_<variant>;
   BL_VARIANT_TARGET   the target attribute of its functions;
   BL_MASKED_LOADS     1 where its instructions load the lanes of a mask, else 0;
   reached             which lanes of a are >= those of b: uint64_t reached(const int32_t a[64], const int32_t b[64]);
   keep                zero the lanes whose bits are clear: void keep(uint64_t bits, int32_t v[64]);
   choose              take the lanes of one vector where the bits are set, of another where they are clear:
                       void choose(uint64_t bits, const float set[64], const float clear[64], float out[64]).

   Every operation on floats is one IEEE operation in the order that steps.h gives; nothing is contracted
   (-ffp-contract=off), so all variants give the same bits. */
#ifndef BL_LANES_H
#define BL_LANES_H

#define LANES 64

/* Numbers of channels [at, at + width) as int32, zeros behind them. The lanes of a full block are a constant; of others a
   compiler makes masked loads, or where the instructions have none, scalar code: there whole eights are told apart. */
BL_INLINE void load(const void *from, int type, intptr_t at, intptr_t width, int32_t v[LANES])
{
#define LOAD(ctype)                                                                                                    \
    do {                                                                                                               \
        const ctype *x = (const ctype *)from + at;                                                                     \
        if (width == LANES)                                                                                            \
            for (int c = 0; c < LANES; c++)                                                                            \
                v[c] = x[c];                                                                                           \
        else if (BL_MASKED_LOADS)                                                                                      \
            for (int c = 0; c < LANES; c++)                                                                            \
                v[c] = c < width ? x[c] : 0;                                                                           \
        else                                                                                                           \
            for (int eight = 0; eight < LANES; eight += 8)                                                             \
                if (eight + 8 <= width)                                                                                \
                    for (int c = eight; c < eight + 8; c++)                                                            \
                        v[c] = x[c];                                                                                   \
                else if (eight >= width)                                                                               \
                    for (int c = eight; c < eight + 8; c++)                                                            \
                        v[c] = 0;                                                                                      \
                else                                                                                                   \
                    for (int c = eight; c < eight + 8; c++)                                                            \
                        v[c] = c < width ? x[c] : 0;                                                                   \
    } while (0)
    if (type == BL_INT8)
        LOAD(int8_t);
    else if (type == BL_INT16)
        LOAD(int16_t);
    else
        LOAD(int32_t);
}

/* The width lowest values, whose type holds them. */
BL_INLINE void store(void *to, int type, intptr_t at, intptr_t width, const int32_t v[LANES])
{
#define STORE(ctype)                                                                                                   \
    do {                                                                                                               \
        ctype *x = (ctype *)to + at;                                                                                   \
        if (width == LANES)                                                                                            \
            for (int c = 0; c < LANES; c++)                                                                            \
                x[c] = (ctype)v[c];                                                                                    \
        else                                                                                                           \
            for (intptr_t c = 0; c < width; c++)                                                                       \
                x[c] = (ctype)v[c];                                                                                    \
    } while (0)
    if (type == BL_INT8)
        STORE(int8_t);
    else if (type == BL_INT16)
        STORE(int16_t);
    else
        STORE(int32_t);
}

/* A float that is kept or not is an integer of its bits to the passes that only move it. */
BL_INLINE int bits_type(int type) { return type == BL_FLOAT32 ? BL_INT32 : type; }

/* Factors of channels, or other floats, with zeros behind them. */
BL_INLINE void load_floats(const float *from, intptr_t at, intptr_t width, float v[LANES])
{
    for (int c = 0; c < LANES; c++)
        v[c] = c < width ? from[at + c] : 0;
}

/* Word `at` of a mask; one that is not there lets everything pass. */
BL_INLINE uint64_t mask_word(const uint64_t *mask, intptr_t at) { return mask ? mask[at] : ~UINT64_C(0); }

#define EACH_BLOCK(channels)                                                                                           \
    for (intptr_t j = 0, width; j < (channels) && (width = bl_min(LANES, (channels) - j)); j += LANES)

#endif
