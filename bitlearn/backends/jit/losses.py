"""Softmax cross-entropy, with an exponential that is the same on every processor."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel
from bitlearn.backends.reference.losses import LN2, LOG2_E, TAYLOR

_LN2_HIGH, _LN2_LOW = LN2
_TERMS = np.array(TAYLOR[::-1])


@helper
def exponential(x):
    """exp(x) for x <= 0, from additions and multiplications alone; 0 below -700."""
    if x < -700.0:
        return 0.0
    k = np.rint(x * LOG2_E)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total = _TERMS[0]
    for term in _TERMS[1:]:
        total = total * r + term
    return np.ldexp(total, np.int32(k))


@kernel
def softmax_gradient(labels, scores, powers, terms, out, finite):
    """out = (softmax(scores) - onehot(labels)) / rows; terms are the powers' sums and the labels' scores."""
    rows, classes = scores.shape
    for i in range(rows):
        for j in range(classes):
            if not np.isfinite(scores[i, j]):
                finite[0] = 0
                return
    for i in range(rows):
        largest = np.float64(scores[i].max())
        terms[0, i], terms[1, i] = 0, np.float64(scores[i, labels[i]]) - largest
        for j in range(classes):
            powers[i, j] = exponential(np.float64(scores[i, j]) - largest)
            terms[0, i] += powers[i, j]
        for j in range(classes):
            out[i, j] = np.float32((powers[i, j] / terms[0, i] - np.float64(j == labels[i])) / rows)


@kernel
def probability_gradient(labels, powers, terms, levels, out):
    """out = round(levels * powers / terms[0]) - levels * onehot(labels), ties to even."""
    rows, classes = powers.shape
    for i in range(rows):
        for j in range(classes):
            out[i, j] = np.int32(np.rint(powers[i, j] / terms[0, i] * levels))
        out[i, labels[i]] -= np.int32(levels)
