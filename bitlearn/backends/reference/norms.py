"""Batch norm on integer sums: its statistics, its sign and its gradient, in plain NumPy.

``y`` and ``x`` are int16 or int32 sums, or where that is said real values (see `reals`) or packed signs; ``d`` is a
gradient, int8, int16 or float32. ``statistics`` (2, c) float64 are a batch's mean and standard (or mean absolute)
deviation, in units of y. ``sums`` (groups, 2, c) are parts of a channel's sums, to be added up. A ``mask`` without rows
passes everything. Sums of integers are exact, those of float32 are in float64, row by row; other floats are float32
where nothing else is said, one operation at a time in the order written.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import from_bool
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
    clip=(1.0, 1.25),
    out="int32[3, channels]",
    finite="uint8[1]",
    operations={"multiply float64": 2, "add float64": 3},
)
def norm_bounds(statistics, bias, clip, out, finite):
    """out[0] = ceil(middle), out[1] = ceil(middle - width), out[2] = floor(middle + width), clipped to int32.

    ``middle = mean - bias * std`` and ``width = clip * std``; finite = 0 where a bias or a statistic is not finite, and
    then out is anything.
    """
    mean, std = statistics
    with np.errstate(invalid="ignore", over="ignore"):
        middle, width = mean - bias.astype(np.float64) * std, clip * std
        bounds = np.ceil(middle), np.ceil(middle - width), np.floor(middle + width)
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


def inverse(std):
    with np.errstate(over="ignore"):
        return np.divide(1.0, std, out=np.zeros_like(std), where=std > 0).astype(np.float32)


@kernel(statistics="float64[2, channels]", out="float32[2, channels]", operations={"multiply float64": 1})
def mean_inverse(statistics, out):
    """out[0] = the mean, out[1] = 1 / std, and 0 where std is 0: such a channel has no gradient."""
    out[0] = statistics[0]
    out[1] = inverse(statistics[1])


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
