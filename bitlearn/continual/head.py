"""A 16-bit linear head: the solved form of a learner of exact sums, which makes its predictions."""

from __future__ import annotations

import numpy as np

#: The largest integer weight; each class is scaled to reach it.
_LARGEST = 2**15 - 1
#: Features multiplied at a time.
_ROWS = 8


class LinearHead:
    """Scores ``weight' x * scale + bias``, with 16-bit weights and a scale per class.

    Parameters
    ----------
    features, classes : int

    Notes
    -----
    A class's weights are multiples of 1/32,767 of its largest. Products with codes are integers that float64 represents
    exactly, so an example's scores do not depend on the other examples in a call.

    Examples
    --------
    >>> head = LinearHead(2, 1)
    >>> head.put(0, np.array([[0.5], [-1.0]]), np.array([0.25]))
    >>> head.scores(np.array([[4], [1]], dtype=np.uint8)).round(3)
    array([[1.25]])
    """

    def __init__(self, features: int, classes: int):
        self.weight = np.empty((features, classes), dtype=np.int16)
        self.scale, self.bias = np.empty(classes), np.empty(classes)

    @staticmethod
    def size(features: int, classes: int) -> int:
        """Return the bytes of a head."""
        return classes * (2 * features + 16)

    @staticmethod
    def work(classes: int, count: int) -> int:
        """Return the bytes of working memory for the scores of this many examples."""
        return 8 * (_ROWS * (classes + count) + 2 * classes * count)

    @property
    def nbytes(self) -> int:
        """The bytes of the head."""
        return self.weight.nbytes + self.scale.nbytes + self.bias.nbytes

    def put(self, first: int, weight: np.ndarray, bias: np.ndarray) -> None:
        """Set the weights of classes from `first` on; `weight`, float64 (features, classes), is overwritten."""
        classes = slice(first, first + len(bias))
        scale = np.maximum(weight.max(axis=0), -weight.min(axis=0))
        scale[scale == 0] = 1
        scale /= _LARGEST
        weight /= scale
        np.rint(weight, out=weight)
        self.weight[:, classes], self.scale[classes], self.bias[classes] = weight, scale, bias

    def scores(self, codes: np.ndarray) -> np.ndarray:
        """Return scores, float64 (count, classes), for codes, uint8 (features, count)."""
        result = np.zeros((codes.shape[1], len(self.bias)))
        for first in range(0, len(codes), _ROWS):
            rows = slice(first, first + _ROWS)
            result += codes[rows].T.astype(np.float64) @ self.weight[rows].astype(np.float64)
        result *= self.scale
        result += self.bias
        return result


def softmax(scores: np.ndarray) -> np.ndarray:
    """Turn rows of scores into probabilities, in place: ``exp(s) / sum(exp(s))``.

    Parameters
    ----------
    scores : ndarray of float64, shape (count, classes)

    Returns
    -------
    ndarray of float64, shape (count, classes)
        The same array; rows sum to 1.
    """
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores
