"""Updates of parameters by the optimisers, in place.

weight, mean, square and moment (rows, n): float32, or uint16 as the bits of float16; all are changed in place. The
arithmetic is float32, one operation after the other. g is a gradient (rows, n) of float32, taken as it is; or int32 or
int64 sums, to be multiplied by scale float64, one (1,) or one a row (rows,); or uint64 words (rows, words) of packed
signs. All pass where |weight| <= clip, infinity at most. coefficients: float32, in the order of each function's first
line.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import to_signs
from bitlearn.backends.table import kernel


def _work(g, scale, clip, coefficients, weight, *moments):
    """A value takes about as long as sixteen operations on a word, most of it for its memory."""
    return 16 * weight.shape[1]


def _real(array):
    """A copy in float32."""
    return (array.view(np.float16) if array.dtype == np.uint16 else array).astype(np.float32)


def _store(array, values):
    target = array.view(np.float16) if array.dtype == np.uint16 else array
    with np.errstate(over="ignore"):  # past the largest float16 comes infinity
        target[...] = values


def _gradient(g, scale, clip, weight):
    if g.dtype == np.uint64:
        g = to_signs(g, weight.shape[1])
    elif g.dtype != np.float32:
        g = g * scale[:, None]
    return g.astype(np.float32) * (np.abs(_real(weight)) <= np.float32(clip))


@kernel(
    writes="weight mean square",
    split="rows",
    work=_work,
    g="float32|int32|bits|int64[rows, n]",
    scale="float64[rows|1]",
    clip=(1.0, np.inf),
    coefficients="float32[6]",
    weight="float32|uint16[rows, n]",
    mean="float32|uint16[rows, n]",
    square="mean[rows, n]",
)
def adam_update(g, scale, clip, coefficients, weight, mean, square):
    """Adam; beta1, rest1, beta2, rest2, rate, epsilon."""
    beta1, rest1, beta2, rest2, rate, epsilon = coefficients
    g = _gradient(g, scale, clip, weight)
    first = _real(mean) * beta1 + g * rest1
    second = _real(square) * beta2 + (g * g) * rest2
    _store(mean, first)
    _store(square, second)
    _store(weight, _real(weight) - rate * first / (np.sqrt(second) + epsilon))


@kernel(
    writes="weight moment",
    split="rows",
    work=_work,
    g="float32|int32|bits|int64[rows, n]",
    scale="float64[rows|1]",
    clip=(1.0, np.inf),
    coefficients="float32[3]",
    weight="float32|uint16[rows, n]",
    moment="float32|uint16[rows, n]",
)
def sgd_update(g, scale, clip, coefficients, weight, moment):
    """SGD with momentum; momentum, factor (of the gradient), rate."""
    momentum, factor, rate = coefficients
    step = _real(moment) * momentum + _gradient(g, scale, clip, weight) * factor
    _store(moment, step)
    _store(weight, _real(weight) - rate * step)


@kernel(
    writes="weight moment",
    split="rows",
    work=_work,
    g="float32|int32|bits|int64[rows, n]",
    scale="float64[rows|1]",
    clip=(1.0, np.inf),
    coefficients="float32[3]",
    weight="float32|uint16[rows, n]",
    moment="float32|uint16[rows, n]",
)
def bop_update(g, scale, clip, coefficients, weight, moment):
    """Bop; keep, factor (of the gradient), threshold."""
    keep, factor, threshold = coefficients
    mean = _real(moment) * keep + _gradient(g, scale, clip, weight) * factor
    old = _real(weight)
    _store(moment, mean)
    _store(weight, np.where(old * mean > threshold, -old, old))


@kernel(writes="counts", counts="int64[n]")
def count_step(counts):
    """counts += 1: the number of a step changes with what the step changes."""
    counts += 1
