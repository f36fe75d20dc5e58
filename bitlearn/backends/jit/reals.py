"""Batch norm, average pooling and magnitudes of real values."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import for_numbers, kernel
from bitlearn.backends.jit.floats import clipped, from_float16, kept, rounded
from bitlearn.backends.jit.norms import sum_of

_SMALLEST = np.finfo(np.float32).tiny


@kernel
def real_sums(d, x, out):
    """out[g, 0] = sum of d[g], out[g, 1] = sum of d[g] * x[g]."""
    out[:] = 0
    for g in range(d.shape[0]):
        for i in range(d.shape[1]):
            for c in range(d.shape[2]):
                value = np.float64(d[g, i, c])
                out[g, 0, c] += value
                out[g, 1, c] += value * np.float64(x[g, i, c])


@kernel
def absolute_sums(x, centre, out):
    """out[g] = sum of |x[g] - centre|."""
    out[:] = 0
    for g in range(x.shape[0]):
        for i in range(x.shape[1]):
            for c in range(x.shape[2]):
                out[g, c] += abs(np.float64(x[g, i, c]) - centre[c])


@kernel
def real_statistics(sums, count, half, out):
    """out[0] = the mean, out[1] = the standard deviation, rounded."""
    rows = np.float64(count)
    for c in range(out.shape[1]):
        mean = sum_of(sums, 0, c) / rows
        variance = sum_of(sums, 1, c) / rows - mean * mean
        out[0, c] = mean
        out[1, c] = kept(np.sqrt(0.0 if variance < 0 else variance), half)


@kernel
def absolute_mean(sums, count, half, out):
    """out = the sum / count, rounded."""
    for c in range(out.size):
        total = 0.0
        for g in range(sums.shape[0]):
            total += sums[g, c]
        out[c] = kept(total / np.float64(count), half)


@kernel
def moved_statistics(statistics, momentum, mean, std, out, finite):
    """out = the running mean and deviation after a batch's; finite = 0 where one of these is not finite."""
    share, rest = np.float32(momentum), 1 - momentum
    for c in range(out.shape[1]):
        out[0, c] = mean[c] * share + np.float32(statistics[0, c] * rest)
        out[1, c] = std[c] * share + np.float32(statistics[1, c] * rest)
        if not (np.isfinite(out[0, c]) and np.isfinite(out[1, c])):
            finite[0] = 0


@kernel
def average_pool(x, height, width, out):
    """out = the mean of each window."""
    count, total = np.float64(height * width), np.empty(x.shape[3])
    for b in range(out.shape[0]):
        for r in range(out.shape[1]):
            for s in range(out.shape[2]):
                total[:] = 0
                for i in range(r * height, (r + 1) * height):
                    for j in range(s * width, (s + 1) * width):
                        for c in range(total.size):
                            total[c] += np.float64(x[b, i, j, c])
                for c in range(total.size):
                    out[b, r, s, c] = np.float32(total[c] / count)


@kernel
def average_pool_gradient(d, height, width, out):
    """out = d of each window at all its places, 0 outside; of a float32 d, d / (height * width)."""
    kind = d.dtype.type
    count = np.float32(height * width if kind(0.5) else 1)
    out[:] = 0
    for b in range(d.shape[0]):
        for i in range(d.shape[1] * height):
            for j in range(d.shape[2] * width):
                for c in range(d.shape[3]):
                    out[b, i, j, c] = kind(np.float32(d[b, i // height, j // width, c]) / count)


@kernel
def mean_magnitudes_of_halves(x, out):
    """As `mean_magnitudes` for float16."""
    for i in range(x.shape[0]):
        total = 0.0
        for j in range(x.shape[1]):
            total += np.float64(abs(from_float16(x[i, j])))
        out[i] = np.float32(total / max(x.shape[1], 1))


@for_numbers(mean_magnitudes_of_halves)
@kernel
def mean_magnitudes(x, out):
    """out[i] = the mean of |x[i]|, added up one by one; 0 of nothing."""
    for i in range(x.shape[0]):
        total = 0.0
        for j in range(x.shape[1]):
            total += np.float64(abs(x[i, j]))
        out[i] = np.float32(total / max(x.shape[1], 1))


@kernel
def quantize_rows(x, limit, row_scale, out):
    """Each row with a step of its own: out[i] = clip(round(x[i] / step), -limit, limit), ties to even."""
    most = np.float32(limit)
    for i in range(x.shape[0]):
        peak = np.float32(0)
        for j in range(x.shape[1]):
            peak = max(peak, abs(x[i, j]))
        step = peak / most
        step = max(step, _SMALLEST) if step > 0 else np.float32(1)
        row_scale[i] = step
        for j in range(x.shape[1]):
            out[i, j] = rounded(clipped(x[i, j] / step, most))
