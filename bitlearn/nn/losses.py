"""Softmax cross-entropy."""

from __future__ import annotations

import numpy as np

from bitlearn.errors import NonFiniteError
from bitlearn.ops.passes import softmax_gradient


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
    terms, grad = softmax_gradient(scores, labels)
    return float(np.mean(np.log(terms[0]) - terms[1])), grad
