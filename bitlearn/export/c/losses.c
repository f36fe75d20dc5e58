// @ exponential
/* exp(x) for x <= 0, from additions and multiplications alone; 0 below -700. */
static f64 exponential(f64 x)
{
    static const f64 terms[] = {
        1.6059043836821616e-10,
        2.08767569878681e-09,
        2.505210838544172e-08,
        2.7557319223985894e-07,
        2.7557319223985893e-06,
        2.48015873015873e-05,
        0.0001984126984126984,
        0.001388888888888889,
        0.008333333333333333,
        0.041666666666666664,
        0.16666666666666666,
        0.5,
        1.0,
        1.0
    };
    const i32 count = sizeof terms / sizeof terms[0];
    f64 k, r, total = terms[0];
    if (x < -700.0)
        return 0;
    k = nearest_f64(x * 1.4426950408889634);
    r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10;
    for (i32 i = 1; i < count; i++)
        total = total * r + terms[i];
    return total * power_of_two((i32)k);
}

// @ softmax_gradient rows=scores.0 classes=scores.1
/* The gradient of the mean cross-entropy; *finite = 0 where a score is not finite. */
static void softmax_gradient(const i64 *labels, const f32 *scores, i32 rows, i32 classes, f64 *powers, f64 *terms,
                             f32 *out, u8 *finite)
{
    for (i32 i = 0; i < rows * classes; i++)
        if (!is_finite(scores[i])) {
            *finite = 0;
            return;
        }
    for (i32 i = 0; i < rows; i++, scores += classes, powers += classes, out += classes) {
        const i32 label = (i32)labels[i];
        f64 most = scores[0], total = 0;
        for (i32 j = 1; j < classes; j++)
            most = scores[j] > most ? scores[j] : most;
        for (i32 j = 0; j < classes; j++) {
            powers[j] = exponential(scores[j] - most);
            total += powers[j];
        }
        terms[i] = total;
        terms[rows + i] = scores[label] - most;
        for (i32 j = 0; j < classes; j++)
            out[j] = (f32)((j == label ? powers[j] / total - 1.0 : powers[j] / total) / rows);
    }
}

// @ probability_gradient rows=powers.0 classes=powers.1
static void probability_gradient(const i64 *labels, const f64 *powers, const f64 *terms, i32 rows, i32 classes,
                                 i32 levels, i32 *out)
{
    for (i32 i = 0; i < rows; i++)
        for (i32 j = 0; j < classes; j++)
            out[i * classes + j] = (i32)nearest_f64(powers[i * classes + j] / terms[i] * levels) -
                                   (j == (i32)labels[i] ? levels : 0);
}
