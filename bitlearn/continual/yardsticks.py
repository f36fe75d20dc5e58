"""Baselines: simple learners of exact sums that a continual-learning method has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.bits import WORD, Bits, words_for
from bitlearn.continual.analytic import DrawnFeatures
from bitlearn.continual.features import Values
from bitlearn.continual.gaussian import GaussianLearner
from bitlearn.continual.head import LinearHead
from bitlearn.continual.incremental import Form, IncrementalLearner
from bitlearn.continual.packed import read, widened
from bitlearn.continual.statistics import Statistics
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.model import Model
from bitlearn.ops.matmul import hamming
from bitlearn.ops.packing import pack


class _OfTheInput(IncrementalLearner):
    """A learner whose features are the input itself."""

    def _size(self, form: Form) -> tuple[int, int]:
        values = Values(*form)
        return values.count, values.largest

    def _features(self, form: Form, count: int) -> Values:
        return Values(*form)

    def _feature_bytes(self, form: Form, count: int, rows: int) -> tuple[int, int]:
        return 0, Values.work(*form, rows)


class NearestClassMean(_OfTheInput):
    """Predict the class with the nearest mean.

    Parameters
    ----------
    examples : int, optional
        The largest number of examples that it holds at a time, 2**31 - 1 by default; with fewer, its integers are
        narrower.
    classes : int, optional
        The largest number of classes.
    backbone : Frozen or Model, optional
        A network that ends in packed bits, which become the input.

    Notes
    -----
    It keeps exact integer sums of the codes of each class, and predicts ``argmin_c |x - m_c|**2``.

    Examples
    --------
    >>> learner = NearestClassMean().partial_fit(np.array([[0, 9], [1, 8], [9, 0]], dtype=np.uint8), ["a", "a", "b"])
    >>> learner.predict(np.array([[2, 5]], dtype=np.uint8)).tolist()
    ['a']
    """

    kind = "nearest class mean"

    def _head(self, statistics: Statistics, work: int) -> LinearHead:
        head = LinearHead(statistics.features, len(statistics.labels))
        for row, count in enumerate(statistics.counts.tolist()):
            mean = read(statistics.sums[row])[:, None] / count
            head.put(row, mean, -(mean**2).sum(axis=0) / 2)
        return head


class LDA(_OfTheInput, GaussianLearner):
    """Linear discriminant analysis of the input: a mean per class and a shared covariance.

    Parameters
    ----------
    examples, classes, backbone
        As `NearestClassMean`.

    Notes
    -----
    It keeps exact integer sums of codes by class, and of the products of all pairs of codes. The within-class
    covariance is shrunk by `bitlearn.continual.gaussian.shrinkage`.

    Examples
    --------
    >>> x = np.array([[10, 90], [20, 99], [90, 10], [99, 30]], dtype=np.uint8)
    >>> LDA().partial_fit(x, [0, 0, 1, 1]).predict(np.array([[80, 20]], dtype=np.uint8))
    array([1])
    """

    kind = "linear discriminant"


class ClassPrototypes(DrawnFeatures):
    """Predict the class whose prototype, the majority of its examples' bits, differs in the fewest bits.

    Parameters
    ----------
    features, seed, memory_budget, classes, examples, backbone
        As `AnalyticLearner`; a feature has one bit.

    Notes
    -----
    It counts for each class how often each bit is set; the prototypes are made from these counts, and ties become 1.
    Distances are popcounts.

    Examples
    --------
    >>> x = np.array([[0, 9, 0, 9], [9, 0, 9, 0]], dtype=np.uint8)
    >>> ClassPrototypes(64).partial_fit(x, ["a", "b"]).predict(x).tolist()
    ['a', 'b']
    """

    kind = "class prototypes"

    def __init__(
        self,
        features: int | None = None,
        *,
        seed: int = 0,
        memory_budget: int | str | None = None,
        classes: int | None = None,
        examples: int | None = None,
        backbone: Frozen | Model | None = None,
    ):
        limits: dict[str, Any] = {"memory_budget": memory_budget, "classes": classes, "examples": examples}
        super().__init__(features, bits=1, seed=seed, backbone=backbone, **limits)

    def settings(self) -> dict[str, Any]:
        """Return its constructor arguments, as stored in a file, without the network."""
        return {name: value for name, value in super().settings().items() if name not in ("bits", "half_life")}

    def _head_bytes(self, features: int, classes: int) -> int:
        return 8 * words_for(features) * classes

    def _head(self, statistics: Statistics, work: int) -> Bits:
        head = np.empty((len(statistics.labels), words_for(statistics.features)), dtype=WORD)
        for row, count in enumerate(statistics.counts.tolist()):
            pack(2 * widened(statistics.sums[row]) - count, out=head[row])
        return Bits(head, statistics.features)

    def _scores(self, head: Bits, codes: np.ndarray) -> np.ndarray:
        return -hamming(pack(codes.astype(bool), axis=0), head.words, head.n).astype(np.float64)
