"""Arguments of the kernels on a channel's sums."""

from __future__ import annotations

import numpy as np
from guards import filled

#: (groups, channels)
SIZES = [(1, 1), (3, 65), (2, 0), (16, 7), (0, 5)]


def _sums(rng, groups: int, channels: int, rows: int) -> np.ndarray:
    """Sums of values and of their squares, as they may be: some channels are constant, some means are large."""
    y = rng.integers(-300, 300, size=(groups, rows, channels)) + rng.integers(-(2**20), 2**20, size=channels)
    y[:, :, ::5] = -7
    return np.stack([y.sum(axis=1), (y * y).sum(axis=1)], axis=1)


def _statistics(rng, channels: int) -> tuple[np.ndarray, np.ndarray]:
    mean, spread = rng.normal(size=channels) * 1e3, np.abs(rng.normal(size=channels)) * 1e2
    spread[::4] = 0
    return mean, spread


def l2_statistics(rng, size, dtype):
    groups, channels = size
    return _sums(rng, groups, channels, 9), max(9 * groups, 1), filled((2, channels), np.float64)


def norm_bounds(rng, size, dtype):
    channels = size[1]
    mean, spread = _statistics(rng, channels)
    shift = rng.normal(size=channels).astype(np.float32)
    shift[::3] *= 1e30  # out of the range of int32
    spread[1::4] = np.rint(spread[1::4])
    mean[1::4], shift[1::4] = np.rint(mean[1::4]), 0  # bounds that are integers
    return mean, spread, shift, filled((3, channels), np.int32)


def l2_factors(rng, size, dtype):
    groups, channels = size
    mean, spread = _statistics(rng, channels)
    sums = rng.integers(-(2**40), 2**40, size=(groups, 2, channels))
    return sums, mean, spread, 9 * groups + 1, 0.0078125, filled((3, channels), np.float32)


def near_zero(rng, dtype, *shape: int) -> np.ndarray:
    """Sums near zero, so that they tie and reach bounds, and the limits of their type."""
    y = rng.integers(-40, 40, size=shape).astype(dtype)
    for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        y[rng.random(shape) < 0.02] = limit
    return y


def channel_sums(rng, size, dtype):
    y = near_zero(rng, dtype, *size)
    if dtype == np.int32:  # sums of squares stay below 2**63
        y = y.clip(-(2**26), 2**26)
    return y, filled((size[0], 2, size[2]), np.int64)
