"""Arguments of the kernels on a channel's sums."""

from __future__ import annotations

import numpy as np
from guards import filled
from making import operands

#: (groups, channels)
SIZES = [(1, 1), (3, 65), (2, 0), (16, 7), (0, 5), (1, 63), (2, 64), (1, 130)]
#: (whether the deviation is the mean absolute one, whether it is kept as float16)
STATISTICS = tuple((absolute, half) for absolute in (False, True) for half in (False, True))
#: The types of a gradient's sums.
SUMS = (np.int64, np.float64)
_ROWS = 9


def _count(groups: int) -> int:
    return max(_ROWS * groups, 1)


def _values(rng, groups: int, channels: int) -> np.ndarray:
    """Sums (groups, rows, channels): some channels are constant, some means are large, some deviations no float16."""
    y = rng.integers(-300, 300, size=(groups, _ROWS, channels))
    y[:, :, 3::7] *= 2000
    y += rng.integers(-(2**20), 2**20, size=channels)
    y[:, :, ::5] = -7
    return y


def _sums(y: np.ndarray) -> np.ndarray:
    return np.stack([y.sum(axis=1), (y * y).sum(axis=1)], axis=1)


def _sums_above(y: np.ndarray, bound: np.ndarray) -> np.ndarray:
    above = y >= bound
    return np.stack([np.where(above, y, 0).sum(axis=1), above.sum(axis=1)], axis=1)


def _statistics(rng, channels: int) -> np.ndarray:
    mean, std = rng.normal(size=channels) * 1e3, np.abs(rng.normal(size=channels)) * 1e2
    std[::4] = 0
    return np.stack([mean, std])


def _reals(rng, channels: int) -> np.ndarray:
    return rng.normal(size=channels).astype(np.float32)


@operands(SIZES)
def mean_bounds(rng, size, dtype):
    return _sums(_values(rng, *size)), _count(size[0]), filled(size[1:], np.int32)


@operands(SIZES, STATISTICS)
def batch_statistics(rng, size, dtype):
    absolute, half = dtype
    (groups, channels), y = size, _values(rng, *size)
    sums, count = _sums(y), _count(groups)
    above = _sums_above(y, sums[:, 0].sum(axis=0) // count + 1) if absolute else np.empty((0, 2, channels), np.int64)
    running = [_reals(rng, channels), np.abs(_reals(rng, channels))]
    if channels and rng.random() < 0.3:
        running[rng.integers(2)][rng.integers(channels)] = rng.choice([np.inf, np.nan])
    scale = float(rng.choice([1.0, 2.0**-7, 2.0**-20]))  # the last one leads below the normal float16
    results = filled((2, channels), np.float64), filled((2, channels), np.float32), filled((1,), np.uint8)
    return sums, above, count, scale, 0.9, half, *running, *results


@operands(SIZES)
def norm_bounds(rng, size, dtype):
    channels = size[1]
    statistics, bias = _statistics(rng, channels), _reals(rng, channels)
    bias[::3] *= 1e30  # out of the range of int32
    statistics[:, 1::4], bias[1::4] = np.rint(statistics[:, 1::4]), 0  # bounds that are integers
    clip = float(rng.choice([1.0, 0.3, np.sqrt(np.pi / 2)]))
    return statistics, bias, clip, filled((3, channels), np.int32), filled((1,), np.uint8)


@operands(SIZES, (False, True))
def mean_magnitude(rng, size, dtype):
    (groups, channels), y = size, _values(rng, *size)
    sums, statistics, bias = _sums(y), _statistics(rng, channels), _reals(rng, channels)
    above = _sums_above(y, np.ceil(statistics[0] - bias * statistics[1]))
    return sums, above, _count(groups), statistics, bias, dtype, filled((channels,), np.float64)


@operands(SIZES)
def mean_inverse(rng, size, dtype):
    statistics = _statistics(rng, size[1])
    statistics[1, 1::5] = 1e-45  # whose inverse is no float32
    return statistics, filled((2, size[1]), np.float32)


def _gradient_sums(rng, size, dtype) -> np.ndarray:
    """Sums of a gradient and of its products; some are 0."""
    sums = rng.integers(-(2**40), 2**40, size=(size[0], 2, size[1])).astype(dtype)
    if dtype == np.float64:
        sums *= 10.0 ** rng.integers(-12, 3, size=sums.shape)
    sums[:, :, 2::6] = 0
    return sums


def _scale(rng) -> float:
    return float(rng.choice([1.0, 2.0**-7]))


@operands(SIZES, SUMS)
def bias_gradient(rng, size, dtype):
    return _gradient_sums(rng, size, dtype), np.array([0.37]), filled(size[1:], np.float32)


@operands(SIZES, SUMS)
def l2_factors(rng, size, dtype):
    inputs = _gradient_sums(rng, size, dtype), _statistics(rng, size[1])
    return *inputs, _count(size[0]), _scale(rng), filled((3, size[1]), np.float32)


@operands(SIZES, SUMS)
def l1_factors(rng, size, dtype):
    inputs = _gradient_sums(rng, size, dtype), np.abs(rng.normal(size=size[1])), _statistics(rng, size[1])
    return *inputs, _count(size[0]), _scale(rng), filled((3, size[1]), np.float32)


@operands(SIZES, SUMS)
def l1_exact_factors(rng, size, dtype):
    sums, statistics, y = _gradient_sums(rng, size, dtype), _statistics(rng, size[1]), _values(rng, *size)
    inputs = sums, _sums_above(y, np.ceil(statistics[0])), statistics
    return *inputs, _count(size[0]), _scale(rng), filled((3, size[1]), np.float32)


@operands(SIZES)
def norm_step(rng, size, dtype):
    """Peaks that are all 0, or one of which is out of the range of normal floats, or of floats."""
    peaks = np.abs(_reals(rng, size[0])) * np.float32(rng.choice([0, 1, 1e-37, 1e30]))
    if len(peaks) and rng.random() < 0.3:
        peaks[rng.integers(len(peaks))] = rng.choice([np.inf, np.nan])
    scale = rng.choice([1.0, 1e-3, 1e9], size=1)
    return peaks, int(rng.integers(1, 2**15)), scale, filled((1,), np.float32), filled((1,), np.float64)
