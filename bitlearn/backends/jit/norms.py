"""Batch norm with a standard deviation, some passes in a call: for few rows, where calls are what it costs."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.channels import l2_factors, l2_statistics, norm_bounds
from bitlearn.backends.jit.compilation import kernel
from bitlearn.backends.jit.passes import channel_sums, gradient_sums, norm_gradient, norm_gradient_peak, sign_pass

_SMALLEST = np.finfo(np.float32).tiny


@kernel
def batch_statistics(y, scale, momentum, mean, spread, out, finite):
    """out[0] = the mean, out[1] = the deviation, rounded to float32 as `scale` times it; the running ones move."""
    sums = np.empty((1, 2, y.shape[1]), dtype=np.int64)
    channel_sums(y.reshape(1, *y.shape), sums)
    l2_statistics(sums, y.shape[0], out)
    kept, rest = np.float32(momentum), 1 - momentum
    finite[0] = 1
    for c in range(y.shape[1]):
        out[1, c] = np.float64(np.float32(out[1, c] * scale)) / scale
    for writes in range(2):
        for c in range(y.shape[1]):
            new_mean = np.float32(mean[c] * kept) + np.float32(out[0, c] * scale * rest)
            new_spread = np.float32(spread[c] * kept) + np.float32(out[1, c] * scale * rest)
            if writes:
                mean[c], spread[c] = new_mean, new_spread
            elif not (np.isfinite(new_mean) and np.isfinite(new_spread)):
                finite[0] = 0
                return


@kernel
def norm_signs(y, mean, spread, shift, bounds, out):
    """`norm_bounds` to bounds (3, c), and `sign_pass` with them to out."""
    norm_bounds(mean, spread, shift, bounds)
    sign_pass(y, bounds[0], bounds[1], bounds[2], out)


@kernel
def batch_gradient(d, passes, x, mean, spread, scale, worth, limit, factors, shift, step, out):
    """`gradient_sums`, `l2_factors` to factors (3, c), `norm_gradient_peak`, and with its step `norm_gradient`."""
    sums = np.empty((1, 2, d.shape[1]), dtype=np.int64)
    whole = d.reshape(1, *d.shape), passes.reshape(1, *passes.shape), x.reshape(1, *x.shape)
    gradient_sums(whole[0], whole[1], whole[2], sums)
    l2_factors(sums, mean, spread, d.shape[0], scale, factors)
    for c in range(d.shape[1]):
        shift[c] = np.float32(np.float64(sums[0, 0, c]) * worth)
    norm_gradient_peak(whole[0], whole[1], whole[2], factors[0], factors[1], factors[2], step)
    if not np.isfinite(step[0]):
        return
    step[0] = max(np.float32(step[0] / np.float32(limit)), _SMALLEST) if step[0] > 0 else np.float32(1)
    norm_gradient(d, passes, x, factors[0], factors[1], factors[2], np.float64(step[0]), limit, out)
