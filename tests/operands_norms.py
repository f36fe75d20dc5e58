"""Arguments of the kernels that do several passes of a batch norm in a call, and of the loss."""

from __future__ import annotations

import numpy as np
from cases import integers, packed
from guards import filled

from bitlearn.bits import WORD, words_for

#: (rows, channels)
SIZES = [(3, channels) for channels in (0, 1, 63, 64, 65, 130)] + [(1, 5), (70, 129)]
SUM_TYPES = (np.int16, np.int32)
#: (type of the gradient, type of x)
GRADIENT_TYPES = [(narrow, x) for narrow in (np.int8, np.int16) for x in SUM_TYPES]


def _sums(rng, dtype, size: tuple[int, int]) -> np.ndarray:
    """At least a row of sums, some channels of which are constant."""
    rows, channels = size
    y = integers(rng, np.int16, max(rows, 1), channels).astype(dtype)
    y[:, ::5] = -7
    return y


def _statistics(rng, channels: int) -> tuple[np.ndarray, np.ndarray]:
    mean, spread = rng.normal(size=channels) * 1e2, np.abs(rng.normal(size=channels)) * 1e2
    spread[::4] = 0
    return mean, spread


def _real(rng, channels: int) -> np.ndarray:
    return rng.normal(size=channels).astype(np.float32)


def batch_statistics(rng, size, dtype):
    y = _sums(rng, dtype, size)
    channels = size[1]
    running = [_real(rng, channels), np.abs(_real(rng, channels))]
    if channels and rng.random() < 0.2:
        running[rng.integers(2)][rng.integers(channels)] = rng.choice([np.inf, np.nan])
    scale = float(rng.choice([1.0, 2.0**-7]))
    return y, scale, 0.9, *running, filled((2, channels), np.float64), filled((1,), np.uint8)


def norm_signs(rng, size, dtype):
    y = _sums(rng, dtype, size)
    rows, channels = y.shape
    inputs = *_statistics(rng, channels), _real(rng, channels)
    return y, *inputs, filled((3, channels), np.int32), filled((rows, 2, words_for(channels)), WORD)


def batch_gradient(rng, size, dtype):
    narrow, kind = dtype
    x = _sums(rng, kind, size)
    rows, channels = x.shape
    d, mask = integers(rng, narrow, rows, channels), packed(rng.choice([-1, 1], size=(rows, channels)))
    mean, spread = _statistics(rng, channels)
    if channels and rng.random() < 0.2:
        mean[rng.integers(channels)] = rng.choice([np.inf, np.nan])
    if rng.random() < 0.1:
        mask[...] = 0  # then the largest magnitude is 0
    limit = int(rng.integers(1, np.iinfo(narrow).max))
    results = filled((3, channels), np.float32), filled((channels,), np.float32), filled((1,), np.float32)
    return d, mask, x, mean, spread, 2.0**-7, 0.37, limit, *results, filled(d.shape, narrow)


def softmax_gradient(rng, size, dtype):
    rows, classes = size[0], max(size[1], 1)
    scores = (rng.normal(size=(rows, classes)) * rng.choice([1.0, 30.0, 1e3])).astype(np.float32).astype(np.float64)
    labels = rng.integers(0, classes, size=rows)
    return labels, scores, filled((2, rows), np.float64), filled((rows, classes), np.float32)
