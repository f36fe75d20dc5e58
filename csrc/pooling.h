/* Max pooling: passes over windows. Included behind a variant's lanes.h, whose names (lanes.h lists them) it takes. */

/* Whether tap t of window (r, s) is cut off: it lies below the image, or on its right. */
static inline int outside(const bl_pool2d *shape, intptr_t r, intptr_t s, intptr_t t)
{
    return r * shape->stride + t / shape->window >= shape->height || s * shape->stride + t % shape->window >= shape->width;
}

/* The bits of floats as integers of the same order, and back: those of a negative one are turned over. */
BL_VARIANT_TARGET BL_INLINE void turn(int32_t v[LANES])
{
    for (int c = 0; c < LANES; c++)
        v[c] ^= (v[c] >> 31) & 0x7fffffff;
}

BL_VARIANT_TARGET BL_INLINE void load_ordered(const void *x, int x_type, intptr_t at, intptr_t width, int32_t v[LANES])
{
    load(x, bits_type(x_type), at, width, v);
    if (x_type == BL_FLOAT32) {
        float real[LANES];
        memcpy(real, v, sizeof real);
        for (int c = 0; c < LANES; c++)
            real[c] += 0.0f; /* -0 becomes +0 */
        memcpy(v, real, sizeof real);
        turn(v);
    }
}

/* The largest values of the windows, or the bits of the first place that holds each; the other is NULL. */
BL_VARIANT_TARGET BL_INLINE void pool(const void *x, int x_type, const bl_pool2d *shape, void *out, uint64_t *places)
{
    intptr_t channels = shape->channels, words = bl_words(channels), row = shape->width * channels;
    intptr_t positions = shape->out_height * shape->out_width;
    for (intptr_t p = 0; p < shape->batch * positions; p++) {
        intptr_t b = p / positions, r = p % positions / shape->out_width, s = p % shape->out_width;
        intptr_t corner = (b * shape->height + r * shape->stride) * row + s * shape->stride * channels;
        EACH_BLOCK(channels)
        {
            int32_t best[LANES], v[LANES];
            uint64_t place[BL_POOL_PLANES] = {0};
            load_ordered(x, x_type, corner + j, width, best);
            for (intptr_t t = 1; t < shape->window * shape->window; t++) {
                if (outside(shape, r, s, t))
                    continue;
                const intptr_t at = corner + t / shape->window * row + t % shape->window * channels + j;
                load_ordered(x, x_type, at, width, v);
                if (places) {
                    uint64_t larger = ~reached(best, v);
                    for (int bit = 0; bit < shape->planes; bit++)
                        place[bit] = t >> bit & 1 ? place[bit] | larger : place[bit] & ~larger;
                }
                for (int c = 0; c < LANES; c++)
                    best[c] = best[c] > v[c] ? best[c] : v[c];
            }
            if (out) {
                if (x_type == BL_FLOAT32)
                    turn(best);
                store(out, bits_type(x_type), p * channels + j, width, best);
            } else
                for (int bit = 0; bit < shape->planes; bit++)
                    places[(p * shape->planes + bit) * words + j / 64] = place[bit];
        }
    }
}

BL_VARIANT_TARGET void BL_VARIANT(max_pool)(const void *x, int x_type, const bl_pool2d *shape, void *out)
{
    pool(x, x_type, shape, out, NULL);
}

BL_VARIANT_TARGET void BL_VARIANT(max_pool_places)(const void *x, int x_type, const bl_pool2d *shape, uint64_t *out)
{
    pool(x, x_type, shape, NULL, out);
}

BL_VARIANT_TARGET void BL_VARIANT(max_pool_gradient)(const void *d, int d_type, const uint64_t *places,
                                                     const bl_pool2d *shape, void *out, int out_type)
{
    intptr_t channels = shape->channels, words = bl_words(channels), row = shape->width * channels;
    intptr_t positions = shape->out_height * shape->out_width;
    intptr_t bytes = out_type == BL_INT8 ? 1 : out_type == BL_INT16 ? 2 : 4;
    memset(out, 0, (size_t)(shape->batch * shape->height * row * bytes));
    for (intptr_t p = 0; p < shape->batch * positions; p++) {
        intptr_t b = p / positions, r = p % positions / shape->out_width, s = p % shape->out_width;
        intptr_t corner = (b * shape->height + r * shape->stride) * row + s * shape->stride * channels;
        EACH_BLOCK(channels)
        {
            int32_t v[LANES], chosen[LANES], sum[LANES];
            /* A float that is kept or not is an integer to this pass, until windows overlap and add up. */
            load(d, bits_type(d_type), p * channels + j, width, v);
            for (intptr_t t = 0; t < shape->window * shape->window; t++) {
                if (outside(shape, r, s, t))
                    continue;
                uint64_t here = ~UINT64_C(0);
                for (int bit = 0; bit < shape->planes; bit++) {
                    uint64_t plane = places[(p * shape->planes + bit) * words + j / 64];
                    here &= t >> bit & 1 ? plane : ~plane;
                }
                intptr_t at = corner + t / shape->window * row + t % shape->window * channels + j;
                memcpy(chosen, v, sizeof v);
                keep(here, chosen);
                if (shape->stride < shape->window) {
                    load(out, bits_type(out_type), at, width, sum);
                    if (out_type == BL_FLOAT32) {
                        float a[LANES], c[LANES];
                        memcpy(a, sum, sizeof a);
                        memcpy(c, chosen, sizeof c);
                        for (int k = 0; k < LANES; k++)
                            a[k] += c[k];
                        memcpy(chosen, a, sizeof a);
                    } else
                        for (int k = 0; k < LANES; k++)
                            chosen[k] += sum[k];
                }
                store(out, bits_type(out_type), at, width, chosen);
            }
        }
    }
}
