"""Integers quantized anew: exact sums of a product for what comes next, and a gradient to fewer bits for a product."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from bitlearn.arena import track
from bitlearn.ops.dispatch import run
from bitlearn.ops.quantize import Quantized, alone, by_channel, channel_magnitudes, linear_codes
from bitlearn.rng import Key
from bitlearn.workspace import empty

_SUMS = (np.dtype(np.int32), np.dtype(np.int64))
#: Exact sums that are formed at a time where they are quantized row by row: 4 MiB of int64.
_SUMS_AT_A_TIME = 2**19


def requantize(values: np.ndarray, scale: float | np.ndarray, bits: int) -> Quantized:
    """Quantize exact integer sums, worth `scale` each, to `bits` with one symmetric scale.

    Integers that fit are kept as they are. The quotients are in float64, exact for sums below 2**53. Scales of the
    first axis, (rows, 1, ...), become one: the largest product of a sum and its scale gets the largest code.

    Examples
    --------
    >>> requantize(np.array([90, -200]), 0.5, 8).values.tolist()
    [57, -127]
    >>> requantize(np.array([[90], [-200]]), np.array([[1.0], [0.25]]), 8).values.tolist()
    [[127], [-71]]
    """
    limit = 2 ** (bits - 1) - 1
    rows = np.ndim(scale) > 0
    if not rows and values.dtype in _SUMS and alone(values.size):
        # One call, not two: on a small layer a call costs as much as its work.
        codes, step = empty(values.shape, np.int8 if bits <= 8 else np.int16), np.empty(1)
        run("requantize", (np.ascontiguousarray(values).reshape(-1), limit, step, codes.reshape(-1)))
        return Quantized(codes, scale if step[0] == 1 else scale * float(step[0]), 0, bits)
    whole = by_channel(np.ascontiguousarray(values), 0 if rows else None)
    largest = channel_magnitudes(whole)
    if rows:
        worth = np.asarray(scale, dtype=np.float64).reshape(-1)
        most = float((largest * worth).max(initial=0.0))
        new = most / limit if most > 0 else 1.0
        steps = new / worth
    else:
        step = int(largest[0]) / limit
        if step <= 1:
            return Quantized(values.astype(np.int8 if bits <= 8 else np.int16), scale, 0, bits)
        new, steps = scale * step, np.array([step])
    codes = linear_codes(whole, steps, np.zeros(len(steps), dtype=np.int64), -limit, limit, None)
    return Quantized(codes.reshape(values.shape), new, 0, bits)


def rows_at_a_time(values: int) -> int:
    """Return how many rows of so many sums are formed at a time by `requantize_rows`."""
    return max(1, _SUMS_AT_A_TIME // max(values, 1))


def requantize_rows(
    product: Callable[[slice, np.ndarray], object],
    shape: tuple[int, ...],
    kind: DTypeLike,
    scale: float | np.ndarray,
    bits: int,
) -> Quantized:
    """Quantize exact integer sums that are formed a few rows at a time, so that they are never whole.

    ``product(rows, out)`` writes the sums of some rows, of type `kind`, worth `scale` each, a scalar or (rows, 1, ...).
    A row first gets codes with a step of its own, ``max(max|sums| / (2**(bits - 1) - 1), 1)``; then all get the largest
    row's: a code of another row is rounded twice.

    Examples
    --------
    >>> sums = np.array([[90, -200], [300, 7]])
    >>> def product(rows, out):
    ...     out[...] = sums[rows]
    >>> requantize_rows(product, sums.shape, np.int64, 0.5, 8).values.tolist()
    [[38, -85], [127, 3]]
    """
    limit, rows = 2 ** (bits - 1) - 1, shape[0]
    codes = empty(shape, np.int8 if bits <= 8 else np.int16)
    worth = np.broadcast_to(np.asarray(scale, dtype=np.float64).reshape(-1), rows).copy()
    zeros = np.zeros(rows, dtype=np.int64)
    count = rows_at_a_time(math.prod(shape[1:]))
    blocks = [slice(start, min(start + count, rows)) for start in range(0, rows, count)]
    room = track("dX sums", empty((min(count, rows), *shape[1:]), kind))
    for some in blocks:
        part = room[: some.stop - some.start]
        product(some, part)
        sums = by_channel(part, 0)
        step = np.maximum(channel_magnitudes(sums) / limit, 1.0)
        linear_codes(sums, step, zeros[some], -limit, limit, None, out=by_channel(codes[some], 0))
        worth[some] *= step
    new = worth.max(initial=0.0) or 1.0
    for some in blocks:
        if (worth[some] != new).any():
            before = by_channel(codes[some], 0)
            after = linear_codes(before, new / worth[some], zeros[some], -limit, limit, None)
            before[...] = after
    return Quantized(codes, float(new), 0, bits)


def narrow(q: Quantized, bits: int, *, axis: int | None = None, key: Key | None = None) -> Quantized:
    """Quantize integers with one scale to fewer bits, with a scale in all or one an index of an axis.

    ``step = max(max|values| / (2**(bits - 1) - 1), 1)``, codes ``round(values / step)``, each worth ``scale * step``:
    integers that fit are kept as they are. To nearest, ties to even, or at random where a key is given.

    Examples
    --------
    >>> q = Quantized(np.array([[90, 30], [-3, 7]], dtype=np.int8), 0.5, 0, 8)
    >>> found = narrow(q, 4, axis=0)
    >>> found.values.tolist(), found.scale.round(3).tolist()
    ([[7, 2], [-3, 7]], [[6.429], [0.5]])
    """
    limit = 2 ** (bits - 1) - 1
    source = by_channel(np.ascontiguousarray(q.values), axis)
    step = np.maximum(channel_magnitudes(source) / limit, 1.0)
    codes = linear_codes(source, step, np.zeros(len(step), dtype=np.int64), -limit, limit, key).reshape(q.values.shape)
    if axis is None:
        return Quantized(codes, float(q.scale) * step[0], 0, bits)
    along = [1] * codes.ndim
    along[axis] = -1
    return Quantized(codes, (float(q.scale) * step).reshape(along), 0, bits)
