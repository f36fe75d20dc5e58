/* Batch norm on integer sums, and the loss. */

// @ channel_sums(y) groups=y.0 rows=y.1 channels=y.2
/* out[g] = the sum and the sum of squares of each channel. */
static void channel_sums_$y(const $y *y, i32 groups, i32 rows, i32 channels, i64 *out)
{
    memset(out, 0, (size_t)groups * 2 * (size_t)channels * sizeof *out);
    for (i32 g = 0; g < groups; g++, out += 2 * channels)
        for (i32 i = 0; i < rows; i++, y += channels)
            for (i32 c = 0; c < channels; c++) {
                out[c] += y[c];
                out[channels + c] += (i64)y[c] * y[c];
            }
}

// @ channel_sums_above(y) groups=y.0 rows=y.1 channels=y.2
/* out[g] = the sum of those values that are >= bound, and their number. */
static void channel_sums_above_$y(const $y *y, const i32 *bound, i32 groups, i32 rows, i32 channels, i64 *out)
{
    memset(out, 0, (size_t)groups * 2 * (size_t)channels * sizeof *out);
    for (i32 g = 0; g < groups; g++, out += 2 * channels)
        for (i32 i = 0; i < rows; i++, y += channels)
            for (i32 c = 0; c < channels; c++)
                if (y[c] >= bound[c]) {
                    out[c] += y[c];
                    out[channels + c]++;
                }
}

// @ floor_divided
static i64 floor_divided(i64 a, i64 b) { return a / b - (a % b < 0); }

// @ added_i64
/* Number `which` of a channel, added up over the groups. */
static i64 added_i64(const i64 *sums, i32 groups, i32 channels, i32 which, i32 c)
{
    i64 total = 0;
    for (i32 g = 0; g < groups; g++)
        total += sums[(2 * g + which) * channels + c];
    return total;
}

// @ added_f64
static f64 added_f64(const f64 *sums, i32 groups, i32 channels, i32 which, i32 c)
{
    f64 total = 0;
    for (i32 g = 0; g < groups; g++)
        total += sums[(2 * g + which) * channels + c];
    return total;
}

// @ mean_bounds groups=sums.0 channels=sums.2
/* The least integer above the mean. */
static void mean_bounds(const i64 *sums, i32 groups, i32 channels, i32 count, i32 *out)
{
    for (i32 c = 0; c < channels; c++)
        out[c] = (i32)(floor_divided(added_i64(sums, groups, channels, 0, c), count) + 1);
}

// @ batch_statistics groups=sums.0 above_groups=above.0 channels=sums.2
/* A batch's mean and standard, or mean absolute, deviation, and the running ones after it. */
static void batch_statistics(const i64 *sums, i32 groups, const i64 *above, i32 above_groups, i32 channels, i32 count,
                             f64 scale, f64 momentum, i32 half, const f32 *mean, const f32 *std, f64 *out, f32 *moved,
                             u8 *finite)
{
    for (i32 c = 0; c < channels; c++) {
        const i64 total = added_i64(sums, groups, channels, 0, c), low = floor_divided(total, count);
        const i64 rest = total - low * count;
        const f64 share = (f64)rest / count;
        f64 deviation, kept;
        if (above_groups) {
            const i64 upper = added_i64(above, above_groups, channels, 0, c);
            const i64 terms = added_i64(above, above_groups, channels, 1, c);
            deviation = (f64)(upper - low * terms) - (f64)terms * share;
            deviation = (deviation > 0 ? deviation : 0) * (2.0 / count);
        } else {
            const i64 squares = added_i64(sums, groups, channels, 1, c) - low * (total + rest);
            deviation = (f64)squares / count - share * share;
            deviation = sqrt(deviation > 0 ? deviation : 0);
        }
        kept = rounded(deviation * scale, half);
        out[c] = (f64)total / count;
        out[channels + c] = kept / scale;
        moved[c] = mean[c] * (f32)momentum + (f32)(out[c] * scale * (1 - momentum));
        moved[channels + c] = std[c] * (f32)momentum + (f32)(kept * (1 - momentum));
        if (!is_finite(moved[c]) || !is_finite(moved[channels + c]))
            *finite = 0;
    }
}

// @ clip_i32
static i32 clip_i32(f64 x)
{
    return !(x > -2147483648.0) ? -2147483647 - 1 : x >= 2147483647.0 ? 2147483647 : (i32)x;
}

// @ norm_bounds channels=statistics.1
/* Where the sign of the normalised value turns, and between which its gradient passes. */
static void norm_bounds(const f64 *statistics, const f32 *bias, f64 clip, i32 channels, i32 *out, u8 *finite)
{
    for (i32 c = 0; c < channels; c++) {
        const f64 mean = statistics[c], std = statistics[channels + c];
        const f64 middle = mean - (f64)bias[c] * std, width = clip * std;
        if (!is_finite(mean) || !is_finite(std) || !is_finite(bias[c])) {
            *finite = 0;
            continue;
        }
        out[c] = clip_i32(ceil_f64(middle));
        out[channels + c] = clip_i32(ceil_f64(middle - width));
        out[2 * channels + c] = clip_i32(floor_f64(middle + width));
    }
}

// @ norm_signs(y) rows=y.0 channels=y.1
/* Bits signs = y >= bounds[0], mask = bounds[1] <= y <= bounds[2]. */
static void norm_signs_$y(const $y *y, const i32 *bounds, i32 rows, i32 channels, u64 *signs, u64 *mask)
{
    const i32 words = words_of(channels);
    memset(signs, 0, (size_t)rows * (size_t)words * sizeof *signs);
    memset(mask, 0, (size_t)rows * (size_t)words * sizeof *mask);
    for (i32 i = 0; i < rows; i++, y += channels, signs += words, mask += words)
        for (i32 c = 0; c < channels; c++) {
            signs[c / 64] |= (u64)(y[c] >= bounds[c]) << c % 64;
            mask[c / 64] |= (u64)(y[c] >= bounds[channels + c] && y[c] <= bounds[2 * channels + c]) << c % 64;
        }
}

// @ norm_values(y) rows=y.0 channels=y.1
/* out = (y * scale - centre[0]) * centre[1] + bias. */
static void norm_values_$y(const $y *y, f64 scale, const f32 *centre, const f32 *bias, i32 rows, i32 channels, f32 *out)
{
    for (i32 i = 0; i < rows; i++, y += channels, out += channels)
        for (i32 c = 0; c < channels; c++)
            out[c] = ((f32)y[c] * (f32)scale - centre[c]) * centre[channels + c] + bias[c];
}

// @ mean_magnitude groups=sums.0 above_groups=above.0 channels=sums.2
/* The mean magnitude of the normalised values. */
static void mean_magnitude(const i64 *sums, i32 groups, const i64 *above, i32 above_groups, i32 channels, i32 count,
                           const f64 *statistics, const f32 *bias, i32 half, f64 *out)
{
    for (i32 c = 0; c < channels; c++) {
        const f64 mean = statistics[c], std = statistics[channels + c], bound = mean - (f64)bias[c] * std;
        const i64 total = added_i64(sums, groups, channels, 0, c);
        const i64 upper = added_i64(above, above_groups, channels, 0, c);
        const i64 terms = added_i64(above, above_groups, channels, 1, c);
        const f64 sum = (f64)(2 * upper - total) - bound * (f64)(2 * terms - count);
        out[c] = rounded(std > 0 ? sum / (count * std) : 1.0, half);
    }
}

// @ mean_inverse channels=statistics.1
static void mean_inverse(const f64 *statistics, i32 channels, f32 *out)
{
    for (i32 c = 0; c < channels; c++) {
        out[c] = (f32)statistics[c];
        out[channels + c] = inverse(statistics[channels + c]);
    }
}

// @ passes_mask
static i32 passes_mask(const u64 *mask, i32 c) { return (i32)(mask[c / 64] >> c % 64 & 1); }

// @ times_u64
/* A value times what x says of a channel: whether its bit is set, or its sum. */
static i64 times_u64(i32 d, const u64 *x, i32 c) { return x[c / 64] >> c % 64 & 1 ? d : 0; }

// @ times_i16
static i64 times_i16(i32 d, const i16 *x, i32 c) { return (i64)d * x[c]; }

// @ times_i32
static i64 times_i32(i32 d, const i32 *x, i32 c) { return (i64)d * x[c]; }

// @ gradient_sums(d,x) groups=d.0 rows=d.1 channels=d.2 masked=mask.0 x_row=x.2
/* out[g] = the sum of d, and of d * x, or of d where the bit of x is set; d is 0 off its mask. */
static void gradient_sums_$d_$x(const $d *d, const u64 *mask, i32 masked, const $x *x, i32 x_row, i32 groups, i32 rows,
                                i32 channels, i64 *out)
{
    memset(out, 0, (size_t)groups * 2 * (size_t)channels * sizeof *out);
    for (i32 g = 0; g < groups; g++, out += 2 * channels)
        for (i32 i = 0; i < rows; i++, d += channels, x += x_row, mask += masked ? words_of(channels) : 0)
            for (i32 c = 0; c < channels; c++)
                if (!masked || passes_mask(mask, c)) {
                    out[c] += d[c];
                    out[channels + c] += times_$x(d[c], x, c);
                }
}

// @ bias_gradient(sums) groups=sums.0 channels=sums.2
static void bias_gradient_$sums(const $sums *sums, i32 groups, i32 channels, const f64 *scale, f32 *out)
{
    for (i32 c = 0; c < channels; c++)
        out[c] = (f32)((f64)added_$sums(sums, groups, channels, 0, c) * *scale);
}

// @ l2_factors(sums) groups=sums.0 channels=sums.2
static void l2_factors_$sums(const $sums *sums, i32 groups, i32 channels, const f64 *statistics, i32 count, f64 scale,
                             f32 *out)
{
    for (i32 c = 0; c < channels; c++) {
        const f64 mean = statistics[c], std = statistics[channels + c], one = inverse(std);
        const f64 total = (f64)added_$sums(sums, groups, channels, 0, c);
        const f64 slope = ((f64)added_$sums(sums, groups, channels, 1, c) - mean * total) / count * (one * one);
        out[c] = (f32)slope;
        out[channels + c] = (f32)(mean * slope - total / count);
        out[2 * channels + c] = inverse(std * scale);
    }
}

// @ l1_factors(sums) groups=sums.0 channels=sums.2
static void l1_factors_$sums(const $sums *sums, i32 groups, i32 channels, const f64 *magnitude, const f64 *statistics,
                             i32 count, f64 scale, f32 *out)
{
    for (i32 c = 0; c < channels; c++) {
        const $sums total = added_$sums(sums, groups, channels, 0, c), upper = added_$sums(sums, groups, channels, 1, c);
        const f64 correction = (f64)(2 * upper - total) * magnitude[c];
        out[c] = (f32)(-((f64)total + correction) / count);
        out[channels + c] = (f32)(-((f64)total - correction) / count);
        out[2 * channels + c] = inverse(statistics[channels + c] * scale);
    }
}

// @ centred_u64
/* What is added to a gradient before it is scaled: by the bit of x, or by its sum. */
static f32 centred_u64(const u64 *x, const f32 *factors, i32 channels, i32 c)
{
    return factors[x[c / 64] >> c % 64 & 1 ? c : channels + c];
}

// @ centred_i16
static f32 centred_i16(const i16 *x, const f32 *factors, i32 channels, i32 c)
{
    return factors[channels + c] - (f32)x[c] * factors[c];
}

// @ centred_i32
static f32 centred_i32(const i32 *x, const f32 *factors, i32 channels, i32 c)
{
    return factors[channels + c] - (f32)x[c] * factors[c];
}

// @ normed(d,x)
/* The gradient of a channel's sum. */
static f32 normed_$d_$x($d d, const u64 *mask, const $x *x, const f32 *factors, i32 channels, i32 c)
{
    return (centred_$x(x, factors, channels, c) + (f32)(!mask || passes_mask(mask, c) ? d : 0)) *
           factors[2 * channels + c];
}

// @ norm_gradient_peak(d,x) groups=d.0 rows=d.1 channels=d.2 masked=mask.0 x_row=x.2
/* out[g] = the largest magnitude of the gradient behind a batch norm. */
static void norm_gradient_peak_$d_$x(const $d *d, const u64 *mask, i32 masked, const $x *x, i32 x_row,
                                     const f32 *factors, i32 groups, i32 rows, i32 channels, f32 *out)
{
    for (i32 g = 0; g < groups; g++) {
        f32 most = 0;
        for (i32 i = 0; i < rows; i++, d += channels, x += x_row, mask += masked ? words_of(channels) : 0)
            for (i32 c = 0; c < channels; c++) {
                const f32 value = normed_$d_$x(d[c], masked ? mask : 0, x, factors, channels, c);
                const f32 size = value < 0 ? -value : value;
                if (size > most || size != size)
                    most = size;
            }
        out[g] = most;
    }
}

// @ norm_step groups=peaks.0
static void norm_step(const f32 *peaks, i32 groups, i32 limit, const f64 *scale, f32 *step, f64 *out)
{
    f32 most = 0;
    for (i32 g = 0; g < groups; g++)
        if (peaks[g] > most || peaks[g] != peaks[g])
            most = peaks[g];
    most = most / (f32)limit;
    *step = most != 0 ? (most < SMALLEST_NORMAL ? SMALLEST_NORMAL : most) : 1.0f;
    *out = *scale * (f64)*step;
    if (!(*out <= LARGEST_SCALE))
        *out = LARGEST_SCALE;
}

// @ norm_gradient(d,x) rows=d.0 channels=d.1 masked=mask.0 x_row=x.1
/* out = the codes of that gradient, clip(round(gradient / step), -limit, limit); out may be d. */
static void norm_gradient_$d_$x(const $d *d, const u64 *mask, i32 masked, const $x *x, i32 x_row, const f32 *factors,
                                const f32 *step, i32 limit, i32 rows, i32 channels, $d *out)
{
    for (i32 i = 0; i < rows; i++, d += channels, out += channels, x += x_row, mask += masked ? words_of(channels) : 0)
        for (i32 c = 0; c < channels; c++) {
            const f32 value = normed_$d_$x(d[c], masked ? mask : 0, x, factors, channels, c);
            out[c] = ($d)clip_f32(nearest_f32(value / *step), (f32)limit);
        }
}

// @ live_statistics channels=mean.0
/* The running statistics, in units of the sums. */
static void live_statistics(const f32 *mean, const f32 *std, f64 unit, i32 channels, f64 *out)
{
    for (i32 c = 0; c < channels; c++) {
        out[c] = (f64)mean[c] / unit;
        out[channels + c] = (f64)std[c] / unit;
    }
}

// @ live_centre channels=mean.0
/* The running mean, and the inverse of the running deviation where that is a normal number, else 0. */
static void live_centre(const f32 *mean, const f32 *std, i32 channels, f32 *out)
{
    for (i32 c = 0; c < channels; c++) {
        out[c] = mean[c];
        out[channels + c] = std[c] >= SMALLEST_NORMAL ? (f32)(1.0 / (f64)std[c]) : 0.0f;
    }
}
