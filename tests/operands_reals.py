"""Arguments of the kernels on real values, made from their sizes."""

from __future__ import annotations

import numpy as np
from cases import integers
from guards import filled
from making import operands
from operands_norms import SIZES

#: (groups, channels)
CHANNELS = [(1, 1), (3, 65), (2, 0), (16, 7), (0, 5), (1, 63), (2, 64), (1, 130)]
#: (batch, height, width, channels, rows and columns of a window)
POOLS = [(2, 4, 6, 70, 2, 2), (1, 5, 5, 3, 2, 2), (1, 6, 4, 65, 3, 1), (2, 3, 3, 129, 3, 3), (0, 2, 2, 3, 2, 2)]
POOLS += [(1, 2, 2, 0, 2, 1), (1, 7, 7, 1, 1, 1), (1, 5, 7, 64, 2, 3)]
TYPES = (np.int8, np.int16, np.float32)


def _reals(rng, *shape: int) -> np.ndarray:
    """Values of many magnitudes, whose sums depend on their order, off centre channel by channel."""
    spread = 10.0 ** rng.integers(-6, 6, size=shape)
    return (rng.normal(size=shape) * spread + rng.normal(size=shape[-1:])).astype(np.float32)


def _gradient(rng, dtype, *shape: int) -> np.ndarray:
    return _reals(rng, *shape) if dtype == np.float32 else integers(rng, dtype, *shape)


@operands(SIZES, TYPES)
def real_sums(rng, size, dtype):
    return _gradient(rng, dtype, *size), _reals(rng, *size), filled((size[0], 2, size[2]), np.float64)


@operands(SIZES)
def absolute_sums(rng, size, dtype):
    return _reals(rng, *size), rng.normal(size=size[2]), filled((size[0], size[2]), np.float64)


def _count(groups: int) -> int:
    return 9 * max(groups, 1)


@operands(CHANNELS, (False, True))
def real_statistics(rng, size, dtype):
    """Some channels are constant, so that rounding alone leaves a variance; some deviations are no float16."""
    groups, channels = size
    x = rng.normal(size=(groups, 9, channels)) * 10.0 ** rng.integers(-5, 5, size=channels)
    x[:, :, ::3] = 0.1
    sums = np.stack([x.sum(axis=1), (x * x).sum(axis=1)], axis=1)
    return sums, _count(groups), dtype, filled((2, channels), np.float64)


@operands(CHANNELS, (False, True))
def absolute_mean(rng, size, dtype):
    sums = np.abs(rng.normal(size=size)) * 10.0 ** rng.integers(-5, 6, size=size)
    return sums, _count(size[0]), dtype, filled(size[1:], np.float64)


@operands(CHANNELS)
def moved_statistics(rng, size, dtype):
    channels = size[1]
    statistics, running = rng.normal(size=(2, channels)), rng.normal(size=(2, channels)).astype(np.float32)
    if channels and rng.random() < 0.3:
        statistics[rng.integers(2), rng.integers(channels)] = rng.choice([np.inf, np.nan, 1e300])
    return statistics, 0.9, *running.copy(), filled((2, channels), np.float32), filled((1,), np.uint8)


def _pooled(size) -> tuple[int, int, int, int]:
    batch, height, width, channels, rows, columns = size
    return batch, height // rows, width // columns, channels


@operands(POOLS)
def average_pool(rng, size, dtype):
    return _reals(rng, *size[:4]), *size[4:], filled(_pooled(size), np.float32)


@operands(POOLS, TYPES)
def average_pool_gradient(rng, size, dtype):
    return _gradient(rng, dtype, *_pooled(size)), *size[4:], filled(size[:4], dtype)
