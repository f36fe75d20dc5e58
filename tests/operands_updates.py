"""Arguments of the optimisers' kernels, made from their sizes."""

from __future__ import annotations

import numpy as np
from cases import MATRICES, integers, words
from making import operands

#: (type of the gradient, of the weight, of the moments, whether a row has a scale); uint16 holds the bits of float16.
TYPES = [
    (gradient, weight, moment, each)
    for gradient in (np.float32, np.int32, np.int64, np.uint64)
    for weight in (np.float32, np.uint16)
    for moment in (np.float32, np.uint16)
    for each in ((False, True) if gradient in (np.int32, np.int64) else (False,))
]


def halves(values: np.ndarray, dtype: type) -> np.ndarray:
    """Return values as float32, or as the bits of float16."""
    return values.astype(np.float32) if dtype == np.float32 else values.astype(np.float16).view(np.uint16)


def _gradient(rng, dtype: type, shape: tuple[int, int]) -> np.ndarray:
    if dtype == np.float32:
        return (rng.normal(size=shape) * 10.0 ** rng.integers(-6, 2, size=shape)).astype(np.float32)
    if dtype == np.uint64:
        return words(rng, *shape)
    # int64 sums past 2**53 are rounded on their way to float64.
    return integers(rng, dtype, *shape) >> rng.integers(0, 8 * np.dtype(dtype).itemsize - 1, size=shape, dtype=dtype)


def _weight(rng, dtype: type, shape: tuple[int, int]) -> np.ndarray:
    """Weights on both sides of the clip and on it, and below the normal numbers of float16."""
    values = rng.normal(scale=0.9, size=shape)
    for special in (0.0, -0.0, 1.0, -1.0, np.nextafter(np.float32(1), np.float32(2)), 1 + 2.0**-10, -3e-6, 6e-8):
        values[rng.random(shape) < 0.05] = special
    return halves(values, dtype)


def _inputs(rng, size, dtype, coefficients) -> tuple:
    gradient, weight, _, each = dtype
    # What an int64 sum is worth keeps the moments within float16.
    scale = (1.234e-4 if gradient == np.int32 else 3e-16) / (1 + rng.integers(0, 9, size=size[0] if each else 1))
    return (
        _gradient(rng, gradient, size),
        scale,
        float(rng.choice([1.0, np.inf])),
        np.array(coefficients, dtype=np.float32),
        _weight(rng, weight, size),
    )


@operands(MATRICES, tuple(TYPES))
def adam_update(rng, size, dtype) -> tuple:
    inputs = _inputs(rng, size, dtype, (0.9, 0.1, 0.999, 0.001, 1e-3, 1e-7))
    mean, square = rng.normal(scale=1e-2, size=size), rng.normal(scale=1e-4, size=size) ** 2
    return *inputs, halves(mean, dtype[2]), halves(square, dtype[2])


@operands(MATRICES, tuple(TYPES))
def sgd_update(rng, size, dtype) -> tuple:
    return *_inputs(rng, size, dtype, (0.9, 0.1, 1e-3)), halves(rng.normal(size=size), dtype[2])


@operands(MATRICES, tuple(TYPES))
def descent_update(rng, size, dtype) -> tuple:
    return _inputs(rng, size, dtype, (0.1, 1e-3))


@operands(MATRICES, tuple(TYPES))
def bop_update(rng, size, dtype) -> tuple:
    return *_inputs(rng, size, dtype, (0.99, 0.01, 1e-3)), halves(rng.normal(scale=1e-2, size=size), dtype[2])


#: (type of the gradient, of the weight, whether a row has a scale, whether rounding is random)
QUANTIZED = [
    (gradient, weight, each, random)
    for gradient in (np.float32, np.int32, np.int64, np.uint64)
    for weight in (np.float32, np.int8, np.int16)
    for each in ((False, True) if gradient in (np.int32, np.int64) else (False,))
    for random in (False, True)
]


@operands(MATRICES, tuple(QUANTIZED))
def quantized_update(rng, size, dtype) -> tuple:
    """Limits of a few bits and of all; changes from far below a code to far beyond the limit, and ties."""
    gradient, weight, each, random = dtype
    if weight == np.float32:
        limit, values = int(rng.integers(0, 2)), _weight(rng, np.float32, size)
    else:
        limit = int(rng.choice([7, np.iinfo(weight).max]))
        values = rng.integers(-limit, limit + 1, size=size).astype(weight)
        values[rng.random(size) < 0.1] = 0
    g, signs = _gradient(rng, gradient, size), int(rng.integers(0, 2)) if limit else 0
    scale = np.exp(rng.uniform(-8, 2, size=size[0] if each else 1)) / (2.0**31 if gradient == np.int32 else 2.0**63)
    if gradient == np.float32 and limit:
        g[..., ::3] = rng.integers(-9, 9, size=g[..., ::3].shape) / np.float32(2 * limit)  # ties, where nothing scales
    numbers = np.array(((1, 1), (0.31, 0.27))[rng.integers(0, 2)], dtype=np.float32)
    key = rng.integers(0, 2**32, size=4 if random else 0, dtype=np.uint32)
    return g, scale, numbers, signs, limit, key, int(rng.integers(0, 7)), values


@operands(MATRICES, tuple((whole, random) for whole in (False, True) for random in (False, True)))
def round_weights(rng, size, dtype) -> tuple:
    """Weights within the limit and beyond it, on the grid and next to it; scales that are powers of two, and not."""
    whole, random = dtype
    limit, scale = int(rng.choice([7, 127, 32767])), float(rng.choice([0.25, 1.0, 0.3, 1.7e-3, 2.0**-130]))
    weight = (rng.normal(size=size) * limit * scale).astype(np.float32)
    weight[..., ::3] = rng.integers(-9, 9, size=weight[..., ::3].shape) / 2 * scale
    key = rng.integers(0, 2**32, size=4 if random else 0, dtype=np.uint32)
    return np.array([scale]), limit, int(whole), key, int(rng.integers(0, 7)), weight
