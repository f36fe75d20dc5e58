"""Replay of class means through a head: their gradient is added to that of new examples."""

from __future__ import annotations

import numpy as np

from bitlearn.nn.layer import Arrays
from bitlearn.ops.packing import unpack


class Prototypes:
    """The mean feature of each class, as a linear head sees it.

    Parameters
    ----------
    features, classes : int

    Attributes
    ----------
    sums : ndarray of float64, shape (classes, features)
        Sums of ±1 features: exact integers.
    counts : ndarray of int64, shape (classes,)

    Examples
    --------
    >>> import bitlearn as bl
    >>> prototypes = Prototypes(3, 2)
    >>> prototypes.add(bl.pack([[1, 1, -1], [1, -1, -1]]), np.array([1, 1]))
    >>> prototypes.means
    array([[ 1.,  0., -1.]], dtype=float32)
    """

    def __init__(self, features: int, classes: int):
        self.sums, self.counts = np.zeros((classes, features)), np.zeros(classes, dtype=np.int64)

    def add(self, words: np.ndarray, y: np.ndarray) -> None:
        """Add packed features, (count, words), of the given classes."""
        x = unpack(words, self.sums.shape[1], dtype=np.float64)
        for c in np.unique(y):
            self.sums[c] += x[y == c].sum(axis=0)
        self.counts += np.bincount(y, minlength=len(self.counts))

    def arrays(self) -> Arrays:
        """Return the sums and counts."""
        return {"sums": self.sums, "counts": self.counts}

    def restore(self, arrays: Arrays) -> None:
        """Restore the results of `arrays`; ValueError if they cannot come from features."""
        sums, counts = arrays["sums"], arrays["counts"]
        if (counts < 0).any() or not (np.abs(sums) <= counts[:, None]).all():
            raise ValueError("sums of prototypes must be possible for their counts of ±1 features, got others")
        self.sums[...], self.counts[...] = sums, counts

    def grow(self, classes: int) -> None:
        """Make room for more classes."""
        more = classes - len(self.counts)
        self.sums = np.pad(self.sums, ((0, more), (0, 0)))
        self.counts = np.pad(self.counts, (0, more))

    @property
    def known(self) -> np.ndarray:
        """The classes that have had examples."""
        return np.flatnonzero(self.counts)

    @property
    def means(self) -> np.ndarray:
        """The means of these classes, float32 (known, features)."""
        known = self.known
        return (self.sums[known] / self.counts[known, None]).astype(np.float32)

    @property
    def nbytes(self) -> int:
        """The bytes of a float32 mean and a count for each class."""
        return 4 * self.sums.size + self.counts.nbytes

    def add_gradient(self, weight: np.ndarray, gradient: np.ndarray, temperature: float, times: float) -> None:
        """Add the gradient of ``times * mean over known classes of CE(weight @ mean / temperature, class)``.

        Parameters
        ----------
        weight : ndarray of float32, shape (classes, features)
            The weights of the head.
        gradient : ndarray of float32, shape (classes, features)
            Changed in place.
        temperature, times : float
        """
        known = self.known
        if not len(known) or not times:
            return
        means = self.means
        scores = (means @ weight.T).astype(np.float64) / temperature
        scores -= scores.max(axis=1, keepdims=True)
        d = np.exp(scores)
        d /= d.sum(axis=1, keepdims=True)
        d[np.arange(len(known)), known] -= 1
        d *= times / (temperature * len(known))
        gradient += d.T.astype(np.float32) @ means
