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
def bop_update(rng, size, dtype) -> tuple:
    return *_inputs(rng, size, dtype, (0.99, 0.01, 1e-3)), halves(rng.normal(scale=1e-2, size=size), dtype[2])
