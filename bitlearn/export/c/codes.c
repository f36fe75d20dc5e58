/* Whole arrays, and integers and real values as codes. */

// @ copy(x) rows=x.0 n=x.1
static void copy_$x(const $x *x, i32 rows, i32 n, $x *out) { memcpy(out, x, (size_t)rows * (size_t)n * sizeof *x); }

// @ cast rows=x.0 n=x.1
static void cast(const i32 *x, i32 rows, i32 n, i16 *out)
{
    for (i32 i = 0; i < rows * n; i++)
        out[i] = (i16)x[i];
}

// @ count_step n=counts.0
static void count_step(i64 *counts, i32 n)
{
    for (i32 i = 0; i < n; i++)
        counts[i]++;
}

// @ multiply_scales n=a.0
static void multiply_scales(const f64 *a, const f64 *b, i32 n, f64 *out)
{
    for (i32 i = 0; i < n; i++)
        out[i] = a[i] * *b;
}

// @ all_finite(x) rows=x.0 n=x.1
static void all_finite_$x(const $x *x, i32 rows, i32 n, u8 *finite)
{
    for (i32 i = 0; i < rows * n; i++)
        if (!is_finite(real_$x(x[i])))
            *finite = 0;
}

// @ pack_finite(x) rows=x.0 n=x.1
static void pack_finite_$x(const $x *x, i32 rows, i32 n, u64 *out, u8 *finite)
{
    for (i32 i = 0; i < rows; i++)
        for (i32 t = 0; t < n; t += 64) {
            u64 word = 0;
            for (i32 j = t; j < n && j < t + 64; j++) {
                const f32 value = real_$x(x[i * n + j]);
                word |= (u64)(value >= 0) << (j - t);
                if (!is_finite(value))
                    *finite = 0;
            }
            *out++ = word;
        }
}

// @ add_scaled(a,b) rows=a.0 n=a.1
static void add_scaled_$a_$b(const $a *a, const f64 *scale_a, const $b *b, const f64 *scale_b, i32 rows, i32 n, f32 *out)
{
    for (i32 i = 0; i < rows * n; i++)
        out[i] = (f32)a[i] * (f32)*scale_a + (f32)b[i] * (f32)*scale_b;
}

// @ mask_gradient(d) rows=d.0 n=d.1
static void mask_gradient_$d(const $d *d, const u64 *mask, i32 rows, i32 n, $d *out)
{
    for (i32 i = 0; i < rows; i++)
        for (i32 j = 0; j < n; j++)
            out[i * n + j] = mask[i * words_of(n) + j / 64] >> j % 64 & 1 ? d[i * n + j] : 0;
}

// @ sign_values rows=x.0 n=x.1
static void sign_values(const f32 *x, f64 clip, i32 rows, i32 n, u64 *signs, u64 *mask)
{
    const f32 limit = (f32)clip;
    for (i32 i = 0; i < rows; i++, x += n)
        for (i32 t = 0; t < n; t += 64) {
            u64 sign = 0, small = 0;
            for (i32 j = t; j < n && j < t + 64; j++) {
                sign |= (u64)(x[j] >= 0) << (j - t);
                small |= (u64)(x[j] <= limit && -x[j] <= limit) << (j - t);
            }
            *signs++ = sign;
            *mask++ = small;
        }
}

// @ scale_sums(x) rows=x.0 n=x.1 each=scale.0
static void scale_sums_$x(const $x *x, const f64 *scale, i32 each, i32 rows, i32 n, f32 *out)
{
    for (i32 i = 0; i < rows; i++)
        for (i32 j = 0; j < n; j++)
            out[i * n + j] = (f32)((f64)x[i * n + j] * scale[each == 1 ? 0 : i]);
}

// @ scaled_transpose(x) m=x.0 n=x.1
static void scaled_transpose_$x(const $x *x, const f64 *scale, i32 m, i32 n, f32 *out)
{
    for (i32 i = 0; i < m; i++)
        for (i32 j = 0; j < n; j++)
            out[j * m + i] = (f32)((f64)x[i * n + j] * *scale);
}

// @ average_pool batch=x.0 h=x.1 w=x.2 c=x.3 out_h=out.1 out_w=out.2
static void average_pool(const f32 *x, i32 height, i32 width, i32 batch, i32 h, i32 w, i32 c, i32 out_h, i32 out_w,
                         f32 *out)
{
    for (i32 b = 0; b < batch; b++, x += h * w * c)
        for (i32 r = 0; r < out_h; r++)
            for (i32 s = 0; s < out_w; s++)
                for (i32 t = 0; t < c; t++) {
                    f64 total = 0;
                    for (i32 i = 0; i < height; i++)
                        for (i32 j = 0; j < width; j++)
                            total += x[((r * height + i) * w + s * width + j) * c + t];
                    *out++ = (f32)(total / (height * width));
                }
}

// @ peaks(x) rows=x.0 n=x.1
static void peaks_$x(const $x *x, i32 rows, i32 n, f64 *out)
{
    for (i32 i = 0; i < rows; i++) {
        out[i] = 0;
        for (i32 j = 0; j < n; j++) {
            const f64 size = magnitude((f64)x[i * n + j]);
            if (size > out[i] || size != size)
                out[i] = size;
        }
    }
}

// @ channel_peaks(x) groups=x.0 rows=x.1 channels=x.2
static void channel_peaks_$x(const $x *x, i32 groups, i32 rows, i32 channels, f64 *out)
{
    for (i32 g = 0; g < groups; g++, out += channels)
        for (i32 c = 0; c < channels; c++) {
            out[c] = 0;
            for (i32 i = 0; i < rows; i++) {
                const f64 size = magnitude((f64)x[(g * rows + i) * channels + c]);
                out[c] = size > out[c] ? size : out[c];
            }
        }
}

// @ quantize_step groups=peaks.0
static void quantize_step(const f64 *peaks, i32 groups, i32 limit, f64 *out, u8 *finite)
{
    const f32 found = (f32)largest_of(peaks, groups) / (f32)limit;
    if (!is_finite(found))
        *finite = 0;
    *out = found != 0 ? (found < SMALLEST_NORMAL ? SMALLEST_NORMAL : found) : 1.0f;
}

// @ quantize(out) rows=x.0 n=x.1
static void quantize_$out(const f32 *x, const f64 *scale, i32 limit, i32 rows, i32 n, $out *out)
{
    for (i32 i = 0; i < rows * n; i++)
        out[i] = ($out)clip_f32(nearest_f32(x[i] / (f32)*scale), (f32)limit);
}

// @ quantize_rows(out) rows=x.0 n=x.1
static void quantize_rows_$out(const f32 *x, i32 limit, i32 rows, i32 n, f64 *row_scale, $out *out)
{
    for (i32 i = 0; i < rows; i++, x += n, out += n) {
        f32 most = 0;
        for (i32 j = 0; j < n; j++)
            most = x[j] > most ? x[j] : -x[j] > most ? -x[j] : most;
        most = most / (f32)limit;
        most = most > 0 ? (most < SMALLEST_NORMAL ? SMALLEST_NORMAL : most) : 1.0f;
        row_scale[i] = most;
        for (i32 j = 0; j < n; j++)
            out[j] = ($out)clip_f32(nearest_f32(x[j] / most), (f32)limit);
    }
}

// @ requantize_step rows=peaks.0 scales=scale.0 steps=step.0
static void requantize_step(const f64 *peaks, i32 rows, i32 limit, const f64 *scale, i32 scales, f64 *step, i32 steps,
                            f64 *out)
{
    if (scales == 1) {
        const f64 one = largest_of(peaks, rows) / limit;
        for (i32 i = 0; i < steps; i++)
            step[i] = one > 1 ? one : 1;
        *out = *scale * (one > 1 ? one : 1);
    } else {
        f64 most = 0;
        for (i32 i = 0; i < rows; i++)
            most = peaks[i] * scale[i] > most ? peaks[i] * scale[i] : most;
        *out = most > 0 ? most / limit : 1;
        for (i32 i = 0; i < steps; i++)
            step[i] = *out / scale[i];
    }
    *out = *out < LARGEST_SCALE ? *out : LARGEST_SCALE;
}

// @ requantize(x,out) rows=x.0 n=x.1 each=step.0
static void requantize_$x_$out(const $x *x, const f64 *step, i32 each, i32 limit, i32 rows, i32 n, $out *out)
{
    for (i32 i = 0; i < rows; i++)
        for (i32 j = 0; j < n; j++)
            out[i * n + j] = ($out)clip_f64(nearest_f64((f64)x[i * n + j] / step[each == 1 ? 0 : i]), limit);
}

// @ requantize_rows(x,out) rows=x.0 n=x.1 each=scale.0
static void requantize_rows_$x_$out(const $x *x, const f64 *scale, i32 each, i32 limit, i32 rows, i32 n, f64 *row_scale,
                                    $out *out)
{
    for (i32 i = 0; i < rows; i++, x += n, out += n) {
        f64 step = 0;
        for (i32 j = 0; j < n; j++)
            step = magnitude((f64)x[j]) > step ? magnitude((f64)x[j]) : step;
        step = step / limit > 1 ? step / limit : 1;
        row_scale[i] = scale[each == 1 ? 0 : i] * step;
        for (i32 j = 0; j < n; j++)
            out[j] = ($out)nearest_f64((f64)x[j] / step);
    }
}

// @ largest_scale rows=row_scale.0
static void largest_scale(const f64 *row_scale, i32 rows, f64 *out)
{
    const f64 most = largest_of(row_scale, rows);
    *out = most == 0 ? 1 : most < LARGEST_SCALE ? most : LARGEST_SCALE;
}

// @ equalize_rows(codes) rows=codes.0 n=codes.1
static void equalize_rows_$codes(const f64 *row_scale, const f64 *scale, i32 limit, i32 rows, i32 n, $codes *codes)
{
    for (i32 i = 0; i < rows; i++) {
        const f64 ratio = *scale / row_scale[i], step = ratio > 1 ? ratio : 1;
        for (i32 j = 0; j < n; j++)
            codes[i * n + j] = ($codes)clip_f64(nearest_f64((f64)codes[i * n + j] / step), limit);
    }
}

// @ narrow_step groups=peaks.0 channels=peaks.1
static void narrow_step(const f64 *peaks, i32 groups, i32 channels, i32 limit, const f64 *scale, f64 *step, f64 *out)
{
    for (i32 c = 0; c < channels; c++) {
        f64 most = 0;
        for (i32 g = 0; g < groups; g++)
            most = peaks[g * channels + c] > most ? peaks[g * channels + c] : most;
        step[c] = most / limit > 1 ? most / limit : 1;
        out[c] = *scale * step[c];
    }
}

// @ narrow(x,out) rows=x.0 n=x.1 random=key.0
/* out = clip(round(x / step), -limit, limit): to nearest, or at random where there is a key. */
static void narrow_$x_$out(const $x *x, const f64 *step, i32 axis, i32 limit, const u32 *key, i32 random, i32 first,
                           i32 total, i32 rows, i32 n, $out *out)
{
    for (i32 i = 0; i < rows; i++)
        for (i32 j = 0; j < n; j++) {
            const f64 ratio = (f64)x[i * n + j] / step[axis < 0 ? 0 : axis ? j : first + i];
            f64 found = nearest_f64(ratio);
            if (random) {
                const i64 row = first + i, place = axis == 1 ? (i64)j * total + row : row * n + j;
                found = floor_f64(ratio);
                found += random_word(key, (u64)place) < (ratio - found) * 4294967296.0;
            }
            out[i * n + j] = ($out)clip_f64(found, limit);
        }
}
