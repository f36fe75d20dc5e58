"""Kernels of a batch norm's gradient: sums of a gradient, factors of a channel, and the gradient of the sums."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import to_bool
from bitlearn.backends.reference.norms import LARGEST_SCALE, inverse
from bitlearn.backends.table import kernel


def _kept(d, mask):
    return np.where(to_bool(mask, d.shape[-1]), d, d.dtype.type(0)) if len(mask) else d


def _of_gradient_sums(d, mask, x, out):
    """Two additions for each value; a multiplication where x is no bit."""
    sums = {f"add {out.dtype.name}": 2 * d.size}
    return sums if x.dtype == np.uint64 else sums | {f"multiply {out.dtype.name}": d.size}


@kernel(
    split="groups",
    d="int8|int16|float32[groups, rows, channels]",
    mask="bits[groups, rows, channels]?",
    x="int16|int32|bits[groups, rows, channels]",
    out="int64|int64|float64[groups, 2, channels] by d",
    operations=_of_gradient_sums,
)
def gradient_sums(d, mask, x, out):
    """out[g, 0] = sum of d[g], out[g, 1] = sum of d * x, or of d where the bit of x is set; d is 0 off its mask.

    Of a float32 d, it is summed row by row.
    """
    wide = out.dtype
    kept = _kept(d, mask).astype(wide)
    factors = to_bool(x, d.shape[-1]) if x.dtype == np.uint64 else x
    out[...] = 0
    for i in range(d.shape[1]):
        out[:, 0] += kept[:, i]
        out[:, 1] += kept[:, i] * factors[:, i]


@kernel(
    sums="int64|float64[groups, 2, channels]",
    scale="float64[1]",
    out="float32[channels]",
    operations={"multiply float64": 1, "add sums": 1},
)
def bias_gradient(sums, scale, out):
    """out = the sum of the gradient times `scale`; sums as gradient_sums gives them."""
    out[...] = (added(sums)[0] * scale[0]).astype(np.float32)


def added(sums):
    """Parts of sums, added one by one."""
    total = np.zeros(sums.shape[1:], dtype=sums.dtype)
    for part in sums:
        total += part
    return total


@kernel(
    sums="int64|float64[groups, 2, channels]",
    statistics="float64[2, channels]",
    scale=(1.0, 2.0**-7),
    out="float32[3, channels]",
    operations={"multiply float64": 3, "add float64": 2},
)
def l2_factors(sums, statistics, count, scale, out):
    """What norm_gradient takes after a standard deviation: the slope, the offset, the inverse of std * scale.

    ``slope = (products - mean * total) / count / std**2`` and ``offset = mean * slope - total / count``; sums as
    gradient_sums gives them with the sums as x.
    """
    (total, products), (mean, std) = added(sums), statistics
    by = inverse(std).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        slope = (products - mean * total) / count * (by * by)
        out[0], out[1] = slope, mean * slope - total / count
    out[2] = inverse(std * scale)


@kernel(
    sums="int64|float64[groups, 2, channels]",
    magnitude="float64[channels]",
    statistics="float64[2, channels]",
    scale=(1.0, 2.0**-7),
    out="float32[3, channels]",
    operations={"multiply float64": 2, "add float64": 2},
)
def l1_factors(sums, magnitude, statistics, count, scale, out):
    """What norm_gradient takes after a mean deviation, by arXiv 2102.04270: at +1, at -1, the inverse of std * scale.

    ``dy = v - mean(v) - s * mean(v * s) * magnitude`` with the stored signs s times the mean magnitude in place of
    the real x. sums as gradient_sums gives them with the signs as x.
    """
    total, upper = added(sums)
    correction = (2 * upper - total) * magnitude
    out[0] = -(total + correction) / count
    out[1] = -(total - correction) / count
    out[2] = inverse(statistics[1] * scale)


@kernel(
    sums="int64|float64[groups, 2, channels]",
    above="int64[above_groups, 2, channels]",
    statistics="float64[2, channels]",
    scale=(1.0, 2.0**-7),
    out="float32[3, channels]",
    operations={"multiply float64": 3, "add float64": 3},
)
def l1_exact_factors(sums, above, statistics, count, scale, out):
    """What norm_gradient takes after a mean deviation, exactly: at +1, at -1, the inverse of std * scale.

    ``dy = v - mean(v) - (s - mean(s)) * mean(v * x)`` with s the sign of y - mean. sums as gradient_sums gives them
    with the sums as x; above as channel_sums_above gives them of the bound of s.
    """
    (total, products), (mean, std) = added(sums), statistics
    share = (2 * above.sum(axis=0)[1] - count) / count
    slope = (products - mean * total) / count * inverse(std).astype(np.float64)
    out[0] = -total / count - (1 - share) * slope
    out[1] = -total / count + (1 + share) * slope
    out[2] = inverse(std * scale)


def _norm_gradient(d, mask, x, factors):
    """(e + d) * factor, e = second - x * first, or where x is packed: first at +1, second at -1."""
    first, second, factor = factors
    if x.dtype == np.uint64:
        e = np.where(to_bool(x, d.shape[-1]), first, second)
    else:
        e = second - x.astype(np.float32) * first
    return (e + _kept(d, mask).astype(np.float32)) * factor


def _of_norm_gradient(d, mask, x, factors, *rest):
    """Of the gradient itself, and a comparison or a rounding to a step."""
    bits = x.dtype == np.uint64
    return {"multiply float32": (1 if bits else 2) * d.size, "add float32": (2 if bits else 3) * d.size}


@kernel(
    split="groups",
    d="int8|int16[groups, rows, channels]",
    mask="bits[groups, rows, channels]?",
    x="int16|int32|float32|bits[groups, rows, channels]",
    factors="float32[3, channels]",
    out="float32[groups]",
    operations=_of_norm_gradient,
)
def norm_gradient_peak(d, mask, x, factors, out):
    """out[g] = the largest magnitude of the gradient after a batch norm, not finite where one is not."""
    with np.errstate(over="ignore", invalid="ignore"):
        out[...] = np.abs(_norm_gradient(d, mask, x, factors)).max(axis=(1, 2), initial=0)


@kernel(
    writes="step out",
    peaks="float32[groups]",
    scale="float64[1]",
    step="float32[1]",
    out="float64[1]",
    operations={"add float32": 1},
)
def norm_step(peaks, limit, scale, step, out):
    """step = the largest peak / limit, at least the smallest normal number, 1 for a peak of 0; out = scale * step.

    out is `LARGEST_SCALE` at most: a gradient that is larger is scaled down, so that nothing after it can be infinite;
    and where a peak is not finite.
    """
    found = peaks.max(initial=0) / np.float32(limit)
    step[0] = max(found, np.finfo(np.float32).tiny) if found else 1
    out[0] = scale[0] * np.float64(step[0])
    if not out[0] <= LARGEST_SCALE:
        out[0] = LARGEST_SCALE


@kernel(
    split="rows",
    d="int8|int16|float32[rows, channels]",
    mask="bits[rows, channels]?",
    x="int16|int32|float32|bits[rows, channels]",
    factors="float32[3, channels]",
    step="float32[1]",
    out="d[rows, channels]",
    operations=_of_norm_gradient,
)
def norm_gradient(d, mask, x, factors, step, limit, out):
    """out = clip(round(gradient / step), -limit, limit), ties to even; of a float32 d the gradient itself.

    out may be d.
    """
    dy = _norm_gradient(d, mask, x, factors)
    if d.dtype == np.float32:
        out[...] = dy
    else:
        out[...] = np.clip(np.rint(dy / step[0]), -limit, limit)
