"""Updates of parameters: one pass over a parameter, in float32, float16 as its bits."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from bitlearn.backends.jit.compilation import helper, kernel


@intrinsic
def _float_of(typing_context, bits):
    """A uint32 as the float32 of these bits."""
    if bits != types.uint32:
        return None
    float32 = types.float32

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(float32))

    return float32(types.uint32), codegen


@intrinsic
def _bits_of(typing_context, value):
    """The bits of a float32 as a uint32."""
    if value != types.float32:
        return None
    uint32 = types.uint32

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(uint32))

    return uint32(types.float32), codegen


@helper
def _from_float16(half):
    """The float32 of float16 bits: the exponent's bias is 127 where it was 15, infinity and small numbers apart."""
    magnitude = np.uint32(half & 0x7FFF)
    bits = np.uint32((magnitude << 13) + (112 << 23))
    if magnitude >= 0x7C00:
        bits = np.uint32(bits + (112 << 23))
    elif magnitude < 0x0400:
        # The smallest exponent, and off with its hidden bit: exact.
        bits = _bits_of(_float_of(np.uint32(bits + (1 << 23))) - _float_of(np.uint32(113 << 23)))
    return _float_of(np.uint32(bits | (half & 0x8000) << 16))


@helper
def _to_float16(value):
    """The float16 bits of a float32, to nearest, ties to even."""
    bits = np.int64(_bits_of(value))
    magnitude = bits & 0x7FFFFFFF
    if magnitude >= 143 << 23:
        half = np.int64(0x7C00)
    elif magnitude < 113 << 23:
        # The last bit of 0.5 is worth the smallest float16, so that the addition rounds.
        half = np.int64(_bits_of(_float_of(np.uint32(magnitude)) + np.float32(0.5))) - (126 << 23)
    else:
        half = (magnitude - (112 << 23) + 0xFFF + (magnitude >> 13 & 1)) >> 13
    return np.uint16(half | bits >> 16 & 0x8000)


def _load(array, i, j):
    """An element of float32, or of the bits of float16, as float32."""


@overload(_load)
def _load_of(array, i, j):
    if array.dtype == types.uint16:
        return lambda array, i, j: _from_float16(array[i, j])
    return lambda array, i, j: array[i, j]


def _store(array, i, j, value):
    """Keep a float32 in an array of float32 or of the bits of float16."""


@overload(_store)
def _store_in(array, i, j, value):
    if array.dtype == types.uint16:

        def store(array, i, j, value):
            array[i, j] = _to_float16(value)

    else:

        def store(array, i, j, value):
            array[i, j] = value

    return store


@helper
def _passes(weight):
    return np.float32(1) if abs(weight) <= np.float32(1) else np.float32(0)


def _gradient(g, scale, i, j, weight):
    """The gradient of a weight as float32."""


@overload(_gradient)
def _gradient_of(g, scale, i, j, weight):
    if g.dtype == types.float32:
        return lambda g, scale, i, j, weight: g[i, j]
    if g.dtype == types.uint64:

        def sign(g, scale, i, j, weight):
            is_clear = np.uint32(~g[i, j >> 6] >> np.uint64(j & 63) & np.uint64(1))
            return _float_of(np.uint32(is_clear << 31 | 0x3F800000)) * _passes(weight)

        return sign
    return lambda g, scale, i, j, weight: np.float32(g[i, j] * scale[0]) * _passes(weight)


@kernel
def adam_update(g, scale, coefficients, weight, mean, square):
    """Adam; beta1, rest1, beta2, rest2, rate, epsilon."""
    beta1, rest1, beta2, rest2 = coefficients[0], coefficients[1], coefficients[2], coefficients[3]
    rate, epsilon = coefficients[4], coefficients[5]
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            old = _load(weight, i, j)
            value = _gradient(g, scale, i, j, old)
            first = _load(mean, i, j) * beta1 + value * rest1
            second = _load(square, i, j) * beta2 + (value * value) * rest2
            _store(mean, i, j, first)
            _store(square, i, j, second)
            # Not the operator, which raises where it divides by zero.
            _store(weight, i, j, old - np.divide(rate * first, np.sqrt(second) + epsilon))


@kernel
def sgd_update(g, scale, coefficients, weight, moment):
    """SGD with momentum; momentum, factor (of the gradient), rate."""
    momentum, factor, rate = coefficients[0], coefficients[1], coefficients[2]
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            old = _load(weight, i, j)
            step = _load(moment, i, j) * momentum + _gradient(g, scale, i, j, old) * factor
            _store(moment, i, j, step)
            _store(weight, i, j, old - rate * step)


@kernel
def bop_update(g, scale, coefficients, weight, moment):
    """Bop; keep, factor (of the gradient), threshold."""
    keep, factor, threshold = coefficients[0], coefficients[1], coefficients[2]
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            old = _load(weight, i, j)
            mean = _load(moment, i, j) * keep + _gradient(g, scale, i, j, old) * factor
            _store(moment, i, j, mean)
            # The sign bit turned over: LLVM makes a branch of a choice.
            flips = np.uint32(old * mean > threshold)
            _store(weight, i, j, _float_of(np.uint32(_bits_of(old) ^ flips << 31)))
