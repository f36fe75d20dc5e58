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
from bitlearn.ops import passes
from bitlearn.ops.packing import pack
from bitlearn.ops.quantize import Quantized

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, eq=False)
class BatchStatistics:
    """A batch's sum, int64, and its mean and spread, float64, for each channel, in units of ``y``."""

    total: np.ndarray
    mean: np.ndarray
    spread: np.ndarray


def l1_statistics(y: np.ndarray) -> BatchStatistics:
    """Return mean and mean absolute deviation of integers (rows, channels).

    ``mean |y - mean| = 2 / N * sum_{y > mean} (y - mean)``, since the deviations sum to zero. The integer part of
    the mean is taken off in integers; the rest is below 1.
    """
    count, (total, _) = len(y), passes.channel_sums(y)
    floor, rest = np.divmod(total, count)
    upper, terms = passes.channel_sums_above(y, (floor + 1).astype(np.int32))
    deviation = (upper - floor * terms) - terms * (rest / count)
    return BatchStatistics(total, total / count, np.maximum(deviation, 0) * (2.0 / count))


def l2_statistics(y: np.ndarray) -> BatchStatistics:
    """Return mean and standard deviation of integers (rows, channels); squares are summed in int64, exactly."""
    sums = passes.channel_sums_by_group(y)
    mean, spread = passes.l2_statistics(sums, len(y))
    return BatchStatistics(sums[:, 0].sum(axis=0), mean, spread)


def sign_thresholds(mean: np.ndarray, spread: np.ndarray, shift: np.ndarray, scale: float) -> np.ndarray:
    """Return the smallest integers ``y`` for which ``(y * scale - mean) / spread + shift >= 0``: int32 (channels,)."""
    bound = (mean.astype(np.float64) - shift.astype(np.float64) * spread) / scale
    return _integers(np.ceil(bound))


def _integers(bounds: np.ndarray) -> np.ndarray:
    if not np.isfinite(bounds).all():
        raise NonFiniteError("shift and running statistics")
    return np.clip(bounds, _INT32.min, _INT32.max).astype(np.int32)


def bounds(mean: np.ndarray, spread: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return, for sums ``y``, the least for which ``x >= 0``, and the two between which ``|x| <= 1``: int32 (3, c).

    So the sign turns at the first, and the straight-through estimator passes from the second to the third.
    """
    if not np.isfinite(shift).all():
        raise NonFiniteError("shift and running statistics")
    return passes.norm_bounds(mean, spread, shift.astype(np.float32, copy=False))


def mean_magnitude(
    y: np.ndarray, thresholds: np.ndarray, total: np.ndarray, mean: np.ndarray, spread: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """Return omega, the mean of ``|x|`` for each channel; ``x >= 0`` is ``y >= thresholds``, `total` the sum of y.

    ``N * spread * omega = sum_{x >= 0} (y - t) + sum_{x < 0} (t - y)``.
    """
    count = len(y)
    bound = mean - shift.astype(np.float64) * spread
    upper, above = passes.channel_sums_above(y, thresholds)
    magnitude = (2 * upper - total) - bound * (2 * above - count)
    return np.divide(magnitude, count * spread, out=np.ones_like(spread), where=spread > 0)


def inverse(spread: np.ndarray) -> np.ndarray:
    """Return 1 / spread as float32, and 0 for a channel that is constant in the batch: it has no gradient."""
    wide = spread.astype(np.float64)
    return np.divide(1.0, wide, out=np.zeros_like(wide), where=wide > 0).astype(np.float32)


def _shift_gradient(total: np.ndarray, scale: float) -> np.ndarray:
    return (total * scale).astype(np.float32)


def l1_backward(
    grad: Quantized, mask: Bits, signs: Bits, spread: np.ndarray, omega: np.ndarray
) -> tuple[Quantized, np.ndarray]:
    """Return the gradients of y and of the shift, for integer gradients (rows, channels) that pass where `mask` is set.

    arXiv 2102.04270: ``dY = v - mean(v) - s * mean(v * s) * omega`` with ``v = dX / spread`` and the stored signs ``s``
    times ``omega`` in the place of the real ``x``. Both means are sums of integers; for each channel what is left is
    one of two constants, added before one division.
    """
    d = grad.values
    total, upper = passes.gradient_sums(d, mask, signs)
    correction = (2 * upper - total) * omega.astype(np.float64)
    above = (-(total + correction) / len(d)).astype(np.float32)
    below = (-(total - correction) / len(d)).astype(np.float32)
    dy = _quantized(grad, mask, signs, (above, below, inverse(spread)))
    return dy, _shift_gradient(total, float(grad.scale))


def l2_backward(
    grad: Quantized, mask: Bits, y: np.ndarray, mean: np.ndarray, spread: np.ndarray, scale: float
) -> tuple[Quantized, np.ndarray]:
    """Return the gradients of the real input ``y * scale`` and of the shift; `mean` and `spread` in units of y.

    ``dY = v - mean(v) - x * mean(v * x)`` with ``v = dX / (spread * scale)`` and ``x = (y - mean) / spread``, which is
    never formed: ``sum d * x`` follows from ``sum d * y``, an integer.
    """
    sums = passes.gradient_sums_by_group(grad.values, mask, y)
    slope, offset, factor = passes.l2_factors(sums, mean, spread, len(y), scale)
    dy = _quantized(grad, mask, y, (slope, offset, factor))
    return dy, _shift_gradient(sums[:, 0].sum(axis=0), float(grad.scale))


def _quantized(
    grad: Quantized, mask: Bits, x: np.ndarray | Bits, factors: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Quantized:
    found = passes.norm_gradient(grad.values, mask, x, factors, grad.bits)
    if found is None:
        raise NonFiniteError("the gradient")
    values, scale = found
    return Quantized(track("dY", values), float(scale) * float(grad.scale), 0, grad.bits)


def packed(name: str, flags: np.ndarray) -> Bits:
    """Return packed booleans, counted under a variable's name."""
    return Bits(track(name, pack(flags)), flags.shape[-1])
