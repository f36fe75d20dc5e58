"""Updates of parameters: one pass over a parameter, in float32, float16 as its bits."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload

from bitlearn.backends.jit.compilation import inlined, kernel
from bitlearn.backends.jit.floats import bits_of, float_of, from_float16, to_float16
from bitlearn.backends.jit.quantization import random_row


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
def descent_update(g, scale, clip, coefficients, weight):
    """SGD without momentum; factor (of the gradient), rate."""
    factor, rate, most = coefficients[0], coefficients[1], np.float32(clip)
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            old = _load(weight, i, j)
            _store(weight, i, j, old - rate * (_gradient(g, scale, i, j) * _passes(old, most) * factor))


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


@inlined
def _rounded(value, is_random, word):
    """The integer next to a float64, and +0: ties to even, or up where the word is below the fraction."""
    if not is_random:
        return np.rint(value) + 0.0
    whole = np.floor(value)
    return whole + np.float64(np.float64(word) < (value - whole) * 4294967296.0)


def _kept(array, i, j, value, is_random, word):
    """Keep a float64 in an array of float32, or rounded in one of integers."""


@overload(_kept)
def _kept_in(array, i, j, value, is_random, word):
    if array.dtype == types.float32:

        def keep(array, i, j, value, is_random, word):
            array[i, j] = np.float32(value)

    else:

        def keep(array, i, j, value, is_random, word):
            array[i, j] = np.int32(_rounded(value, is_random, word))

    return keep


@kernel
def quantized_update(g, scale, coefficients, signs, limit, key, first, weight):
    """weight = clip(round(base - limit * rate * (factor * g)), -limit, limit); factor, rate."""
    factor, rate, most = coefficients[0], coefficients[1], np.float64(limit)
    rows, n = weight.shape
    noise = np.zeros(n, np.uint32)
    for i in range(rows):
        if key.size:
            random_row(key, np.uint64(first + i) * np.uint64(n), noise)
        for j in range(n):
            change = _gradient(g, scale, i, j) * factor * rate
            base = np.float64(weight[i, j])
            if limit != 0:
                change = change * np.float32(limit)
            if signs:
                base = most if weight[i, j] >= 0 else -most
            value = base - np.float64(change)
            if limit != 0:
                value = min(max(value, -most), most)
            _kept(weight, i, j, value, key.size > 0, noise[j])


@kernel
def round_weights(scale, limit, whole, key, first, weight):
    """weight = step * clip(round(weight / step), -limit, limit), in float64, rounded to float32."""
    step, most = scale[0], np.float64(limit)
    if whole and np.isfinite(step):
        mantissa, exponent = math.frexp(step)
        step = math.ldexp(1.0, exponent - (1 if mantissa == 0.5 else 0))
    rows, n = weight.shape
    noise = np.zeros(n, np.uint32)
    for i in range(rows):
        if key.size:
            random_row(key, np.uint64(first + i) * np.uint64(n), noise)
        for j in range(n):
            value = _rounded(np.float64(weight[i, j]) / step, key.size > 0, noise[j])
            weight[i, j] = np.float32(min(max(value, -most), most) * step)


def _is_root(codes):
    """Whether codes are of roots: those without a sign."""


@overload(_is_root)
def _is_root_of(codes):
    found = codes.dtype == types.uint8
    return lambda codes: found


@kernel
def load_moments(codes, scale, out):
    """out[i] = codes[i] * scale[i]; of uint8 its square."""
    root = _is_root(codes)
    for i in range(codes.shape[0]):
        by = scale[i]
        for j in range(codes.shape[1]):
            value = np.float32(codes[i, j]) * by
            out[i, j] = value * value if root else value


@kernel
def store_moments(values, key, first, codes, scale):
    """codes[i] = round(v / scale[i]) at random, scale[i] = max |v| / most."""
    root = _is_root(codes)
    most = np.float32(255) if root else np.float32(127)
    rows, n = values.shape
    noise = np.zeros(n, np.uint32)
    for i in range(rows):
        random_row(key, np.uint64(first + i) * np.uint64(n), noise)
        largest = np.float32(0)
        for j in range(n):
            largest = max(largest, abs(values[i, j]))
        by = (np.sqrt(largest) if root else largest) / most
        scale[i] = by
        for j in range(n):
            value = np.sqrt(values[i, j]) if root else values[i, j]
            ratio = min(max(value / by, -most), most) if by > 0 else np.float32(0)
            code = np.int32(_rounded(np.float64(ratio), True, noise[j]))
            codes[i, j] = max(code, 1) if root and value > 0 else code


@kernel
def count_step(counts):
    """counts += 1."""
    for i in range(counts.size):
        counts[i] += 1
