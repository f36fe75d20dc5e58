"""Linear discriminant analysis from exact sums: a Gaussian a class, one covariance, shrunk without a test set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlearn.continual.features import Inputs
from bitlearn.continual.incremental import IncrementalLearner
from bitlearn.continual.statistics import Statistics


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Scores ``x @ weight + bias``; weight (features, classes) and bias (classes,) of float64."""

    weight: np.ndarray
    bias: np.ndarray


def shrinkage(covariance: np.ndarray, count: int) -> float:
    """Return how far to move a covariance towards the multiple of the identity with its trace, in [0, 1].

    Parameters
    ----------
    covariance : ndarray of float64, shape (p, p)
        Of `count` examples.
    count : int

    Returns
    -------
    float
        1 where the covariance is such a multiple already.

    Notes
    -----
    The oracle approximating shrinkage of arXiv 0907.4698, for Gaussian data: with ``t = tr(S)`` and ``q = tr(S S)``,
    ``((1 - 2 / p) q + t**2) / ((n + 1 - 2 / p) (q - t**2 / p))``, at most 1. It asks for nothing but S, n and p, which
    the sums give; no example has to be held out.

    Examples
    --------
    >>> round(shrinkage(np.diag([4.0, 1.0, 1.0]), 10), 3)
    0.677
    """
    p = len(covariance)
    trace, squares = np.trace(covariance), (covariance * covariance).sum()
    denominator = (count + 1 - 2 / p) * (squares - trace**2 / p)
    numerator = (1 - 2 / p) * squares + trace**2
    return 1.0 if denominator <= numerator else float(numerator / denominator)


def discriminant(statistics: Statistics) -> LinearHead:
    """Return the head of linear discriminant analysis from exact sums.

    Parameters
    ----------
    statistics : Statistics
        With sums of products.

    Returns
    -------
    LinearHead

    Notes
    -----
    With ``m_c`` the mean of class c and S the covariance within classes, both from exact integers, and S moved towards
    ``tr(S) / p I`` by `shrinkage`, scores are ``m_c S^-1 x - m_c S^-1 m_c / 2 + log(n_c / n)``: up to what all classes
    share, the logarithm of the probability of class c. S is solved by Cholesky in float64. Where it is 0, as
    after one example, it is taken for the identity, which leaves the nearest mean.
    """
    from scipy.linalg import cho_factor, cho_solve

    counts, sums = statistics.counts, statistics.class_sums().astype(np.float64)
    means = sums / counts[:, None]
    covariance = (statistics.products() - means.T @ sums) / statistics.count
    share = shrinkage(covariance, statistics.count)
    level = np.trace(covariance) / len(covariance)
    covariance *= 1 - share
    covariance[np.diag_indices_from(covariance)] += share * level
    if level <= 0:
        covariance = np.eye(len(covariance))
    weight = cho_solve(cho_factor(covariance, lower=True, overwrite_a=True), means.T)
    bias = np.log(counts / statistics.count) - (means.T * weight).sum(axis=0) / 2
    return LinearHead(weight, bias)


class GaussianLearner(IncrementalLearner):
    """A learner that predicts by linear discriminant analysis of its features."""

    pairs = True

    def _head(self, statistics: Statistics) -> LinearHead:
        return discriminant(statistics)

    def _scores(self, head: LinearHead, codes: np.ndarray) -> np.ndarray:
        return codes @ head.weight + head.bias

    def predict_proba(self, x: Inputs) -> np.ndarray:
        """Return the probability of each class under the Gaussian model, which is the softmax of the scores.

        Parameters
        ----------
        x
            As `partial_fit`.

        Returns
        -------
        ndarray of float64, shape (count, classes)
            In the order of `labels`; rows sum to 1. Features are not Gaussian, so it is a ranking with a sharpness
            of its own, not a calibrated probability.
        """
        scores = self.scores(x)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)
