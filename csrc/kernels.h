/* The C contract of bitlearn: every kernel, and the questions one may ask about its variants.

   Plain declarations only. The same text is compiled into every C file (after common.h, which brings the integer types)
   and given unchanged to cffi, so it holds no preprocessor line but `#define NAME number`.

   The packed format. Values are +1 and -1, one bit each, packed along the last axis into 64-bit words, least
   significant bit first: value j is bit j % 64 of word j / 64, and a set bit means +1. `n` counts values and `words` =
   ceil(n / 64) counts words; a row of n values is `words` words. Bits past the last value are zero in every input and
   every output.

   Every kernel is a loop. Arrays are C-contiguous but where strides are given, aligned for their element type and do not
   overlap `out`, which the caller provides. A kernel allocates nothing, keeps no state, validates nothing and cannot
   fail; it reads and writes nothing outside its arrays, but for scratch of a fixed size: on its stack (256 KiB at most), or
   of its thread: from its first product on tiles or, with AVX-512, gradient by tables to its end a thread keeps so much of
   the heap (bl_tiles_scratch() bytes, and BL_TABLES_SCRATCH), so a signal's handler may not call these; where there is no room,
   another form or variant runs. Any size may be zero.
   Different threads may run kernels at the same time.

   `variant` is the index of an implementation, best first, 0 <= variant < bl_variant_count(), or BL_CHOICE for the kernels
   that choose between the first two by the sizes of their product. The caller first asks bl_variant_missing and
   bl_variant_refused (must be NULL). A kernel that a variant does not have itself (bl_variant_implements) is that of the
   next one that runs here. All variants give the same bits, except that sums of float32 gradients agree to rounding
   only. */

/* Element types of a `void *` argument, named by the int argument beside it. */
#define BL_INT8 0
#define BL_INT16 1
#define BL_INT32 2
#define BL_INT64 3
#define BL_FLOAT32 4
#define BL_FLOAT64 5
#define BL_UINT8 6
#define BL_UINT16 7
#define BL_UINT32 8
#define BL_UINT64 9
#define BL_FLOAT16 10

/* --- The variants ----------------------------------------------------------------------------------------------- */

int bl_variant_count(void);

/* The index of what is no variant, but chooses between the first two. */
#define BL_CHOICE 7

/* "amx", "avx512", "avx512bw", "avx2", "neondot", "neon", "portable". */
const char *bl_variant_name(int variant);

/* The i-th feature that the variant needs and this processor (or its operating system) lacks; NULL past the last. */
const char *bl_variant_missing(int variant, int i);

/* Why the variant cannot run where nothing is missing, as a sentence: a permission that the system refuses, say. NULL
   where nothing refuses it. */
const char *bl_variant_refused(int variant);

/* The best of what runs on this processor: BL_CHOICE where it has tiles. */
int bl_best_variant(void);

/* The names of a kernel's arguments after `variant`, as it is declared here: "(words, m, n, out)". NULL where there is no
   kernel of that name. */
const char *bl_kernel_arguments(const char *kernel);

/* 1 where the variant has its own version of the kernel ("pack", "xnor_matmul"...), else 0. */
int bl_variant_implements(int variant, const char *kernel);

/* Whether a kernel that chooses takes the first variant, tiles, for a product of so many rows, columns and terms: m, k and n
   as for the kernel, of a convolution its pixels, its kernels and the values of a window. `type` is that of the left
   operand: BL_UINT64 for bits, else the gradient's. 1, 0, or -1 where it does not choose. */
int bl_tiles_pay(const char *kernel, int type, int64_t m, int64_t k, int64_t n);

/* The bytes that a thread keeps on the heap from its first product on tiles on; 0 in a build without them. */
intptr_t bl_tiles_scratch(void);

/* The bytes that it keeps from its first gradient by tables on, which the variants with AVX-512 VNNI have. */
#define BL_TABLES_SCRATCH 983040

/* The compiler and its version. */
const char *bl_compiler(void);

/* The flags that it was given for every C file. */
const char *bl_compiler_flags(void);

/* --- The limits of the processor -------------------------------------------------------------------------------- */

/* Bits that one iteration of bl_probe_popcount compares and counts; cycles that one of bl_probe_cycles takes. */
#define BL_PROBE_BITS 8192
#define BL_PROBE_CYCLES 48

/* Run iterations of exclusive or, count and add in registers alone, with the instructions of a variant that runs here.
   The number of differing bits, the same for every variant; -1 where this build has no such loop for it. */
int64_t bl_probe_popcount(int variant, int64_t iterations);

/* Multiply-adds of one iteration of bl_probe_dot8. */
#define BL_PROBE_PRODUCTS 12288

/* Run iterations of dot products of int8 with bits in registers alone, with the instructions that grad_input has for
   them in a variant that runs here. The sum, BL_PROBE_PRODUCTS / 4 an iteration (iterations < 2^16); -1 where this build
   has no such loop for it. */
int64_t bl_probe_dot8(int variant, int64_t iterations);

/* Run iterations of a chain of instructions, each waiting for the one before; -1 where this build has no such loop. */
int64_t bl_probe_cycles(int64_t iterations);

/* --- The packed format ------------------------------------------------------------------------------------------ */

/* bit[o, i, j] = x[o, i, j] >= threshold; NaN on either side gives a clear bit, and -0.0 equals 0.0.
   x (outer, rows, n) of x_type, any of the eleven; its strides are the bytes from one index of an axis to the next, of
   any size and sign. threshold of x_type: n of them where `each` is not 0, else one for all. out (outer, rows, words).
   An array of bytes that are 0 or not has a BL_UINT8 threshold of 1. */
void bl_pack(int variant, const void *x, int x_type, intptr_t outer, intptr_t rows, int64_t n, intptr_t outer_stride,
             intptr_t row_stride, intptr_t value_stride, const void *threshold, int each, uint64_t *out);

/* out[i, j] = +1 where the bit is set, else -1. words (rows, ceil(n / 64)), out (rows, n) of out_type: BL_INT8 to
   BL_INT64 or BL_FLOAT16 to BL_FLOAT64. */
void bl_unpack(int variant, const uint64_t *words, intptr_t rows, int64_t n, void *out, int out_type);

/* out[o, i] = number of set bits of x[o, i, :]. x (outer, rows, words), with strides as for bl_pack; out (outer,
   rows). */
void bl_popcount(int variant, const uint64_t *x, intptr_t outer, intptr_t rows, intptr_t words, intptr_t outer_stride,
                 intptr_t row_stride, intptr_t word_stride, int64_t *out);

/* out bit [j, i] = words bit [i, j]. words (m, ceil(n / 64)), out (n, ceil(m / 64)). */
void bl_transpose_bits(int variant, const uint64_t *words, intptr_t m, int64_t n, uint64_t *out);

/* --- Products of bits with bits ---------------------------------------------------------------------------------
   The right operand of a product is b, k rows of `words` words: as they lie, or, where b_panels is not 0, in column
   panels. Those may be given a second time, recoded in the variant's own way, which is then what is read; else `recoded`
   is NULL, and so may scratch be. bl_product_form says which form is the fastest.

   What becomes of the sums is said by the type of the result. dot(i, j) = sum of a[i, :] * b[j, :] = n - 2 *
   popcount(a[i] ^ b[j]), since each differing pair counts -1, not +1; zero tails cancel in the xor. out (m, k) of
   out_type BL_INT16 (n <= 32767), BL_INT32 (n < 2^31) or BL_FLOAT32 (exact for n <= 2^24) holds dots, or where
   `mismatches` is not 0 the counts alone; out (m, ceil(k / 64)) of BL_UINT64 holds bits, dot(i, j) >= threshold[j], with
   no integer matrix in between. threshold (k), or NULL. */

/* Column panels: the rows of b laid out so that a kernel's lanes are columns of the product. Rows are cut into groups of
   32; a group is stored word by word, for each word its columns side by side. The last group is as wide as it has
   columns, rounded up to 8, the rest zero: in all, words * (k rounded up to 8) words. b (k, words). */
void bl_pack_panels(int variant, const uint64_t *b, intptr_t k, intptr_t words, uint64_t *out);

/* Panels recoded, two bits a value: bl_quads_bytes(k, words) bytes. Only for a variant that implements it, and at most
   BL_QUADS_WORDS words. */
#define BL_QUADS_WORDS 1023
intptr_t bl_quads_bytes(intptr_t k, intptr_t words);
void bl_recode_panels(int variant, const uint64_t *panels, intptr_t k, intptr_t words, uint8_t *out);

/* a (m, words). With recoded columns scratch has bl_quads_scratch(m, words) bytes, at most 96 KiB, or what 16 rows take
   where that is more. */
intptr_t bl_quads_scratch(intptr_t m, intptr_t words);
void bl_xnor_matmul(int variant, const uint64_t *a, const uint64_t *b, int b_panels, const uint8_t *recoded, intptr_t m,
                    intptr_t k, intptr_t words, int64_t n, int mismatches, const int32_t *threshold, void *out,
                    int out_type, uint8_t *scratch);

/* --- Nearest rows ----------------------------------------------------------------------------------------------- */

/* For each row of a the `count` rows of b that differ in the fewest values, nearest first and of equally near ones the
   one with the lower index first: their indices, and in how many values they differ. Where b has fewer rows, the rest is
   -1 and INT32_MAX. a (m, words), b (k, words), n < 2^31; indices and distances (m, count). */
void bl_nearest(int variant, const uint64_t *a, const uint64_t *b, intptr_t m, intptr_t k, intptr_t words, int64_t n,
                intptr_t count, int64_t *indices, int32_t *distances);

/* --- Products of few-bit integers with bits ---------------------------------------------------------------------
   An integer of `bits` bits, 1 <= bits <= 8, is so many bit planes: of two's complement, -2^(bits-1) to 2^(bits-1) - 1,
   lowest plane first; or +1 and -1 where bits is 1, as in the packed format. With the planes b_p of v, weights c_p = 2^p
   (the last one -2^(bits-1), so that they add up to -1) and d_p = popcount(b_p ^ w), the sum of v * w is
   -popcount(w) - sum of c_p * d_p. */

/* The planes of the rows of g: bit[i, p, j] = bit p of g[i, j]; outside[i] = 1 where row i holds a value of more bits,
   whose planes are its lowest bits. g (m, k), out (m, bits, ceil(k / 64)), outside (m). */
void bl_split_planes(int variant, const int8_t *g, intptr_t m, intptr_t k, int bits, uint64_t *out, uint8_t *outside);

/* The planes of k columns of g from the first on: bit[o, p, i] = bit p of g[i, first + o]. g (m, channels),
   out (k, bits, ceil(m / 64)), outside (k). */
void bl_split_columns(int variant, const int8_t *g, intptr_t m, intptr_t channels, intptr_t first, intptr_t k, int bits,
                      uint64_t *out, uint8_t *outside);

/* out[i, j] = sum over t < n of v[i, t] * b[j, t], added to out where accumulate is not 0, with the planes of v and b in
   panels. planes (m, bits, words), out (m, k); n < 2^24. Where the panels are recoded too, scratch has
   bl_planes_scratch(m, bits, words) bytes, with the limit of bl_quads_scratch. */
intptr_t bl_planes_scratch(intptr_t m, int bits, intptr_t words);
void bl_planes_matmul(int variant, const uint64_t *planes, int bits, const uint64_t *panels, const uint8_t *recoded,
                      intptr_t m, intptr_t k, intptr_t words, int64_t n, int accumulate, int32_t *out, uint8_t *scratch);

/* The sizes of a two-dimensional convolution, images NHWC. Output position (r, c) sees through tap (i, j) the input
   position (r * stride_height + i - padding_top, c * stride_width + j - padding_left); outside the image it counts pad_value
   (0, +1 or -1) in each of the n channels. The padding at the bottom and on the right follows from out_height and
   out_width; a window may lie wholly outside. `words` = ceil(n / 64). */
typedef struct {
    intptr_t batch, height, width, words;
    intptr_t out_height, out_width, out_channels;
    intptr_t kernel_height, kernel_width;
    intptr_t stride_height, stride_width;
    intptr_t padding_top, padding_left;
    int64_t n;
    int pad_value;
} bl_conv2d;

/* The windows of output pixels [first, first + count), numbered line by line and image after image, of images of integers
   in bit planes; integers outside an image are 0. planes (batch, height, width, bits, words), out (count, bits,
   kernel_height * kernel_width * words). Neither out_channels nor pad_value is used. */
void bl_plane_windows(int variant, const uint64_t *planes, int bits, const bl_conv2d *shape, intptr_t first,
                      intptr_t count, uint64_t *out);

/* The product whose rows are the windows of images, with kernels as rows of b: out[b, r, c, o] = sum over taps and
   channels of x[b, position(r, i), position(c, j), :] * w[o, i, j, :], or its sign, as xnor_matmul has them.
   x (batch, height, width, words), w (out_channels, kernel_height * kernel_width * words), out (batch, out_height,
   out_width, out_channels) or its bits. With t taps inside the image a sum is n * t - 2 * (number of differing values),
   so the limits of xnor_matmul hold for n * kernel_height * kernel_width. Panels take windows of at most BL_PANEL_WINDOW
   words; with recoded ones, of at most BL_QUADS_WORDS, scratch has bl_quads_scratch(BL_QUADS_PIXELS, words of a window)
   bytes. */
#define BL_PANEL_WINDOW 4096
#define BL_QUADS_PIXELS 48
void bl_xnor_conv2d(int variant, const uint64_t *x, const uint64_t *w, int w_panels, const uint8_t *recoded,
                    const bl_conv2d *shape, const int32_t *threshold, void *out, int out_type, uint8_t *scratch);

/* --- Products of gradients with bits ----------------------------------------------------------------------------
   All six sum gradients with the signs of bits: sum of g[t] * s[t], s = +1 or -1. g_type names the type of the gradient
   and so that of the result: BL_INT8 gives int32 (exact below 2^24 terms), BL_INT16 gives int64 (exact), BL_FLOAT32
   gives float32 (to rounding, in no promised order). Integers use sum of g * s = 2 * (sum of g where the bit is set) -
   sum of g; floats add +g or -g, because the doubled sum would lose bits. The _sign kernels reduce each block of sums
   to bits at once and never form the matrix; their threshold is int64, or float32 for a float32 gradient. */

/* out[i, j] = sum over t of g[i, t] * w[t, j]. g (m, k), w (k, words), out (m, n). */
void bl_grad_input(int variant, const void *g, int g_type, const uint64_t *w, intptr_t m, intptr_t k, int64_t n,
                   void *out);

/* out[o, j] = sum over i of g[i, first + o] * x[i, j], o < k: k columns of the gradient, which lies as it does for
   grad_input. Added to out where accumulate is not 0. g (m, channels), x (m, words), out (k, n). */
void bl_grad_weight(int variant, const void *g, int g_type, const uint64_t *x, intptr_t m, intptr_t channels, int64_t n,
                    intptr_t first, intptr_t k, int accumulate, void *out);

/* bit[o, j] = (sum over i of g[i, first + o] * x[i, j] >= threshold[o]) and mask[o, j].
   threshold (k), mask and out (k, words). */
void bl_grad_weight_sign(int variant, const void *g, int g_type, const uint64_t *x, intptr_t m, intptr_t channels,
                         int64_t n, intptr_t first, intptr_t k, const void *threshold, const uint64_t *mask,
                         uint64_t *out);

/* The gradient of xnor_conv2d with respect to x; pad_value is not used, for a padded position has no gradient.
   g (batch, out_height, out_width, out_channels), w as there, out (batch, height, width, n). */
void bl_conv2d_grad_input(int variant, const void *g, int g_type, const uint64_t *w, const bl_conv2d *shape,
                          void *out);

/* The gradient of xnor_conv2d with respect to w, of its kernels [first, first + k), added to out where accumulate is not
   0. g as for conv2d_grad_input, x as there, out (k, kernel_height, kernel_width, n). */
void bl_conv2d_grad_weight(int variant, const void *g, int g_type, const uint64_t *x, const bl_conv2d *shape,
                           intptr_t first, intptr_t k, int accumulate, void *out);

/* bit = (that gradient >= threshold[o]) and mask. threshold (k), mask and out (k, kernel_height, kernel_width,
   words). */
void bl_conv2d_grad_weight_sign(int variant, const void *g, int g_type, const uint64_t *x, const bl_conv2d *shape,
                                intptr_t first, intptr_t k, const void *threshold, const uint64_t *mask,
                                uint64_t *out);

/* --- First-layer codes ------------------------------------------------------------------------------------------
   int8 values, which are no bits, in the place of packed inputs. */

/* out[o, j] = sum over i of g[i, first + o] * codes[i, j], o < k, added to out where accumulate is not 0.
   g (m, channels), BL_INT8 or BL_INT16; codes (m, n); out (k, n), BL_INT64, or BL_INT32 where all sums fit it: those of
   an int8 gradient of fewer than 2^17 rows do. */
void bl_codes_grad_weight(int variant, const void *g, int g_type, const int8_t *codes, intptr_t m, intptr_t channels,
                          int64_t n, intptr_t first, intptr_t k, int accumulate, void *out, int out_type);

/* out[b, r, c, i, j, :] = x[b, position(r, i), position(c, j), :], the windows of a convolution, 0 outside an image.
   x (batch, height, width, n); words, out_channels and pad_value are not used. */
void bl_unfold_codes(int variant, const int8_t *x, const bl_conv2d *shape, int8_t *out);

/* --- Quantization -----------------------------------------------------------------------------------------------
   x lies as (outer, channels, inner), one scale a channel: (1, 1, size) where a tensor has one. */

/* out[c] = max |x[:, c, :]|, 0 of nothing. x_type BL_FLOAT32 and BL_FLOAT64 (out of the same type; NaN where x holds
   one), BL_INT8 to BL_INT64 (out unsigned, of the same width), or BL_UINT16 for the bits of float16 (out too). */
void bl_largest_magnitude(int variant, const void *x, int x_type, intptr_t outer, intptr_t channels, intptr_t inner,
                          void *out);

/* out[o, c, i] = clip(round(x[o, c, i] / scale[c]) + zero_point[c], low, high). x_type: BL_FLOAT32 with scale
   (channels) float32, or BL_FLOAT64 or BL_INT8 to BL_INT64 with scale float64; quotients are in scale's type. zero_point
   (channels). noise NULL: to nearest, ties to even, in the default rounding mode; else noise (channels, outer, inner)
   and round(v) = floor(v + noise / 2^32). out of out_type BL_INT8 or BL_INT16; low and high fit it, and
   low - zero_point and high - zero_point lie within 2^21. No x is NaN. */
void bl_quantize_linear(int variant, const void *x, int x_type, const void *scale, const int64_t *zero_point,
                        intptr_t outer, intptr_t channels, intptr_t inner, int32_t low, int32_t high,
                        const uint32_t *noise, void *out, int out_type);

/* out[i, j] = word start + i * stride + j of a stream of random bits (Philox4x32-10). key: the low and the high half of
   the seed, the step, the stream. out (rows, n). */
void bl_random_words(int variant, const uint32_t *key, int64_t start, int64_t stride, intptr_t rows, intptr_t n,
                     uint32_t *out);
