/* Products of bits with bits, of integers with bits, and what changes their layout. */

// @ xnor_matmul(out) m=a.0 k=b.0 words=a.1
/* out[i, j] = the sum of a[i] * b[j]: n less twice the number of differing bits. */
static void xnor_matmul_$out(const u64 *a, const u64 *b, i32 m, i32 k, i32 words, i32 n, $out *out)
{
    for (i32 start = 0; start < m; start += BLOCK_ROWS)
        for (i32 j = 0; j < k; j++)
            for (i32 i = start; i < m && i < start + BLOCK_ROWS; i++)
                out[i * k + j] = ($out)(n - 2 * differing(a + i * words, b + j * words, words));
}

// @ xnor_matmul_sign m=a.0 k=b.0 words=a.1
/* Bits: that sum >= threshold[j]. */
static void xnor_matmul_sign(const u64 *a, const u64 *b, i32 m, i32 k, i32 words, i32 n, const i32 *threshold, u64 *out)
{
    const i32 out_words = words_of(k);
    memset(out, 0, (size_t)m * (size_t)out_words * sizeof *out);
    for (i32 start = 0; start < m; start += BLOCK_ROWS)
        for (i32 j = 0; j < k; j++)
            for (i32 i = start; i < m && i < start + BLOCK_ROWS; i++)
                if (n - 2 * differing(a + i * words, b + j * words, words) >= threshold[j])
                    out[i * out_words + j / 64] |= (u64)1 << j % 64;
}

// @ window_sum
/* Sizes of a convolution. */
typedef struct {
    i32 height, width, words, kernel_height, kernel_width, n, pad;
} window_sizes;

/* The sum of a kernel over the window whose first pixel is (top, left); what lies outside the image counts pad in each
   channel. */
static i32 window_sum(const u64 *x, const u64 *w, const window_sizes *s, i32 top, i32 left)
{
    i32 total = 0;
    for (i32 i = 0; i < s->kernel_height; i++)
        for (i32 j = 0; j < s->kernel_width; j++, w += s->words) {
            const i32 row = top + i, column = left + j;
            if (row >= 0 && row < s->height && column >= 0 && column < s->width) {
                total += s->n - 2 * differing(x + (row * s->width + column) * s->words, w, s->words);
            } else if (s->pad) {
                i32 set = 0;
                for (i32 t = 0; t < s->words; t++)
                    set += popcount64(w[t]);
                total += s->pad * (2 * set - s->n);
            }
        }
    return total;
}

// @ xnor_conv2d(out) batch=x.0 height=x.1 width=x.2 words=x.3 kh=kernel.0 kw=kernel.1 sh=stride.0 sw=stride.1 top=padding.0 left=padding.1 out_height=out.1 out_width=out.2 filters=out.3
/* The product whose rows are the windows of images, NHWC, with kernels as rows of w. */
static void xnor_conv2d_$out(const u64 *x, const u64 *w, i32 batch, i32 height, i32 width, i32 words, i32 kh, i32 kw,
                             i32 sh, i32 sw, i32 top, i32 left, i32 n, i32 pad_value, i32 out_height, i32 out_width,
                             i32 filters, $out *out)
{
    const window_sizes sizes = {height, width, words, kh, kw, n, pad_value};
    for (i32 b = 0; b < batch; b++, x += height * width * words)
        for (i32 r = 0; r < out_height; r++, out += out_width * filters)
            for (i32 start = 0; start < out_width; start += BLOCK_ROWS)
                for (i32 o = 0; o < filters; o++)
                    for (i32 c = start; c < out_width && c < start + BLOCK_ROWS; c++)
                        out[c * filters + o] =
                            ($out)window_sum(x, w + o * kh * kw * words, &sizes, r * sh - top, c * sw - left);
}

// @ xnor_conv2d_sign batch=x.0 height=x.1 width=x.2 words=x.3 kh=kernel.0 kw=kernel.1 sh=stride.0 sw=stride.1 top=padding.0 left=padding.1 out_height=out.1 out_width=out.2 filters=threshold.0
/* Bits: those sums >= threshold[o]. */
static void xnor_conv2d_sign(const u64 *x, const u64 *w, i32 batch, i32 height, i32 width, i32 words, i32 kh, i32 kw,
                             i32 sh, i32 sw, i32 top, i32 left, i32 n, i32 pad_value, i32 out_height, i32 out_width,
                             i32 filters, const i32 *threshold, u64 *out)
{
    const window_sizes sizes = {height, width, words, kh, kw, n, pad_value};
    const i32 out_words = words_of(filters);
    for (i32 b = 0; b < batch; b++, x += height * width * words)
        for (i32 r = 0; r < out_height; r++, out += out_width * out_words) {
            memset(out, 0, (size_t)out_width * (size_t)out_words * sizeof *out);
            for (i32 start = 0; start < out_width; start += BLOCK_ROWS)
                for (i32 o = 0; o < filters; o++)
                    for (i32 c = start; c < out_width && c < start + BLOCK_ROWS; c++)
                        if (window_sum(x, w + o * kh * kw * words, &sizes, r * sh - top, c * sw - left) >= threshold[o])
                            out[c * out_words + o / 64] |= (u64)1 << o % 64;
        }
}

// @ unfold_codes batch=out.0 out_height=out.1 out_width=out.2 kh=out.3 kw=out.4 n=out.5 height=x.1 width=x.2 sh=stride.0 sw=stride.1 top=padding.0 left=padding.1
/* The windows of images of codes, 0 outside. */
static void unfold_codes(const i8 *x, i32 batch, i32 height, i32 width, i32 n, i32 out_height, i32 out_width, i32 kh,
                         i32 kw, i32 sh, i32 sw, i32 top, i32 left, i8 *out)
{
    for (i32 b = 0; b < batch; b++, x += height * width * n)
        for (i32 r = 0; r < out_height; r++)
            for (i32 c = 0; c < out_width; c++)
                for (i32 i = 0; i < kh; i++)
                    for (i32 j = 0; j < kw; j++, out += n) {
                        const i32 row = r * sh + i - top, column = c * sw + j - left;
                        if (row >= 0 && row < height && column >= 0 && column < width)
                            memcpy(out, x + (row * width + column) * n, (size_t)n);
                        else
                            memset(out, 0, (size_t)n);
                    }
}

// @ transpose_bits m=words.0
/* out bit [j, i] = words bit [i, j]. */
static void transpose_bits(const u64 *words, i32 m, i32 n, u64 *out)
{
    const i32 row = words_of(n), out_row = words_of(m);
    memset(out, 0, (size_t)n * (size_t)out_row * sizeof *out);
    for (i32 i = 0; i < m; i++)
        for (i32 j = 0; j < n; j++)
            if (words[i * row + j / 64] >> j % 64 & 1)
                out[j * out_row + i / 64] |= (u64)1 << i % 64;
}

// @ bit_pool batch=x.0 height=x.1 width=x.2 channels=x.3 out_height=out.1 out_width=out.2
/* The OR of each window's words; windows are cut off at the lower and the right edge. */
static void bit_pool(const u64 *x, i32 batch, i32 height, i32 width, i32 channels, i32 window, i32 stride, i32 out_height,
                     i32 out_width, u64 *out)
{
    for (i32 b = 0; b < batch; b++, x += height * width * channels)
        for (i32 r = 0; r < out_height; r++)
            for (i32 c = 0; c < out_width; c++, out += channels) {
                memset(out, 0, (size_t)channels * sizeof *out);
                for (i32 i = r * stride; i < r * stride + window && i < height; i++)
                    for (i32 j = c * stride; j < c * stride + window && j < width; j++)
                        for (i32 t = 0; t < channels; t++)
                            out[t] |= x[(i * width + j) * channels + t];
            }
}

// @ signed_sums(g)
/* sums[64 * i + b] = the sum of count values g, every gstep-th, each with the sign of bit b of word i of its words, of which
   every wstep-th is the first. */
static void signed_sums_$g(const $g *g, i32 gstep, const u64 *w, i32 wstep, i32 count, i32 words, i32 *sums)
{
    memset(sums, 0, 64 * (size_t)words * sizeof *sums);
    for (i32 t = 0; t < count; t++, g += gstep, w += wstep) {
        const i32 value = *g;
        if (value)
            for (i32 i = 0; i < words; i++) {
                const u32 low = (u32)w[i], high = (u32)(w[i] >> 32);
                i32 *to = sums + 64 * i;
                for (i32 b = 0; b < 32; b++) {
                    to[b] += low >> b & 1 ? value : -value;
                    to[b + 32] += high >> b & 1 ? value : -value;
                }
            }
    }
}

// @ block_of
/* How many words from word t on are a block, and of a row of n values the values in them. */
static i32 block_of(i32 t, i32 words) { return words - t < BLOCK_WORDS ? words - t : BLOCK_WORDS; }

static i32 values_of(i32 t, i32 block, i32 n) { return n - 64 * t < 64 * block ? n - 64 * t : 64 * block; }

// @ grad_input(g,out) m=g.0 k=g.1
/* out[i, j] = the sum over t of g[i, t] * w[t, j]. */
static void grad_input_$g_$out(const $g *g, const u64 *w, i32 m, i32 k, i32 n, $out *out)
{
    const i32 words = words_of(n);
    i32 sums[64 * BLOCK_WORDS];
    for (i32 i = 0; i < m; i++)
        for (i32 t = 0; t < words; t += BLOCK_WORDS) {
            const i32 block = block_of(t, words), count = values_of(t, block, n);
            signed_sums_$g(g + i * k, 1, w + t, words, k, block, sums);
            for (i32 j = 0; j < count; j++)
                out[i * n + 64 * t + j] = sums[j];
        }
}

// @ grad_input_signs(g) m=g.0 k=g.1
/* Bits: those sums >= bounds[j]. */
static void grad_input_signs_$g(const $g *g, const u64 *w, i32 m, i32 k, i32 n, const i32 *bounds, u64 *out)
{
    const i32 words = words_of(n);
    i32 sums[64 * BLOCK_WORDS];
    memset(out, 0, (size_t)m * (size_t)words * sizeof *out);
    for (i32 i = 0; i < m; i++, out += words)
        for (i32 t = 0; t < words; t += BLOCK_WORDS) {
            const i32 block = block_of(t, words), count = values_of(t, block, n);
            signed_sums_$g(g + i * k, 1, w + t, words, k, block, sums);
            for (i32 j = 0; j < count; j++)
                out[t + j / 64] |= (u64)(sums[j] >= bounds[64 * t + j]) << j % 64;
        }
}

// @ grad_weight(g,out) m=g.0 channels=g.1 k=out.0
/* out[o, j] = the sum over i of g[i, first + o] * x[i, j], added to out where accumulate is not 0. */
static void grad_weight_$g_$out(const $g *g, const u64 *x, i32 m, i32 channels, i32 n, i32 first, i32 k, i32 accumulate,
                                $out *out)
{
    const i32 words = words_of(n);
    i32 sums[64 * BLOCK_WORDS];
    for (i32 o = 0; o < k; o++)
        for (i32 t = 0; t < words; t += BLOCK_WORDS) {
            const i32 block = block_of(t, words), count = values_of(t, block, n);
            $out *to = out + o * n + 64 * t;
            signed_sums_$g(g + first + o, channels, x + t, words, m, block, sums);
            for (i32 j = 0; j < count; j++)
                to[j] = accumulate ? to[j] + sums[j] : sums[j];
        }
}

// @ grad_weight_sign(g) m=g.0 channels=g.1 k=out.0
/* Bits: those sums >= threshold[o], and clear where mask is. */
static void grad_weight_sign_$g(const $g *g, const u64 *x, i32 m, i32 channels, i32 n, i32 first, i32 k,
                                const i64 *threshold, const u64 *mask, u64 *out)
{
    const i32 words = words_of(n);
    i32 sums[64 * BLOCK_WORDS];
    memset(out, 0, (size_t)k * (size_t)words * sizeof *out);
    for (i32 o = 0; o < k; o++, out += words, mask += words)
        for (i32 t = 0; t < words; t += BLOCK_WORDS) {
            const i32 block = block_of(t, words), count = values_of(t, block, n);
            signed_sums_$g(g + first + o, channels, x + t, words, m, block, sums);
            for (i32 j = 0; j < count; j++)
                out[t + j / 64] |= (u64)(sums[j] >= threshold[o]) << j % 64;
            for (i32 j = 0; j < block; j++)
                out[t + j] &= mask[t + j];
        }
}

// @ integer_product(g,w) m=g.0 k=g.1 n=w.1
/* out[i, j] = the sum over t of g[i, t] * w[t, j]. */
static void integer_product_$g_$w(const $g *g, const $w *w, i32 m, i32 k, i32 n, i64 *out)
{
    for (i32 i = 0; i < m; i++)
        for (i32 j = 0; j < n; j++) {
            i64 total = 0;
            for (i32 t = 0; t < k; t++)
                total += (i32)g[i * k + t] * w[t * n + j];
            out[i * n + j] = total;
        }
}

// @ codes_grad_weight(g,out) m=g.0 channels=g.1 n=codes.1 k=out.0
/* out[o, j] = the sum over i of g[i, first + o] * codes[i, j], added to out where accumulate is not 0. */
static void codes_grad_weight_$g_$out(const $g *g, const i8 *codes, i32 m, i32 channels, i32 n, i32 first, i32 k,
                                      i32 accumulate, $out *out)
{
    for (i32 o = 0; o < k; o++)
        for (i32 j = 0; j < n; j++) {
            i64 total = accumulate ? out[o * n + j] : 0;
            for (i32 i = 0; i < m; i++)
                total += (i32)g[i * channels + first + o] * codes[i * n + j];
            out[o * n + j] = ($out)total;
        }
}

// @ pack(x) rows=x.0 n=x.1 each=threshold.0
/* bit[i, j] = x[i, j] >= threshold, one or one a column. */
static void pack_$x(const $x *x, i32 rows, i32 n, const $x *threshold, i32 each, u64 *out)
{
    for (i32 i = 0; i < rows; i++)
        for (i32 t = 0; t < n; t += 64) {
            u64 word = 0;
            for (i32 j = t; j < n && j < t + 64; j++)
                word |= (u64)(real_$x(x[i * n + j]) >= real_$x(threshold[each == 1 ? 0 : j])) << (j - t);
            *out++ = word;
        }
}

// @ real_f16
static f32 real_f16(f16 x) { return real_u16(x); }
