"""Arguments of the passes of batch norm over channels, made from their sizes."""

from __future__ import annotations

import numpy as np
from cases import bits, integers, thresholds
from guards import filled
from making import operands

from bitlearn.bits import WORD, words_for

#: (groups, rows, channels)
SIZES = [(2, 3, channels) for channels in (1, 63, 64, 65, 130)] + [(0, 3, 5), (2, 0, 5), (2, 3, 0), (1, 70, 129)]
SUM_TYPES = (np.int16, np.int32)
#: (type of the gradient, type of x: that of sums, or words of signs, whether there is a mask)
GRADIENTS = tuple(
    (kind, x, masked)
    for kind in (np.int8, np.int16, np.float32)
    for x in (*SUM_TYPES, np.float32, WORD)
    for masked in (True, False)
)
INTEGER_GRADIENTS = tuple(each for each in GRADIENTS if each[0] != np.float32)


def near_zero(rng, dtype, *shape: int) -> np.ndarray:
    """Sums near zero, so that they tie and reach bounds, and the limits of their type."""
    y = rng.integers(-40, 40, size=shape).astype(dtype)
    for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        y[rng.random(shape) < 0.02] = limit
    return y


def _reals(rng, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


@operands(SIZES, SUM_TYPES)
def channel_sums(rng, size, dtype):
    y = near_zero(rng, dtype, *size)
    if dtype == np.int32:  # sums of squares stay below 2**63
        y = y.clip(-(2**26), 2**26)
    return y, filled((size[0], 2, size[2]), np.int64)


@operands(SIZES, SUM_TYPES)
def channel_sums_above(rng, size, dtype):
    return near_zero(rng, dtype, *size), thresholds(rng, size[2]), filled((size[0], 2, size[2]), np.int64)


@operands(SIZES, SUM_TYPES)
def norm_signs(rng, size, dtype):
    _, rows, channels = size
    bounds = np.stack([thresholds(rng, channels) for _ in range(3)])
    signs, mask = (filled((rows, words_for(channels)), WORD) for _ in range(2))
    return near_zero(rng, dtype, rows, channels), bounds, signs, mask


def _gradient(rng, size, dtype) -> tuple:
    """The gradient, its mask and the sums or signs of a batch norm."""
    kind, x, masked = dtype
    if kind == np.float32:  # sums that depend on their order
        d = (rng.normal(size=size) * 10.0 ** rng.integers(-6, 6, size=size)).astype(np.float32)
    else:
        d = integers(rng, kind, *size)
    mask = bits(rng, *size) if masked else np.empty((0, *size[1:-1], words_for(size[-1])), WORD)
    if x == np.float32:
        return d, mask, _reals(rng, *size)
    return d, mask, bits(rng, *size) if x == WORD else near_zero(rng, x, *size)


@operands(SIZES, tuple(each for each in GRADIENTS if each[1] != np.float32))
def gradient_sums(rng, size, dtype):
    wide = np.float64 if dtype[0] == np.float32 else np.int64
    return *_gradient(rng, size, dtype), filled((size[0], 2, size[2]), wide)


@operands(SIZES, INTEGER_GRADIENTS)
def norm_gradient_peak(rng, size, dtype):
    return *_gradient(rng, size, dtype), _reals(rng, 3, size[2]), filled(size[:1], np.float32)


@operands(SIZES, GRADIENTS)
def norm_gradient(rng, size, dtype):
    d, *rest = _gradient(rng, size[1:], dtype)
    limit = int(rng.integers(1, 127 if dtype[0] == np.float32 else np.iinfo(dtype[0]).max))
    step = np.array([0.37], np.float32)
    return d, *rest, _reals(rng, 3, size[2]), step, limit, filled(d.shape, d.dtype)
