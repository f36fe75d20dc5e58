"""Streaming linear discriminant analysis: running means and one running covariance, example by example."""

from __future__ import annotations

import numpy as np

from bitlearn.continual.statistics import MOST_EXAMPLES

#: How far the covariance is shrunk towards the identity: the published value.
SHRINKAGE = 1e-4
#: Rows of the covariance updated at a time, so that they stay in cache.
_ROWS = 64


class StreamingLDA:
    """A running mean per class and one running covariance, in float32.

    Parameters
    ----------
    features, classes : int
    shrinkage : float
        In [0, 1].
    exact : bool
        Whether to compute the within-class covariance, up to float32 rounding; by default the published recursion.

    Attributes
    ----------
    means : ndarray of float32, shape (classes, features)
    counts : ndarray of int64, shape (classes,)
    covariance : ndarray of float32, shape (features, features)

    Notes
    -----
    arXiv 1909.01520. For an example x of class c, after t examples in total and n_c of its class::

        d = x - mean_c                             the mean of a new class is 0
        covariance = (t * covariance + a * d d^T) / (t + 1)
        mean_c += d / (n_c + 1)

    with ``a = t / (t + 1)`` as published. There, the first example of a class counts with its distance from 0, and the
    others as if the class had t examples; ``a = n_c / (n_c + 1)``, used with `exact`, gives the within-class
    covariance. Scores are ``w_c x - w_c mean_c / 2`` with ``w_c = ((1 - e) covariance + e I)^-1 mean_c`` and e the
    shrinkage, solved through eigenvalues in float64; negative ones, due to rounding, count as 0. Class frequencies are
    ignored. A class without examples scores -inf.

    Every addition is of two float32 numbers, so results are the same bits on every processor. It takes ``features**2``
    operations per example, and ``4 * features**2 + (4 * features + 8) * classes`` bytes.

    Examples
    --------
    >>> learner = StreamingLDA(2, 2)
    >>> learner.add(np.array([[1, 9], [2, 8], [9, 1], [8, 3]], dtype=np.float32), np.array([0, 0, 1, 1]))
    >>> learner.scores(np.array([[2, 7]], dtype=np.float32)).argmax(axis=1), learner.nbytes
    (array([0]), 48)
    """

    def __init__(self, features: int, classes: int, *, shrinkage: float = SHRINKAGE, exact: bool = False):
        if not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage must be in [0, 1], got {shrinkage}")
        self.shrinkage, self.exact = shrinkage, exact
        self.means = np.zeros((classes, features), dtype=np.float32)
        self.counts = np.zeros(classes, dtype=np.int64)
        self.covariance = np.zeros((features, features), dtype=np.float32)
        self._head: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of means, counts and covariance."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the live arrays."""
        return {"means": self.means, "counts": self.counts, "covariance": self.covariance}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Fill the arrays with the results of `arrays`; ValueError if no examples can have such counts or means."""
        finite = all(np.isfinite(arrays[name]).all() for name in ("means", "covariance"))
        counts = arrays["counts"]
        if not finite or (counts < 0).any() or counts.sum(dtype=object) > MOST_EXAMPLES:
            raise ValueError("it must hold counts, means and a covariance of examples, got what no examples have")
        for name, array in self.arrays().items():
            array[...] = arrays[name]
        self._head = None

    def grow(self, classes: int) -> None:
        """Make room for more classes, without examples so far."""
        more = classes - len(self.counts)
        self.means = np.concatenate([self.means, np.zeros((more, self.means.shape[1]), dtype=np.float32)])
        self.counts = np.concatenate([self.counts, np.zeros(more, dtype=np.int64)])
        self._head = None

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Learn examples in order.

        Parameters
        ----------
        x : ndarray of float32, shape (count, features)
        y : ndarray of int, shape (count,)
            Each in [0, classes).
        """
        total, self._head = int(self.counts.sum()), None
        room = np.empty((min(_ROWS, len(self.covariance)), len(self.covariance)), dtype=np.float32)
        for example, label in zip(x, y.tolist(), strict=True):
            count = int(self.counts[label])
            difference = example - self.means[label]
            weight = count / (count + 1) if self.exact else total / (total + 1)
            kept, scaled = np.float32(total / (total + 1)), difference * np.float32(weight / (total + 1))
            for start in range(0, len(self.covariance), _ROWS):
                part = self.covariance[start : start + _ROWS]
                part *= kept
                part += np.multiply(scaled[start : start + _ROWS, None], difference, out=room[: len(part)])
            self.means[label] += difference / np.float32(count + 1)
            self.counts[label] += 1
            total += 1

    def head(self) -> tuple[np.ndarray, np.ndarray]:
        """Return weights (features, classes) and biases that give the scores, in float64."""
        from scipy.linalg import eigh

        if self._head is None:
            means = self.means.astype(np.float64)
            values, vectors = eigh(self.covariance.astype(np.float64), overwrite_a=True)
            shrunk = (1 - self.shrinkage) * np.maximum(values, 0) + self.shrinkage
            inverse = np.divide(1, shrunk, out=np.zeros_like(shrunk), where=shrunk > 0)
            weight = vectors @ (inverse[:, None] * (vectors.T @ means.T))
            bias = np.where(self.counts > 0, -(means.T * weight).sum(axis=0) / 2, -np.inf)
            self._head = weight, bias
        return self._head

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Return the scores of examples, (count, classes) of float64; -inf for classes without examples."""
        weight, bias = self.head()
        return x @ weight + bias
