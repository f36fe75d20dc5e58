"""Batch norm on integer sums: its statistics, its sign and its gradient, in plain NumPy.

``y`` and ``x`` are int16 or int32 sums, or where that is said real values (see `reals`) or packed signs; ``d`` is a
gradient, int8, int16 or float32. ``statistics`` (2, c) float64 are a batch's mean and standard (or mean absolute)
deviation, in units of y. ``sums`` (groups, 2, c) are parts of a channel's sums, to be added up. A ``mask`` without rows
passes everything. Sums of integers are exact, those of float32 are in float64, row by row; other floats are float32
where nothing else is said, one operation at a time in the order written.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import from_bool, to_bool
from bitlearn.backends.table import kernel

_INT32 = np.iinfo(np.int32)
#: The largest scale of a gradient between the layers: sums of its codes, and their squares, stay finite in float32.
LARGEST_SCALE = 2.0**30


@kernel(
    split="groups",
    y="int16|int32[groups, rows, channels]",
    out="int64[groups, 2, channels]",
    operations={"multiply int32": 1, "add int64": 2},
)
def channel_sums(y, out):
    """out[g, 0] = sum over the rows of y[g], out[g, 1] = sum of squares."""
    wide = y.astype(np.int64)
    out[:, 0] = wide.sum(axis=1)
    out[:, 1] = (wide * wide).sum(axis=1)


@kernel(
    split="groups",
    y="int16|int32[groups, rows, channels]",
    bound="int32[channels]",
    out="int64[groups, 2, channels]",
    operations={"add int32": 1, "add int64": 2},
)
def channel_sums_above(y, bound, out):
    """out[g, 0] = sum of those y[g] that are >= bound, out[g, 1] = their number."""
    above = y >= bound
    out[:, 0] = np.where(above, y, 0).sum(axis=1, dtype=np.int64)
    out[:, 1] = above.sum(axis=1)


@kernel(sums="int64[groups, 2, channels]", out="int32[channels]", operations={"add int64": 1})
def mean_bounds(sums, count, out):
    """out = the least integer above the mean, floor(mean) + 1; sums as channel_sums gives them."""
    out[...] = sums[:, 0].sum(axis=0) // count + 1


@kernel(
    writes="out moved finite",
    sums="int64[groups, 2, channels]",
    above="int64[above_groups, 2, channels]",
    scale=(1.0,),
    momentum=(0.9,),
    half=(False, True),
    mean="float32[channels]",
    std="float32[channels]",
    out="float64[2, channels]",
    moved="float32[2, channels]",
    finite="uint8[1]",
    operations={"multiply float64": 4, "add float64": 3},
)
def batch_statistics(sums, above, count, scale, momentum, half, mean, std, out, moved, finite):
    """out = the batch's statistics, moved = the running ones after it; finite = 0 where one of these is not finite.

    sums as channel_sums gives them, of `count` rows. Where `above` has no groups, out[1] is the standard deviation:
    ``variance = sum (y - m)**2 / count - (mean - m)**2`` with ``m = floor(mean)``; what is subtracted is below 1, where
    the square of the mean itself would leave no digits of a deviation much smaller than it. Else above are
    channel_sums_above of mean_bounds, and out[1] is the mean absolute deviation, twice the mean of what exceeds the
    mean. It is rounded as `scale` (a power of two) times it, to float16 where `half`, else to float32. moved =
    ``running * momentum + (batch * scale * (1 - momentum))`` in float32; mean and std are the running ones. finite
    stays where all is finite.
    """
    total, squares = sums.sum(axis=0)
    floor, rest = np.divmod(total, count)
    out[0] = total / count
    if len(above):
        upper, terms = above.sum(axis=0)
        deviation = np.maximum((upper - floor * terms) - terms * (rest / count), 0) * (2.0 / count)
    else:
        squares = squares - floor * (total + rest)
        deviation = np.sqrt(np.maximum(squares / count - (rest / count) * (rest / count), 0))
    with np.errstate(over="ignore"):
        kept = (deviation * scale).astype(np.float16 if half else np.float32).astype(np.float64)
    out[1] = kept / scale
    for new, running, value in zip(moved, (mean, std), (out[0] * scale, kept), strict=True):
        new[...] = running * np.float32(momentum) + (value * (1 - momentum)).astype(np.float32)
    if not np.isfinite(moved).all():
        finite[0] = 0


@kernel(
    writes="out finite",
    statistics="float64[2, channels]",
    bias="float32[channels]",
    out="int32[3, channels]",
    finite="uint8[1]",
    operations={"multiply float64": 1, "add float64": 1},
)
def norm_bounds(statistics, bias, out, finite):
    """out[0] = ceil(middle), out[1] = ceil(middle - std), out[2] = floor(middle + std), clipped to int32.

    ``middle = mean - bias * std``; finite = 0 where a bias or a statistic is not finite, and then out is anything.
    """
    mean, std = statistics
    with np.errstate(invalid="ignore", over="ignore"):
        middle = mean - bias.astype(np.float64) * std
        bounds = np.ceil(middle), np.ceil(middle - std), np.floor(middle + std)
    if not (np.isfinite(statistics).all() and np.isfinite(bias).all()):
        finite[0] = 0
        return
    out[...] = np.clip(bounds, _INT32.min, _INT32.max)


@kernel(
    writes="signs mask",
    split="rows",
    y="int16|int32[rows, channels]",
    bounds="int32[3, channels]",
    signs="bits[rows, channels]",
    mask="bits[rows, channels]",
    operations={"add int32": 3},
)
def norm_signs(y, bounds, signs, mask):
    """Bits signs[i] = y[i] >= bounds[0], mask[i] = bounds[1] <= y[i] <= bounds[2]."""
    from_bool(y >= bounds[0], signs)
    from_bool((y >= bounds[1]) & (y <= bounds[2]), mask)


@kernel(
    sums="int64[groups, 2, channels]",
    above="int64[above_groups, 2, channels]",
    statistics="float64[2, channels]",
    bias="float32[channels]",
    half=(False, True),
    out="float64[channels]",
    operations={"multiply float64": 2, "add float64": 2},
)
def mean_magnitude(sums, above, count, statistics, bias, half, out):
    """out = the mean of ``|x|``, x = (y - mean) / std + bias, 1 where std is 0; rounded to float16 or float32.

    ``count * std * out = sum_{x >= 0} (y - t) + sum_{x < 0} (t - y)`` with ``t = mean - bias * std``. sums are those of
    y, above are channel_sums_above of norm_bounds' first.
    """
    mean, std = statistics
    total, (upper, terms) = sums[:, 0].sum(axis=0), above.sum(axis=0)
    bound = mean - bias.astype(np.float64) * std
    magnitude = (2 * upper - total) - bound * (2 * terms - count)
    found = np.divide(magnitude, count * std, out=np.ones_like(std), where=std > 0)
    with np.errstate(over="ignore"):
        out[...] = found.astype(np.float16 if half else np.float32)


@kernel(
    sums="int64[groups, 2, channels]",
    above="int64[above_groups, 2, channels]",
    statistics="float64[2, channels]",
    half=(False, True),
    out="float64[2, channels]",
    operations={"multiply float64": 4, "add float64": 2},
)
def side_means(sums, above, count, statistics, half, out):
    """out = the means of x = (y - mean) / std, of the values above the bound and of the others; as float16 or float32.

    0 where there are none, or std is 0. sums are those of y, above are channel_sums_above of norm_bounds' first.
    """
    mean, std = statistics
    total, (upper, terms) = sums[:, 0].sum(axis=0), above.sum(axis=0)
    for side, (part, size) in enumerate(((upper, terms), (total - upper, count - terms))):
        found = np.divide(part - size * mean, size * std, out=np.zeros_like(std), where=(size > 0) & (std > 0))
        with np.errstate(over="ignore"):
            out[side] = found.astype(np.float16 if half else np.float32)


def _inverse(std):
    with np.errstate(over="ignore"):
        return np.divide(1.0, std, out=np.zeros_like(std), where=std > 0).astype(np.float32)


@kernel(statistics="float64[2, channels]", out="float32[2, channels]", operations={"multiply float64": 1})
def mean_inverse(statistics, out):
    """out[0] = the mean, out[1] = 1 / std, and 0 where std is 0: such a channel has no gradient."""
    out[0] = statistics[0]
    out[1] = _inverse(statistics[1])


@kernel(
    split="rows",
    y="int16|int32|float32[rows, channels]",
    scale=(1.0, 0.1, 2.0**-7),
    centre="float32[2, channels]",
    bias="float32[channels]",
    out="float32[rows, channels]",
    operations={"multiply float32": 3, "add float32": 2},
)
def norm_values(y, scale, centre, bias, out):
    """out = (y * scale - centre[0]) * centre[1] + bias; centre as mean_inverse has it."""
    out[...] = (y.astype(np.float32) * np.float32(scale) - centre[0]) * centre[1] + bias


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
    inverse = _inverse(std).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        slope = (products - mean * total) / count * (inverse * inverse)
        out[0], out[1] = slope, mean * slope - total / count
    out[2] = _inverse(std * scale)


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
    out[2] = _inverse(statistics[1] * scale)


@kernel(
    sums="int64|float64[groups, 2, channels]",
    sides="float64[2, channels]",
    statistics="float64[2, channels]",
    scale=(1.0, 2.0**-7),
    out="float32[3, channels]",
    operations={"multiply float64": 6, "add float64": 4},
)
def l1_centred_factors(sums, sides, statistics, count, scale, out):
    """What norm_gradient takes after a mean deviation, from two means of a channel: at +1, at -1, the inverse.

    ``dy = v - mean(v) - 2 / (a - b) * x * mean(v * x)`` with a and b, the means of the values at +1 and at -1 as
    side_means has them, in place of x: the exact gradient's signs less their mean are ``2 / (a - b) * x``. Nothing but
    ``v - mean(v)`` where they do not differ. sums as gradient_sums gives them with the signs as x.
    """
    total, upper = added(sums)
    apart = sides[0] - sides[1]
    products = sides[0] * upper + sides[1] * (total - upper)
    slope = np.divide(2 * products, apart, out=np.zeros_like(apart), where=apart > 0)
    out[0] = -(total + slope * sides[0]) / count
    out[1] = -(total + slope * sides[1]) / count
    out[2] = _inverse(statistics[1] * scale)


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
    slope = (products - mean * total) / count * _inverse(std).astype(np.float64)
    out[0] = -total / count - (1 - share) * slope
    out[1] = -total / count + (1 + share) * slope
    out[2] = _inverse(std * scale)


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
