"""Updates of parameters: one pass over a parameter, in float32, float16 as its bits."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from bitlearn.backends.jit.compilation import inlined, kernel
from bitlearn.backends.jit.floats import bits_of, float_of, from_float16, to_float16


def _load(array, i, j):
    """An element of float32, or of the bits of float16, as float32."""


@overload(_load)
def _load_of(array, i, j):
    if array.dtype == types.uint16:
        return lambda array, i, j: from_float16(array[i, j])
    return lambda array, i, j: array[i, j]


def _store(array, i, j, value):
    """Keep a float32 in an array of float32 or of the bits of float16."""


@overload(_store)
def _store_in(array, i, j, value):
    if array.dtype == types.uint16:

        def store(array, i, j, value):
            array[i, j] = to_float16(value)

    else:

        def store(array, i, j, value):
            array[i, j] = value

    return store


@inlined
def _passes(weight, clip):
    return np.float32(1) if abs(weight) <= clip else np.float32(0)


def _gradient(g, scale, i, j):
    """The gradient of a weight as float32."""


@overload(_gradient)
def _gradient_of(g, scale, i, j):
    if g.dtype == types.float32:
        return lambda g, scale, i, j: g[i, j]
    if g.dtype == types.uint64:

        def sign(g, scale, i, j):
            is_clear = np.uint32(~g[i, j >> 6] >> np.uint64(j & 63) & np.uint64(1))
            return float_of(np.uint32(is_clear << 31 | 0x3F800000))

        return sign
    return lambda g, scale, i, j: np.float32(g[i, j] * scale[i if scale.size > 1 else 0])


@kernel
def adam_update(g, scale, clip, coefficients, weight, mean, square):
    """Adam; beta1, rest1, beta2, rest2, rate, epsilon."""
    beta1, rest1, beta2, rest2 = coefficients[0], coefficients[1], coefficients[2], coefficients[3]
    rate, epsilon = coefficients[4], coefficients[5]
    most = np.float32(clip)
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            old = _load(weight, i, j)
            value = _gradient(g, scale, i, j) * _passes(old, most)
            first = _load(mean, i, j) * beta1 + value * rest1
            second = _load(square, i, j) * beta2 + (value * value) * rest2
            _store(mean, i, j, first)
            _store(square, i, j, second)
            _store(weight, i, j, old - rate * first / (np.sqrt(second) + epsilon))


@kernel
def sgd_update(g, scale, clip, coefficients, weight, moment):
    """SGD with momentum; momentum, factor (of the gradient), rate."""
    momentum, factor, rate = coefficients[0], coefficients[1], coefficients[2]
    most = np.float32(clip)
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            old = _load(weight, i, j)
            step = _load(moment, i, j) * momentum + _gradient(g, scale, i, j) * _passes(old, most) * factor
            _store(moment, i, j, step)
            _store(weight, i, j, old - rate * step)


@kernel
def bop_update(g, scale, clip, coefficients, weight, moment):
    """Bop; keep, factor (of the gradient), threshold."""
    keep, factor, threshold = coefficients[0], coefficients[1], coefficients[2]
    most = np.float32(clip)
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            old = _load(weight, i, j)
            mean = _load(moment, i, j) * keep + _gradient(g, scale, i, j) * _passes(old, most) * factor
            _store(moment, i, j, mean)
            # The sign bit turned over: LLVM makes a branch of a choice.
            flips = np.uint32(old * mean > threshold)
            _store(weight, i, j, float_of(np.uint32(bits_of(old) ^ flips << 31)))


@kernel
def count_step(counts):
    """counts += 1."""
    for i in range(counts.size):
        counts[i] += 1
