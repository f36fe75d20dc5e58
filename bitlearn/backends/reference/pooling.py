"""Max pooling of integer sums, real values and packed bits, NHWC, in plain NumPy.

Windows of ``window`` rows and columns, ``stride`` apart, all beginning inside the image; those that reach over its
lower or right edge are cut off there. The place of a tap in its window, row by row, has as many bits as ``window *
window - 1`` has: bit planes.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import from_bool, to_bool
from bitlearn.backends.table import kernel


def _taps(x, window, stride, height, width, outside):
    """(window**2, batch, height, width, channels): each place of the windows, row by row."""
    places = [(i, j) for i in range(window) for j in range(window)]
    x = np.pad(x, ((0, 0), (0, window), (0, window), (0, 0)), constant_values=outside)
    return np.stack([x[:, i::stride, j::stride][:, :height, :width] for i, j in places])


def _values(x, window, stride, out):
    """The taps of numbers; of floats -0 counts as +0."""
    least = -np.inf if x.dtype == np.float32 else np.iinfo(x.dtype).min
    return _taps(x, window, stride, *out.shape[1:3], least) + x.dtype.type(0)


@kernel(
    split="batch",
    x="int16|int32|float32[batch, height, width, channels]",
    out="x[batch, out_height, out_width, channels]",
    operations={"add x": 1},
)
def max_pool(x, window, stride, out):
    """out = the largest value of each window, +0 for -0; no x is NaN."""
    out[...] = _values(x, window, stride, out).max(axis=0)


@kernel(
    split="batch",
    x="int16|int32|float32[batch, height, width, channels]",
    out="bits[batch, out_height, out_width, planes, channels]",
    operations={"add x": 1},
)
def max_pool_places(x, window, stride, out):
    """Bit plane p of the first place of each window that holds the largest value; no x is NaN."""
    first = _values(x, window, stride, out).argmax(axis=0)
    for p in range(out.shape[3]):
        from_bool((first >> p & 1).astype(bool), out[:, :, :, p])


@kernel(
    split="batch",
    d="int8|int16|float32[batch, out_height, out_width, channels]",
    places="bits[batch, out_height, out_width, planes, channels]",
    out="int8|int16|float32|int32[batch, height, width, channels]",
    operations={"add out": 1},
)
def max_pool_gradient(d, places, window, stride, out):
    """out = d of each window at its place, added up where windows overlap, in int32 for integers; 0 elsewhere."""
    bits = to_bool(places, d.shape[-1])
    first = np.zeros(d.shape, dtype=np.int64)
    for p in range(places.shape[3]):
        first |= bits[..., p, :].astype(np.int64) << p
    out[...] = 0
    for index in range(window * window):
        i, j = divmod(index, window)
        view = out[:, i::stride, j::stride][:, : d.shape[1], : d.shape[2]]
        view += np.where(first == index, d, 0).astype(out.dtype)[:, : view.shape[1], : view.shape[2]]


@kernel(
    split="batch",
    x="uint64[batch, height, width, channels]",
    out="uint64[batch, out_height, out_width, channels]",
    operations=lambda x, *rest: {"add int64": x.size},
)
def bit_pool(x, window, stride, out):
    """out = the OR of each window's words."""
    out[...] = np.bitwise_or.reduce(_taps(x, window, stride, *out.shape[1:3], 0), axis=0)


@kernel(
    split="batch",
    x="uint64[batch, height, width, channels]",
    out="uint64[batch, out_height, out_width, planes, channels]",
    operations=lambda x, *rest: {"add int64": x.size},
)
def bit_pool_places(x, window, stride, out):
    """Bit plane p of the first place of each window that has the bit set, 0 where none has."""
    seen = np.zeros_like(out[:, :, :, 0]) if out.shape[3] else None
    out[...] = 0
    for index, tap in enumerate(_taps(x, window, stride, *out.shape[1:3], 0)):
        if seen is None:
            return
        first = tap & ~seen
        seen |= tap
        for p in range(out.shape[3]):
            if index >> p & 1:
                out[:, :, :, p] |= first
