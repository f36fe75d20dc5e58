"""Softmax cross-entropy, with an exponential that is the same on every processor."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.table import kernel

LOG2_E = 1.4426950408889634
# ln 2 in two parts: a multiple of the first is exact, so that the reduction loses nothing.
LN2 = 0.6931471803691238, 1.9082149292705877e-10
# 1 / k!, k = 0..13: the next term is below 2**-53 for |r| <= ln(2) / 2.
TAYLOR = [1.0]
for _k in range(1, 14):
    TAYLOR.append(TAYLOR[-1] / _k)


def exponential(x):
    """Return exp(x) for x <= 0 in float64, from additions and multiplications alone; 0 below -700.

    `numpy.exp` has other last bits on processors with other vector instructions, and the weights of an integer policy
    are to be the same everywhere.
    """
    clipped = np.maximum(x, -700.0)
    k = np.rint(clipped * LOG2_E)
    r = (clipped - k * LN2[0]) - k * LN2[1]
    total = np.full_like(r, TAYLOR[-1])
    for coefficient in reversed(TAYLOR[:-1]):
        total = total * r + coefficient
    return np.where(x < -700.0, 0.0, np.ldexp(total, k.astype(np.int32)))


@kernel(
    writes="powers terms out finite",
    labels="int64[rows]",
    scores="float32[rows, classes]",
    powers="float64[rows, classes]",
    terms="float64[2, rows]",
    out="float32[rows, classes]",
    finite="uint8[1]",
    operations={"multiply float64": 18, "add float64": 18},
)
def softmax_gradient(labels, scores, powers, terms, out, finite):
    """out = (softmax(scores) - onehot(labels)) / rows; powers = exp(scores - the row's largest).

    terms[0] = the sums of the powers, one by one; terms[1] = the label's score less the largest. There is at least a
    class. Where a score is not finite, finite = 0 and the rest is anything; else it stays.
    """
    if not np.isfinite(scores).all():
        finite[0] = 0
        return
    rows, wide = np.arange(len(labels)), scores.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    terms[1] = shifted[rows, labels]
    powers[...] = exponential(shifted)
    terms[0] = 0
    for column in powers.T:
        terms[0] += column
    gradient = powers / terms[0][:, None]
    gradient[rows, labels] -= 1.0
    out[...] = gradient / max(len(labels), 1)


@kernel(
    labels="int64[rows]",
    powers="float64[rows, classes]",
    terms="float64[2, rows]",
    levels=(255, 65535),
    out="int32[rows, classes]",
    operations={"multiply float64": 2},
)
def probability_gradient(labels, powers, terms, levels, out):
    """out = round(levels * powers / terms[0]) - levels * onehot(labels): what `softmax_gradient` gave, as integers.

    Ties to even. A probability in [0, 1] is so many levels of 1 / levels, and its gradient exact integers of them.
    """
    rows = np.arange(len(labels))
    out[...] = np.rint(powers / terms[0][:, None] * levels)
    out[rows, labels] -= levels
