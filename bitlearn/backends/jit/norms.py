"""Batch norm on integer sums: its statistics, its sign, and the factors of its gradient."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel
from bitlearn.backends.jit.floats import kept

_LEAST, _MOST = float(np.iinfo(np.int32).min), float(np.iinfo(np.int32).max)


@kernel
def channel_sums(y, out):
    """out[g, 0] = sum of y[g], out[g, 1] = sum of squares."""
    out[:] = 0
    for g in range(y.shape[0]):
        for i in range(y.shape[1]):
            for c in range(y.shape[2]):
                value = np.int64(y[g, i, c])
                out[g, 0, c] += value
                out[g, 1, c] += value * value


@kernel
def channel_sums_above(y, bound, out):
    """out[g, 0] = sum of those y[g] that are >= bound, out[g, 1] = their number."""
    out[:] = 0
    for g in range(y.shape[0]):
        for i in range(y.shape[1]):
            for c in range(y.shape[2]):
                above = np.int64(y[g, i, c] >= bound[c])
                out[g, 0, c] += y[g, i, c] * above
                out[g, 1, c] += above


@helper
def sum_of(sums, which, c):
    """The sum over the groups of number `which` of channel c, one by one."""
    total = sums.dtype.type(0)
    for g in range(sums.shape[0]):
        total += sums[g, which, c]
    return total


@kernel
def mean_bounds(sums, count, out):
    """out = the least integer above the mean."""
    for c in range(out.size):
        out[c] = sum_of(sums, 0, c) // np.int64(count) + 1


@helper
def standard_deviation(squares, floor, total, rest, count):
    squares -= floor * (total + rest)
    part = rest / count
    return np.sqrt(max(squares / count - part * part, 0.0))


@helper
def mean_deviation(upper, terms, floor, rest, count):
    return max((upper - floor * terms) - terms * (rest / count), 0.0) * (2.0 / count)


@kernel
def batch_statistics(sums, above, count, scale, momentum, half, mean, std, out, moved, finite):
    """out = the batch's statistics, moved = the running ones after it; finite = 0 where one of these is not finite."""
    rows, share, rest_share = np.int64(count), np.float32(momentum), 1 - momentum
    for c in range(out.shape[1]):
        total = sum_of(sums, 0, c)
        floor = total // rows
        rest = total - floor * rows
        if above.shape[0]:
            deviation = mean_deviation(sum_of(above, 0, c), sum_of(above, 1, c), floor, rest, rows)
        else:
            deviation = standard_deviation(sum_of(sums, 1, c), floor, total, rest, rows)
        deviation = kept(deviation * scale, half)
        out[0, c], out[1, c] = total / rows, deviation / scale
        moved[0, c] = mean[c] * share + np.float32(out[0, c] * scale * rest_share)
        moved[1, c] = std[c] * share + np.float32(deviation * rest_share)
        if not (np.isfinite(moved[0, c]) and np.isfinite(moved[1, c])):
            finite[0] = 0


@helper
def bound_of(value):
    return np.int32(min(max(value, _LEAST), _MOST))


@kernel
def norm_bounds(statistics, bias, clip, out, finite):
    """out[0] = ceil(middle), out[1] = ceil(middle - width), out[2] = floor(middle + width), clipped to int32."""
    for c in range(bias.size):
        mean, std = statistics[0, c], statistics[1, c]
        if np.isfinite(mean) and np.isfinite(std) and np.isfinite(bias[c]):
            middle, width = mean - np.float64(bias[c]) * std, clip * std
            out[0, c] = bound_of(np.ceil(middle))
            out[1, c] = bound_of(np.ceil(middle - width))
            out[2, c] = bound_of(np.floor(middle + width))
        else:
            finite[0] = 0


@helper
def some(row, t):
    """The 64 channels of word t of a row."""
    return row[64 * t : 64 * t + 64]


@helper
def sign_words(y, threshold, low, high):
    """The bits of up to 64 channels: which are >= the threshold, and which in [low, high]."""
    sign, inside = np.uint64(0), np.uint64(0)
    for j in range(y.size):
        sign |= np.uint64(y[j] >= threshold[j]) << np.uint64(j)
        inside |= np.uint64((y[j] >= low[j]) & (y[j] <= high[j])) << np.uint64(j)
    return sign, inside


@kernel
def norm_signs(y, bounds, signs, mask):
    """Bits signs[i] = y[i] >= bounds[0], mask[i] = bounds[1] <= y[i] <= bounds[2]."""
    for i in range(y.shape[0]):
        for t in range(signs.shape[1]):
            of_word = some(y[i], t), some(bounds[0], t), some(bounds[1], t), some(bounds[2], t)
            signs[i, t], mask[i, t] = sign_words(*of_word)


@kernel
def mean_magnitude(sums, above, count, statistics, bias, half, out):
    """out = the mean of |x|, x = (y - mean) / std + bias, 1 where std is 0; rounded to float16 or float32."""
    for c in range(out.size):
        mean, std = statistics[0, c], statistics[1, c]
        total, upper, terms = sum_of(sums, 0, c), sum_of(above, 0, c), sum_of(above, 1, c)
        bound = mean - np.float64(bias[c]) * std
        magnitude = (2 * upper - total) - bound * (2 * terms - np.int64(count))
        out[c] = kept(magnitude / (np.float64(count) * std), half) if std > 0 else 1.0


@helper
def inverse(std):
    return np.float32(1 / std) if std > 0 else np.float32(0)


@kernel
def mean_inverse(statistics, out):
    """out[0] = the mean, out[1] = 1 / std, and 0 where std is 0."""
    for c in range(out.shape[1]):
        out[0, c] = np.float32(statistics[0, c])
        out[1, c] = inverse(statistics[1, c])


@kernel
def norm_values(y, scale, centre, bias, out):
    """out = (y * scale - centre[0]) * centre[1] + bias."""
    by, mean, factor = np.float32(scale), centre[0], centre[1]
    for i in range(y.shape[0]):
        for c in range(y.shape[1]):
            out[i, c] = (np.float32(y[i, c]) * by - mean[c]) * factor[c] + bias[c]


@kernel
def bias_gradient(sums, scale, out):
    """out = the sum of the gradient times `scale`."""
    for c in range(out.size):
        out[c] = np.float32(sum_of(sums, 0, c) * scale[0])


@kernel
def l2_factors(sums, statistics, count, scale, out):
    """out[0] = slope, out[1] = offset, out[2] = the inverse of std * scale."""
    rows = np.float64(count)
    for c in range(out.shape[1]):
        mean, std = statistics[0, c], statistics[1, c]
        total, by = sum_of(sums, 0, c), np.float64(inverse(std))
        slope = (sum_of(sums, 1, c) - mean * total) / rows * (by * by)
        out[0, c] = np.float32(slope)
        out[1, c] = np.float32(mean * slope - total / rows)
        out[2, c] = inverse(std * scale)


@kernel
def l1_factors(sums, magnitude, statistics, count, scale, out):
    """out[0] is for +1, out[1] for -1, out[2] = the inverse of std * scale; with the stored signs."""
    rows = np.float64(count)
    for c in range(out.shape[1]):
        total = sum_of(sums, 0, c)
        correction = (2 * sum_of(sums, 1, c) - total) * magnitude[c]
        out[0, c] = np.float32(-(total + correction) / rows)
        out[1, c] = np.float32(-(total - correction) / rows)
        out[2, c] = inverse(statistics[1, c] * scale)


@kernel
def l1_exact_factors(sums, above, statistics, count, scale, out):
    """out[0] is for +1, out[1] for -1, out[2] = the inverse of std * scale; exactly."""
    rows = np.float64(count)
    for c in range(out.shape[1]):
        mean, std = statistics[0, c], statistics[1, c]
        total = sum_of(sums, 0, c)
        share = (2 * sum_of(above, 1, c) - np.int64(count)) / rows
        slope = (sum_of(sums, 1, c) - mean * total) / rows * np.float64(inverse(std))
        out[0, c] = np.float32(-total / rows - (1 - share) * slope)
        out[1, c] = np.float32(-total / rows + (1 + share) * slope)
        out[2, c] = inverse(std * scale)
