"""Batch norm, average pooling and magnitudes of real values, in plain NumPy.

``x`` is float32. Sums are in float64, row by row; ``sums`` (groups, ...) are parts of a channel's sums, to be added up
group by group. ``half``: what is stored is rounded to float16, else to float32.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.norm_gradients import added
from bitlearn.backends.table import kernel


@kernel(
    split="groups",
    d="int8|int16|float32[groups, rows, channels]",
    x="float32[groups, rows, channels]",
    out="float64[groups, 2, channels]",
    operations={"multiply float64": 1, "add float64": 2},
)
def real_sums(d, x, out):
    """out[g, 0] = sum of d[g], out[g, 1] = sum of d[g] * x[g]; d may be x."""
    out[...] = 0
    for i in range(d.shape[1]):
        wide = d[:, i].astype(np.float64)
        out[:, 0] += wide
        out[:, 1] += wide * x[:, i]


@kernel(
    split="groups",
    x="float32[groups, rows, channels]",
    centre="float64[channels]",
    out="float64[groups, channels]",
    operations={"add float64": 2},
)
def absolute_sums(x, centre, out):
    """out[g] = sum of ``|x[g] - centre|``."""
    out[...] = 0
    for i in range(x.shape[1]):
        out += np.abs(x[:, i] - centre)


def _kept(values, half):
    with np.errstate(over="ignore"):
        return values.astype(np.float16 if half else np.float32).astype(np.float64)


@kernel(
    sums="float64[groups, 2, channels]",
    half=(False, True),
    out="float64[2, channels]",
    operations={"multiply float64": 3, "add float64": 2},
)
def real_statistics(sums, count, half, out):
    """out[0] = the mean, out[1] = the standard deviation, rounded; sums as real_sums gives them of x and x."""
    total, squares = added(sums)
    out[0] = total / count
    with np.errstate(invalid="ignore"):
        # np.maximum would keep NaN on the one side and C on the other: a comparison is the same everywhere.
        variance = squares / count - out[0] * out[0]
        out[1] = _kept(np.sqrt(np.where(variance < 0, 0, variance)), half)


@kernel(
    sums="float64[groups, channels]",
    half=(False, True),
    out="float64[channels]",
    operations={"multiply float64": 1, "add float64": 1},
)
def absolute_mean(sums, count, half, out):
    """out = the sum / count, rounded; sums as absolute_sums gives them."""
    out[...] = _kept(added(sums) / count, half)


@kernel(
    writes="out finite",
    statistics="float64[2, channels]",
    momentum=(0.9,),
    mean="float32[channels]",
    std="float32[channels]",
    out="float32[2, channels]",
    finite="uint8[1]",
    operations={"multiply float32": 2, "add float32": 1},
)
def moved_statistics(statistics, momentum, mean, std, out, finite):
    """out = the running mean and deviation after a batch's; finite = 0 where one of these is not finite, else it stays.

    ``running * momentum + (batch * (1 - momentum))`` in float32.
    """
    with np.errstate(over="ignore"):
        for new, running, value in zip(out, (mean, std), statistics, strict=True):
            new[...] = running * np.float32(momentum) + (value * (1 - momentum)).astype(np.float32)
    if not np.isfinite(out).all():
        finite[0] = 0


@kernel(
    split="batch",
    x="float32[batch, h, w, c]",
    out="float32[batch, out_h, out_w, c]",
    operations=lambda x, height, width, out: {"add float64": x.size, "multiply float64": out.size},
)
def average_pool(x, height, width, out):
    """out = the mean of each window of height x width; windows lie side by side, what does not fill one is left out."""
    total = np.zeros(out.shape)
    for i in range(height):
        for j in range(width):
            total += x[:, i::height, j::width][:, : out.shape[1], : out.shape[2]]
    out[...] = total / (height * width)


@kernel(
    split="batch",
    d="int8|int16|float32[batch, out_h, out_w, c]",
    out="d[batch, h, w, c]",
    operations=lambda d, *rest: {"multiply float32": d.size} if d.dtype.kind == "f" else {},
)
def average_pool_gradient(d, height, width, out):
    """out = d of each window at all its places, 0 outside; of a float32 d, d / (height * width).

    The scale of integers is to be divided.
    """
    out[...] = 0
    value = d / np.float32(height * width) if d.dtype == np.float32 else d
    for i in range(height):
        for j in range(width):
            out[:, i::height, j::width][:, : d.shape[1], : d.shape[2]] = value


@kernel(split="rows", x="float32|float16[rows, n]", out="float32[rows]", operations={"add float64": 1})
def mean_magnitudes(x, out):
    """out[i] = the mean of ``|x[i]|``, added up one by one; 0 of nothing."""
    total = np.zeros(len(out))
    for column in np.abs(x.astype(np.float64)).T:
        total += column
    out[...] = total / max(x.shape[1], 1)


@kernel(
    writes="row_scale out",
    split="rows",
    x="float32[rows, n]",
    limit=(7, 127),
    row_scale="float64[rows]",
    out="int8|int16[rows, n]",
    operations={"multiply float32": 1, "add float32": 3},
)
def quantize_rows(x, limit, row_scale, out):
    """Each row with a step of its own: out[i] = clip(round(x[i] / step), -limit, limit), ties to even, in float32.

    row_scale = step = max |x[i]| / limit, at least the smallest normal number, 1 for a row of zeros; x is finite.
    """
    step = np.abs(x).max(axis=1, initial=0) / np.float32(limit)
    step = np.where(step > 0, np.maximum(step, np.finfo(np.float32).tiny), np.float32(1))
    row_scale[...] = step
    out[...] = np.clip(np.rint(x / step[:, None]), -limit, limit)
