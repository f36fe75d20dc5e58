"""Updates of parameters by the optimisers, in place.

weight, mean, square and moment (rows, n): float32, or uint16 as the bits of float16; all are changed in place. The
arithmetic is float32, one operation after the other. g is a gradient (rows, n) of float32; or int32 or int64 sums, to
be multiplied by scale (1,) float64; or uint64 words (rows, words) of packed signs. The last two pass where
|weight| <= 1. coefficients: float32, in the order of each function's first line.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import to_signs


def _real(array):
    """A copy in float32."""
    return (array.view(np.float16) if array.dtype == np.uint16 else array).astype(np.float32)


def _store(array, values):
    target = array.view(np.float16) if array.dtype == np.uint16 else array
    with np.errstate(over="ignore"):  # past the largest float16 comes infinity
        target[...] = values


def _gradient(g, scale, weight):
    if g.dtype == np.float32:
        return g
    values = to_signs(g, weight.shape[1]) if g.dtype == np.uint64 else g * scale
    return values.astype(np.float32) * (np.abs(_real(weight)) <= 1)


def adam_update(g, scale, coefficients, weight, mean, square):
    """Adam; beta1, rest1, beta2, rest2, rate, epsilon."""
    beta1, rest1, beta2, rest2, rate, epsilon = coefficients
    g = _gradient(g, scale, weight)
    first = _real(mean) * beta1 + g * rest1
    second = _real(square) * beta2 + (g * g) * rest2
    _store(mean, first)
    _store(square, second)
    _store(weight, _real(weight) - rate * first / (np.sqrt(second) + epsilon))


def sgd_update(g, scale, coefficients, weight, moment):
    """SGD with momentum; momentum, factor (of the gradient), rate."""
    momentum, factor, rate = coefficients
    step = _real(moment) * momentum + _gradient(g, scale, weight) * factor
    _store(moment, step)
    _store(weight, _real(weight) - rate * step)


def bop_update(g, scale, coefficients, weight, moment):
    """Bop; keep, factor (of the gradient), threshold."""
    keep, factor, threshold = coefficients
    mean = _real(moment) * keep + _gradient(g, scale, weight) * factor
    old = _real(weight)
    _store(moment, mean)
    _store(weight, np.where(old * mean > threshold, -old, old))


KERNELS = {function.__name__: function for function in (adam_update, sgd_update, bop_update)}
