"""Softmax cross-entropy, with an exponential that is the same on every processor."""

from __future__ import annotations

import numpy as np

from bitlearn.errors import NonFiniteError

_LOG2_E = 1.4426950408889634
# ln 2 in two parts: a multiple of the first is exact, so that the reduction loses nothing.
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
# 1 / k!, k = 0..13: the next term is below 2**-53 for |r| <= ln(2) / 2.
_TAYLOR = [1.0]
for _k in range(1, 14):
    _TAYLOR.append(_TAYLOR[-1] / _k)


def exponential(x: np.ndarray) -> np.ndarray:
    """Return exp(x) for x <= 0 in float64, from additions and multiplications alone.

    `numpy.exp` has other last bits on processors with other vector instructions, and the weights of an integer policy
    are to be the same everywhere. Below -700 the result is 0.

    Examples
    --------
    >>> bool(abs(exponential(np.array([-1.0]))[0] - np.exp(-1.0)) < 1e-15)
    True
    """
    clipped = np.maximum(x, -700.0)
    k = np.rint(clipped * _LOG2_E)
    r = (clipped - k * _LN2_HIGH) - k * _LN2_LOW
    total = np.full_like(r, _TAYLOR[-1])
    for coefficient in reversed(_TAYLOR[:-1]):
        total = total * r + coefficient
    return np.where(x < -700.0, 0.0, np.ldexp(total, k.astype(np.int32)))


def softmax_cross_entropy(scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean cross-entropy of a batch and its gradient with respect to the scores.

    Parameters
    ----------
    scores : ndarray of float, shape (batch, classes)
    labels : ndarray of int, shape (batch,)
        Each in [0, classes).

    Returns
    -------
    loss : float
        ``mean(log(sum(exp(scores))) - scores[label])``, in nats.
    grad : ndarray of float32, shape (batch, classes)
        ``(softmax(scores) - onehot(labels)) / batch``.

    Raises
    ------
    ValueError
        Where the shapes do not fit, or a label is outside the classes.
    NonFiniteError
        Where a score is NaN or infinite.

    Examples
    --------
    >>> loss, grad = softmax_cross_entropy(np.zeros((1, 2)), np.array([1]))
    >>> round(loss, 4), grad
    (0.6931, array([[ 0.5, -0.5]], dtype=float32))
    """
    labels = np.asarray(labels)
    if scores.ndim != 2 or labels.shape != (len(scores),):
        raise ValueError(f"scores (batch, classes) and labels (batch,) must fit, got {scores.shape} and {labels.shape}")
    classes = scores.shape[1]
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"labels must lie in [0, {classes}), got {labels.min()} to {labels.max()}")
    if not np.isfinite(scores).all():
        raise NonFiniteError("the scores")
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    powers = exponential(shifted)
    # Few classes: their sum is formed one by one, in order.
    total = np.zeros(len(scores))
    for j in range(classes):
        total += powers[:, j]
    chosen = shifted[np.arange(len(labels)), labels]
    loss = float(np.mean(np.log(total) - chosen))
    grad = powers / total[:, None]
    grad[np.arange(len(labels)), labels] -= 1.0
    return loss, (grad / len(labels)).astype(np.float32)
