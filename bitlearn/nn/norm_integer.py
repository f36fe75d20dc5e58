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
    """A batch's mean and spread, float64, for each channel, in units of ``y``; for "l1" its sum, int64, too."""

    mean: np.ndarray
    spread: np.ndarray
    total: np.ndarray | None = None


def l1_statistics(y: np.ndarray) -> BatchStatistics:
    """Return mean and mean absolute deviation of integers (rows, channels).

    ``mean |y - mean| = 2 / N * sum_{y > mean} (y - mean)``, since the deviations sum to zero. The integer part of
    the mean is taken off in integers; the rest is below 1.
    """
    count, (total, _) = len(y), passes.channel_sums(y)
    floor, rest = np.divmod(total, count)
    upper, terms = passes.channel_sums_above(y, (floor + 1).astype(np.int32))
    deviation = (upper - floor * terms) - terms * (rest / count)
    return BatchStatistics(total / count, np.maximum(deviation, 0) * (2.0 / count), total)


def l2_statistics(y: np.ndarray) -> BatchStatistics:
    """Return mean and standard deviation of integers (rows, channels); squares are summed in int64, exactly."""
    sums = passes.channel_sums_by_group(y)
    mean, spread = passes.l2_statistics(sums, len(y))
    return BatchStatistics(mean, spread)


def sign_thresholds(mean: np.ndarray, spread: np.ndarray, shift: np.ndarray, scale: float) -> np.ndarray:
    """Return the smallest integers ``y`` for which ``(y * scale - mean) / spread + shift >= 0``: int32 (channels,)."""
    bound = (mean.astype(np.float64) - shift.astype(np.float64) * spread) / scale
    return _integers(np.ceil(bound))


def _integers(bounds: np.ndarray) -> np.ndarray:
    if not np.isfinite(bounds).all():
        raise NonFiniteError("shift and running statistics")
    return np.clip(bounds, _INT32.min, _INT32.max).astype(np.int32)


def signs(y: np.ndarray, mean: np.ndarray, spread: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, Bits, Bits]:
    """Return the thresholds of sums y (rows, channels), int32; and where ``x >= 0``, and where ``|x| <= 1``."""
    if not np.isfinite(shift).all():
        raise NonFiniteError("shift and running statistics")
    bounds, found, mask = passes.norm_signs(y, mean, spread, shift.astype(np.float32, copy=False))
    track("X", found.words)
    track("STE mask", mask.words)
    return bounds[0], found, mask


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
    found = passes.norm_gradient(d, mask, signs, (above, below, inverse(spread)), grad.bits)
    return _quantized(grad, found), (total * float(grad.scale)).astype(np.float32)


def l2_backward(
    grad: Quantized, mask: Bits, y: np.ndarray, mean: np.ndarray, spread: np.ndarray, scale: float
) -> tuple[Quantized, np.ndarray]:
    """Return the gradients of the real input ``y * scale`` and of the shift; `mean` and `spread` in units of y.

    ``dY = v - mean(v) - x * mean(v * x)`` with ``v = dX / (spread * scale)`` and ``x = (y - mean) / spread``, which is
    never formed: ``sum d * x`` follows from ``sum d * y``, an integer.
    """
    found, shift = passes.l2_gradient(grad.values, mask, y, mean, spread, scale, float(grad.scale), grad.bits)
    return _quantized(grad, found), shift


def _quantized(grad: Quantized, found: tuple[np.ndarray, np.float32] | None) -> Quantized:
    """Return codes and their scale in units of `grad`."""
    if found is None:
        raise NonFiniteError("the gradient")
    values, scale = found
    return Quantized(track("dY", values), float(scale) * float(grad.scale), 0, grad.bits)


def packed(name: str, flags: np.ndarray) -> Bits:
    """Return packed booleans, counted under a variable's name."""
    return Bits(track(name, pack(flags)), flags.shape[-1])
