/* Updates of parameters, in single, one operation after the other. */

// @ worth_f32
/* What a value of a gradient is in single. */
static f32 worth_f32(const f32 *g, const f64 *scale, i32 i, i32 j, i32 n)
{
    (void)scale;
    return g[i * n + j];
}

// @ worth_i32
static f32 worth_i32(const i32 *g, const f64 *scale, i32 i, i32 j, i32 n) { return (f32)((f64)g[i * n + j] * *scale); }

// @ worth_i64
static f32 worth_i64(const i64 *g, const f64 *scale, i32 i, i32 j, i32 n) { return (f32)((f64)g[i * n + j] * *scale); }

// @ worth_u64
static f32 worth_u64(const u64 *g, const f64 *scale, i32 i, i32 j, i32 n)
{
    (void)scale;
    return g[i * ((n + 63) / 64) + j / 64] >> j % 64 & 1 ? 1.0f : -1.0f;
}

// @ passed(g)
/* That, times 0 where the weight's magnitude is above the clip. */
static f32 passed_$g(const $g *g, const f64 *scale, i32 each, f64 clip, f32 weight, i32 i, i32 j, i32 n)
{
    const f32 size = weight < 0 ? -weight : weight;
    return worth_$g(g, scale + (each == 1 ? 0 : i), i, j, n) * (size <= (f32)clip ? 1.0f : 0.0f);
}

// @ adam_update(g,weight,mean) rows=weight.0 n=weight.1 each=scale.0
/* coefficients: beta1, rest1, beta2, rest2, rate, epsilon. */
static void adam_update_$g_$weight_$mean(const $g *g, const f64 *scale, i32 each, f64 clip, const f32 *coefficients,
                                         i32 rows, i32 n, $weight *weight, $mean *mean, $mean *square)
{
    for (i32 i = 0; i < rows; i++)
        for (i32 j = 0; j < n; j++) {
            const i32 at = i * n + j;
            const f32 old = real_$weight(weight[at]), value = passed_$g(g, scale, each, clip, old, i, j, n);
            const f32 first = real_$mean(mean[at]) * coefficients[0] + value * coefficients[1];
            const f32 second = real_$mean(square[at]) * coefficients[2] + value * value * coefficients[3];
            mean[at] = kept_$mean(first);
            square[at] = kept_$mean(second);
            weight[at] = kept_$weight(old - coefficients[4] * first / (sqrtf(second) + coefficients[5]));
        }
}

// @ sgd_update(g,weight,moment) rows=weight.0 n=weight.1 each=scale.0
/* coefficients: momentum, factor, rate. */
static void sgd_update_$g_$weight_$moment(const $g *g, const f64 *scale, i32 each, f64 clip, const f32 *coefficients,
                                          i32 rows, i32 n, $weight *weight, $moment *moment)
{
    for (i32 i = 0; i < rows; i++)
        for (i32 j = 0; j < n; j++) {
            const i32 at = i * n + j;
            const f32 old = real_$weight(weight[at]);
            const f32 value = passed_$g(g, scale, each, clip, old, i, j, n) * coefficients[1];
            const f32 step = real_$moment(moment[at]) * coefficients[0] + value;
            moment[at] = kept_$moment(step);
            weight[at] = kept_$weight(old - coefficients[2] * step);
        }
}

// @ descent_update(g,weight) rows=weight.0 n=weight.1 each=scale.0
/* coefficients: factor, rate. */
static void descent_update_$g_$weight(const $g *g, const f64 *scale, i32 each, f64 clip, const f32 *coefficients,
                                      i32 rows, i32 n, $weight *weight)
{
    for (i32 i = 0; i < rows; i++)
        for (i32 j = 0; j < n; j++) {
            const i32 at = i * n + j;
            const f32 old = real_$weight(weight[at]);
            const f32 value = passed_$g(g, scale, each, clip, old, i, j, n) * coefficients[0];
            weight[at] = kept_$weight(old - coefficients[1] * value);
        }
}

// @ bop_update(g,weight,moment) rows=weight.0 n=weight.1 each=scale.0
/* coefficients: keep, factor, threshold. */
static void bop_update_$g_$weight_$moment(const $g *g, const f64 *scale, i32 each, f64 clip, const f32 *coefficients,
                                          i32 rows, i32 n, $weight *weight, $moment *moment)
{
    for (i32 i = 0; i < rows; i++)
        for (i32 j = 0; j < n; j++) {
            const i32 at = i * n + j;
            const f32 old = real_$weight(weight[at]);
            const f32 value = passed_$g(g, scale, each, clip, old, i, j, n) * coefficients[1];
            const f32 mean = real_$moment(moment[at]) * coefficients[0] + value;
            moment[at] = kept_$moment(mean);
            weight[at] = kept_$weight(old * mean > coefficients[2] ? -old : old);
        }
}
