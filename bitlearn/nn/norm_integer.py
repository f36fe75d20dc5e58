"""Batch norm on integer sums: statistics are exact integers, normalising and taking the sign is one comparison.

``x = (y - mean) / spread + shift`` is only ever wanted as ``x >= 0``, ``|x| <= 1`` and a mean of ``|x|``. With
``t = mean - shift * spread``, ``x >= 0`` is ``y >= ceil(t)`` for an integer ``y``, and the other two follow from sums
of integers. So the order of a reduction cannot show, and no float is kept for an activation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import Bits
from bitlearn.errors import NonFiniteError
from bitlearn.ops.packing import pack, unpack
from bitlearn.ops.quantize import Quantized, quantize

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, eq=False)
class BatchStatistics:
    """A batch's mean and spread for each channel, in units of ``y``, float64."""

    mean: np.ndarray
    spread: np.ndarray


def _sum(values: np.ndarray) -> np.ndarray:
    return values.sum(axis=0, dtype=np.int64)


def l1_statistics(y: np.ndarray) -> BatchStatistics:
    """Return mean and mean absolute deviation of integers (rows, channels).

    ``mean |y - mean| = 2 / N * sum_{y > mean} (y - mean)``, since the deviations sum to zero. The integer part of
    the mean is taken off in integers; the rest is below 1.
    """
    count, total = len(y), _sum(y)
    floor, rest = np.divmod(total, count)
    above = y > floor
    terms = above.sum(axis=0)
    deviation = (_sum(np.where(above, y, 0)) - floor * terms) - terms * (rest / count)
    return BatchStatistics(total / count, np.maximum(deviation, 0) * (2.0 / count))


def l2_statistics(y: np.ndarray) -> BatchStatistics:
    """Return mean and standard deviation of integers (rows, channels); squares are summed in int64, exactly.

    ``variance = sum (y - m)**2 / N - (mean - m)**2`` with ``m = floor(mean)``: what is subtracted is below 1, where the
    square of the mean itself would leave no digits of a spread much smaller than it.
    """
    count, total = len(y), _sum(y)
    floor, rest = np.divmod(total, count)
    squares = np.einsum("ij,ij->j", y, y, dtype=np.int64, casting="unsafe") - floor * (total + rest)
    return BatchStatistics(total / count, np.sqrt(np.maximum(squares / count - (rest / count) ** 2, 0)))


def sign_thresholds(mean: np.ndarray, spread: np.ndarray, shift: np.ndarray, scale: float) -> np.ndarray:
    """Return the smallest integers ``y`` for which ``(y * scale - mean) / spread + shift >= 0``: int32 (channels,)."""
    bound = (mean.astype(np.float64) - shift.astype(np.float64) * spread) / scale
    return _integers(np.ceil(bound))


def _integers(bounds: np.ndarray) -> np.ndarray:
    if not np.isfinite(bounds).all():
        raise NonFiniteError("shift and running statistics")
    return np.clip(bounds, _INT32.min, _INT32.max).astype(np.int32)


def pass_bounds(mean: np.ndarray, spread: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the integers between which ``|x| <= 1``: where the straight-through estimator passes."""
    middle = mean - shift.astype(np.float64) * spread
    return _integers(np.ceil(middle - spread)), _integers(np.floor(middle + spread))


def mean_magnitude(
    y: np.ndarray, signs: np.ndarray, mean: np.ndarray, spread: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """Return omega, the mean of ``|x|`` for each channel, from sums of integers; `signs` is ``x >= 0``.

    ``N * spread * omega = sum_{x >= 0} (y - t) + sum_{x < 0} (t - y)``.
    """
    count = len(y)
    bound = mean - shift.astype(np.float64) * spread
    upper, above = _sum(np.where(signs, y, 0)), signs.sum(axis=0)
    total = (2 * upper - _sum(y)) - bound * (2 * above - count)
    return np.divide(total, count * spread, out=np.ones_like(spread), where=spread > 0)


def inverse(spread: np.ndarray) -> np.ndarray:
    """Return 1 / spread as float32, and 0 for a channel that is constant in the batch: it has no gradient."""
    wide = spread.astype(np.float64)
    return np.divide(1.0, wide, out=np.zeros_like(wide), where=wide > 0).astype(np.float32)


def _sums(d: np.ndarray, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of d and of d * sign for each channel."""
    total = _sum(d)
    return total, 2 * _sum(np.where(signs, d, 0)) - total


def _shift_gradient(total: np.ndarray, scale: float) -> np.ndarray:
    return (total * scale).astype(np.float32)


def l1_backward(grad: Quantized, signs: Bits, spread: np.ndarray, omega: np.ndarray) -> tuple[Quantized, np.ndarray]:
    """Return the gradients of y and of the shift, for integer gradients (rows, channels).

    arXiv 2102.04270: ``dY = v - mean(v) - s * mean(v * s) * omega`` with ``v = dX / spread`` and the stored signs ``s``
    times ``omega`` in the place of the real ``x``. Both means are sums of integers; for each channel what is left is
    one of two constants, added before one division.
    """
    d = grad.values
    positive = unpack(signs.words, signs.n) > 0
    total, signed = _sums(d, positive)
    correction = signed * omega.astype(np.float64)
    above = (-(total + correction) / len(d)).astype(np.float32)
    below = (-(total - correction) / len(d)).astype(np.float32)
    dy = track("dY float", np.where(positive, above, below))
    dy += d
    dy *= inverse(spread)
    return _requantized(dy, grad), _shift_gradient(total, float(grad.scale))


def l2_backward(
    grad: Quantized, y: np.ndarray, mean: np.ndarray, spread: np.ndarray, scale: float
) -> tuple[Quantized, np.ndarray]:
    """Return the gradients of the real input ``y * scale`` and of the shift; `mean` and `spread` in units of y.

    ``dY = v - mean(v) - x * mean(v * x)`` with ``v = dX / (spread * scale)`` and ``x = (y - mean) / spread``, which is
    never formed: ``sum d * x`` follows from ``sum d * y``, an integer.
    """
    d, count = grad.values, len(y)
    total = _sum(d)
    product = np.einsum("ij,ij->j", d, y, dtype=np.int64, casting="unsafe")
    slope = (product - mean * total) / count * inverse(spread).astype(np.float64) ** 2
    offset = (mean * slope - total / count).astype(np.float32)
    # In place, one array for all of it; and int32 times float32 would be float64.
    dy = track("dY float", np.multiply(y, slope.astype(np.float32), dtype=np.float32))
    np.subtract(offset, dy, out=dy)
    dy += d
    dy *= inverse(spread * scale)
    return _requantized(dy, grad), _shift_gradient(total, float(grad.scale))


def _requantized(dy: np.ndarray, grad: Quantized) -> Quantized:
    if not np.isfinite(dy).all():
        raise NonFiniteError("the gradient")
    narrow = quantize(dy, grad.bits)
    return Quantized(track("dY", narrow.values), float(narrow.scale) * float(grad.scale), 0, grad.bits)


def packed(name: str, flags: np.ndarray) -> Bits:
    """Return packed booleans, counted under a variable's name."""
    return Bits(track(name, pack(flags)), flags.shape[-1])
