"""A channel's sums made into statistics, bounds and factors of batch norm, in float64, one operation at a time."""

from __future__ import annotations

import numpy as np

_INT32 = np.iinfo(np.int32)


def l2_statistics(sums, count, out):
    """out[0] = the mean, out[1] = the standard deviation; sums (groups, 2, c) int64, out (2, c) float64.

    ``variance = sum (y - m)**2 / count - (mean - m)**2`` with ``m = floor(mean)``: what is subtracted is below 1, where
    the square of the mean itself would leave no digits of a spread much smaller than it.
    """
    total, squares = sums.sum(axis=0)
    floor, rest = np.divmod(total, count)
    squares = squares - floor * (total + rest)
    out[0] = total / count
    out[1] = np.sqrt(np.maximum(squares / count - (rest / count) * (rest / count), 0))


def norm_bounds(mean, spread, shift, out):
    """out[0] = ceil(middle), out[1] = ceil(middle - spread), out[2] = floor(middle + spread), clipped to int32.

    ``middle = mean - shift * spread``; mean and spread (c,) float64, shift (c,) float32, out (3, c) int32.
    """
    middle = mean - shift.astype(np.float64) * spread
    bounds = np.ceil(middle), np.ceil(middle - spread), np.floor(middle + spread)
    out[...] = np.clip(bounds, _INT32.min, _INT32.max)


def _inverse(spread):
    with np.errstate(over="ignore"):
        return np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0).astype(np.float32)


def l2_factors(sums, mean, spread, count, scale, out):
    """out[0] = slope, out[1] = offset, out[2] = the inverse of spread * scale.

    ``slope = (products - mean * total) / count / spread**2`` and ``offset = mean * slope - total / count``; sums
    (groups, 2, c) int64 of the gradient and of its products, mean and spread (c,) float64, out (3, c) float32.
    """
    total, products = sums.sum(axis=0)
    inverse = _inverse(spread).astype(np.float64)
    slope = (products - mean * total) / count * (inverse * inverse)
    out[0], out[1] = slope, mean * slope - total / count
    out[2] = _inverse(spread * scale)


KERNELS = {function.__name__: function for function in (l2_statistics, norm_bounds, l2_factors)}
