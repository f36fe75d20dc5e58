"""What becomes of a channel's sums: statistics, bounds and factors of batch norm."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel

_LEAST, _MOST = float(np.iinfo(np.int32).min), float(np.iinfo(np.int32).max)


@helper
def sum_of(sums, which, c):
    """The sum over the groups of number `which` of channel c."""
    total = np.int64(0)
    for g in range(sums.shape[0]):
        total += sums[g, which, c]
    return total


@kernel
def l2_statistics(sums, count, out):
    """out[0] = the mean, out[1] = the standard deviation."""
    rows = np.int64(count)
    for c in range(sums.shape[2]):
        total = sum_of(sums, 0, c)
        floor = total // rows
        rest = total - floor * rows
        s = sum_of(sums, 1, c) - floor * (total + rest)
        part = rest / rows
        out[0, c] = total / rows
        out[1, c] = np.sqrt(max(s / rows - part * part, 0.0))


@helper
def clipped(x):
    return np.int32(min(max(x, _LEAST), _MOST))


@kernel
def norm_bounds(mean, spread, shift, out):
    """out[0] = ceil(middle), out[1] = ceil(middle - spread), out[2] = floor(middle + spread), clipped to int32."""
    for c in range(mean.size):
        middle = mean[c] - np.float64(shift[c]) * spread[c]
        out[0, c] = clipped(np.ceil(middle))
        out[1, c] = clipped(np.ceil(middle - spread[c]))
        out[2, c] = clipped(np.floor(middle + spread[c]))


@helper
def inverse(spread):
    return np.float32(1 / spread) if spread > 0 else np.float32(0)


@kernel
def l2_factors(sums, mean, spread, count, scale, out):
    """out[0] = slope, out[1] = offset, out[2] = the inverse of spread * scale."""
    rows = np.float64(count)
    for c in range(mean.size):
        total, products = np.float64(sum_of(sums, 0, c)), np.float64(sum_of(sums, 1, c))
        by = np.float64(inverse(spread[c]))
        slope = (products - mean[c] * total) / rows * (by * by)
        out[0, c] = np.float32(slope)
        out[1, c] = np.float32(mean[c] * slope - total / rows)
        out[2, c] = inverse(spread[c] * scale)
