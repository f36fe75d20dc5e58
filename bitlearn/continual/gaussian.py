"""Linear discriminant analysis from exact sums: a Gaussian per class, a shared covariance, untuned shrinkage."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitlearn.continual.features import Inputs
from bitlearn.continual.head import LinearHead, softmax
from bitlearn.continual.incremental import IncrementalLearner
from bitlearn.continual.packed import read
from bitlearn.continual.statistics import Statistics, blocks, least_block

#: Tolerance of conjugate gradients: the norm of the residual relative to that of the right-hand side.
TOLERANCE = 1e-5
#: Float64 vectors needed while solving: per class, and shared by all classes.
_OF_A_CLASS, _IN_COMMON = 8, 6


def shrinkage(trace: float, squares: float, features: int, count: float) -> float:
    """Return how far, in [0, 1], to shrink a covariance towards the multiple of the identity with the same trace.

    Parameters
    ----------
    trace, squares : float
        The trace of the covariance S, and the sum of the squares of all its elements.
    features : int
        The number of its rows, p.
    count : float
        The number of examples it was computed from, n.

    Returns
    -------
    float
        1 if the covariance is already such a multiple.

    Notes
    -----
    The oracle approximating shrinkage of arXiv 0907.4698, for Gaussian data: with ``t = tr(S)`` and ``q = tr(S S)``,
    ``((1 - 2 / p) q + t**2) / ((n + 1 - 2 / p) (q - t**2 / p))``, at most 1. It needs only S, n and p, which follow
    from the sums; no examples have to be held out.

    Examples
    --------
    >>> round(shrinkage(6.0, 18.0, 3, 10), 3)  # of diag(4, 1, 1)
    0.677
    """
    denominator = (count + 1 - 2 / features) * (squares - trace**2 / features)
    numerator = (1 - 2 / features) * squares + trace**2
    return 1.0 if denominator <= numerator else float(numerator / denominator)


class Covariance:
    """The within-class covariance as an operator on vectors: it is read from the sums block by block, never stored.

    Parameters
    ----------
    statistics : Statistics
        With sums of products.
    work : int
        Bytes of working memory for a block.

    Notes
    -----
    With P the sums of products, n the number of examples, ``m`` the overall mean, ``d_c`` a class's mean minus ``m``,
    and ``w_c = n_c / n``: ``T = P / n - m m'`` is the total covariance, and ``S = T - sum w_c d_c d_c'`` the
    within-class covariance.
    """

    def __init__(self, statistics: Statistics, work: int):
        self.statistics, self.work, self.count = statistics, work, statistics.weight
        self.features = statistics.features
        self.share = statistics.counts / statistics.counts.sum()
        self.mean = np.zeros(self.features)
        for stored in statistics.sums:
            self.mean += read(stored)
        self.mean /= self.count

    def deviations(self, first: int, last: int) -> np.ndarray:
        """Return the means of some classes minus the overall mean, (features, last - first)."""
        found = read(self.statistics.sums[first:last]).astype(np.float64).T
        found /= self.statistics.counts[first:last] / self.statistics.unit
        found -= self.mean[:, None]
        return found

    def _classes(self) -> Iterator[tuple[int, int]]:
        some, classes = max(1, self.work // (20 * self.features)), len(self.share)
        return ((first, min(first + some, classes)) for first in range(0, classes, some))

    def total(self, x: np.ndarray) -> np.ndarray:
        """Return ``T x`` for x of shape (features, columns)."""
        result = np.zeros_like(x)
        for first, last in blocks(self.features, self.work):
            rows = self.statistics.rows_of_products(first, last)
            result[first:last] += rows @ x[:last]
            rows.reshape(-1)[first :: last + 1] = 0  # the diagonal counts once
            result[:last] += rows.T @ x[first:last]
        result /= self.count
        result -= self.mean[:, None] * (self.mean @ x)
        return result

    def between(self, x: np.ndarray, result: np.ndarray) -> np.ndarray:
        """Subtract the between-class covariance times x from a result."""
        for first, last in self._classes():
            found = self.deviations(first, last)
            inner = found.T @ x
            inner *= self.share[first:last, None]
            result -= found @ inner
        return result

    def diagonal(self) -> np.ndarray:
        """Return the diagonal of S."""
        ends = np.arange(self.features)
        ends *= ends + 3
        ends //= 2
        result = read(self.statistics.pairs[ends]).astype(np.float64)
        result /= self.count
        result -= self.mean**2
        for first, last in self._classes():
            result -= self.deviations(first, last) ** 2 @ self.share[first:last]
        return result

    def squares(self, columns: int) -> float:
        """Return the sum of the squares of all elements of S, as ``tr(T T) - sum w_c d_c' (T + S) d_c``."""
        found = 0.0
        for first, last in blocks(self.features, self.work):
            rows = self.statistics.rows_of_products(first, last)
            rows /= self.count
            for row, i in zip(rows, range(first, last), strict=True):
                row[: i + 1] -= self.mean[i] * self.mean[: i + 1]
                found += 2 * float(row[:i] @ row[:i]) + float(row[i]) ** 2
        for first in range(0, len(self.share), columns):
            x = self.deviations(first, first + columns)
            result = self.total(x)
            both = (x * result).sum(axis=0)
            both += (x * self.between(x, result)).sum(axis=0)
            found -= float(both @ self.share[first : first + columns])
        return found


def solved(covariance: Covariance, shift: float, keep: float, inverse: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return ``(keep S + shift I)^-1 right`` by conjugate gradients, to `TOLERANCE`.

    Parameters
    ----------
    covariance : Covariance
    shift, keep : float
    inverse : ndarray of float64, shape (features,)
        One over the diagonal of that matrix: the preconditioner.
    right : ndarray of float64, shape (features, columns)

    Returns
    -------
    ndarray of float64, shape (features, columns)

    Notes
    -----
    The method of Hestenes and Stiefel (1952), for each column separately. A column stops at the tolerance, when
    rounding leaves no direction of positive curvature, or after ten times as many steps as there are features.
    """
    x, residual = np.zeros_like(right), right.copy()
    direction = residual * inverse[:, None]
    size = (residual * direction).sum(axis=0)
    wanted = TOLERANCE**2 * (right**2).sum(axis=0)
    for _ in range(10 * len(right)):
        active = (residual**2).sum(axis=0) > wanted
        if not active.any():
            break
        product = covariance.between(direction, covariance.total(direction))
        product *= keep
        product += shift * direction
        curvature = (direction * product).sum(axis=0)
        active &= curvature > 0
        if not active.any():
            break
        curvature[~active] = 1
        step = active * size / curvature
        x += step * direction
        product *= step
        residual -= product
        np.multiply(residual, inverse[:, None], out=product)
        now = (residual * product).sum(axis=0)
        size[~active] = 1
        now *= active
        direction *= now / size
        direction += product
        size = now
    return x


def discriminant(statistics: Statistics, work: int) -> LinearHead:
    """Return the head of linear discriminant analysis from exact sums.

    Parameters
    ----------
    statistics : Statistics
        With sums of products.
    work : int
        Bytes of working memory, at least `solving_bytes`.

    Returns
    -------
    LinearHead

    Notes
    -----
    With ``m_c`` the mean of class c minus the overall mean and S the within-class covariance, both from exact integers,
    and S moved towards ``tr(S) / p I`` by `shrinkage`, scores are ``m_c S^-1 x - m_c S^-1 m_c / 2 + log(n_c / n)``,
    where x is taken relative to the overall mean. Up to a term that all classes share, this is the logarithm of the
    probability of class c. If S is 0, as after one example, the identity replaces it, so the nearest mean wins.
    """
    features, classes = statistics.features, len(statistics.labels)
    own, common = 8 * _OF_A_CLASS * features, 8 * _IN_COMMON * features
    columns = int(np.clip((work - common - least_block(features)) // (own + own // 2), 1, classes))
    covariance = Covariance(statistics, work - common - columns * own)
    diagonal = covariance.diagonal()
    level = float(diagonal.sum()) / features
    if level > 0:
        share = shrinkage(level * features, covariance.squares(columns), features, covariance.count)
        shift, keep = share * level, 1 - share
        diagonal *= keep
        diagonal += shift
        np.divide(1, diagonal, out=diagonal)
    head = LinearHead(features, classes)
    for first in range(0, classes, columns):
        right = covariance.deviations(first, min(first + columns, classes))
        weight = solved(covariance, shift, keep, diagonal, right) if level > 0 else right
        bias = np.log(covariance.share[first : first + columns]) - (weight * right).sum(axis=0) / 2
        head.put(first, weight, bias - covariance.mean @ weight)
    return head


def solving_bytes(features: int) -> int:
    """Return the least working memory of `discriminant` in bytes, without the head."""
    return 8 * (_OF_A_CLASS + _IN_COMMON) * features + least_block(features)


class GaussianLearner(IncrementalLearner):
    """A learner that predicts by linear discriminant analysis of its features."""

    pairs = True

    def _least_solving(self, features: int) -> int:
        return solving_bytes(features)

    def _head(self, statistics: Statistics, work: int) -> LinearHead:
        return discriminant(statistics, work)

    def predict_proba(self, x: Inputs) -> np.ndarray:
        """Return the probability of each class under the Gaussian model, which is the softmax of the scores.

        Parameters
        ----------
        x
            As `partial_fit`.

        Returns
        -------
        ndarray of float64, shape (count, classes)
            In the order of `labels`; rows sum to 1. Features are not Gaussian, so the values rank classes but are not
            calibrated.
        """
        return softmax(self.scores(x))
