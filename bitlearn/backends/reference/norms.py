"""Batch norm with a standard deviation, some passes in a call: for few rows, where calls are what it costs."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.channels import l2_factors, l2_statistics, norm_bounds
from bitlearn.backends.reference.passes import (
    channel_sums,
    gradient_sums,
    norm_gradient,
    norm_gradient_peak,
    sign_pass,
)


def batch_statistics(y, scale, momentum, mean, spread, out, finite):
    """out[0] = the mean, out[1] = the deviation, rounded to float32 as `scale` times it; the running ones move.

    ``running = running * momentum + (batch * scale * (1 - momentum))`` in float32; where a value is not finite, finite
    = 0 and they stay. y (rows, c), mean and spread (c,) float32, out (2, c) float64, finite (1,) uint8.
    """
    sums = np.empty((1, 2, y.shape[1]), dtype=np.int64)
    channel_sums(y[None], sums)
    l2_statistics(sums, len(y), out)
    kept = (out[1] * scale).astype(np.float32).astype(np.float64)
    out[1] = kept / scale
    moved = [
        running * np.float32(momentum) + (value * (1 - momentum)).astype(np.float32)
        for running, value in ((mean, out[0] * scale), (spread, kept))
    ]
    finite[0] = np.isfinite(moved).all()
    if finite[0]:
        mean[...], spread[...] = moved


def norm_signs(y, mean, spread, shift, bounds, out):
    """`norm_bounds` to bounds (3, c), and `sign_pass` with them to out."""
    norm_bounds(mean, spread, shift, bounds)
    sign_pass(y, *bounds, out)


def batch_gradient(d, passes, x, mean, spread, scale, worth, limit, factors, shift, step, out):
    """`gradient_sums`, `l2_factors` to factors (3, c), `norm_gradient_peak`, and with its step `norm_gradient` to out.

    shift (c,) = the sums of d times `worth` in float32; step (1,) = peak / limit, at least the smallest normal number,
    1 for a peak of 0, not finite where the peak is not, and then out stays.
    """
    sums = np.empty((1, 2, d.shape[1]), dtype=np.int64)
    gradient_sums(d[None], passes[None], x[None], sums)
    with np.errstate(over="ignore", invalid="ignore"):
        l2_factors(sums, mean, spread, len(d), scale, factors)
    shift[...] = sums[0, 0] * worth
    norm_gradient_peak(d[None], passes[None], x[None], *factors, step)
    if not np.isfinite(step[0]):
        return
    step[0] = max(step[0] / np.float32(limit), np.finfo(np.float32).tiny) if step[0] else 1
    norm_gradient(d, passes, x, *factors, step[0], limit, out)


KERNELS = {function.__name__: function for function in (batch_statistics, norm_signs, batch_gradient)}
