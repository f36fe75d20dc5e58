"""The analytic learner: random features of a few bits, their exact sums, and a head that is solved for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bitlearn.continual.features import Inputs, drawn
from bitlearn.continual.gaussian import GaussianLearner
from bitlearn.continual.incremental import DEFAULT_EXAMPLES, Form, IncrementalLearner
from bitlearn.continual.statistics import Statistics, budget_bytes
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.model import Model
from bitlearn.ops import check
from bitlearn.rng import Key


class DrawnFeatures(IncrementalLearner):
    """A learner of features that are drawn from a seed, as many as fit a number of bytes where one is given."""

    def __init__(
        self,
        features: int | None = None,
        *,
        bits: int = 4,
        seed: int = 0,
        memory_budget: int | str | None = None,
        classes: int | None = None,
        examples: int = DEFAULT_EXAMPLES,
        backbone: Frozen | Model | None = None,
    ):
        super().__init__(examples=examples, classes=classes, backbone=backbone)
        self.bits, self.seed = check.count("bits", bits, least=1), seed
        if self.bits > 8:
            raise ValueError(f"bits must be from 1 to 8, got {bits}")
        Key(seed)  # raises where it cannot be one
        if memory_budget is None:
            self.features = check.count("features", 256 if features is None else features, least=1)
        elif features is not None or self.classes is None:
            raise ValueError(
                f"memory_budget must come with classes, the most that are to fit, and without features, got "
                f"classes={classes} and features={features}"
            )
        else:
            self.features = self._fitting(memory_budget, self.classes)

    def _fitting(self, memory_budget: int | str, classes: int) -> int:
        """Return how many features fit."""
        budget, largest = budget_bytes(memory_budget), 2**self.bits - 1

        def size(features: int) -> int:
            return Statistics.size(features, largest, pairs=self.pairs, examples=self.examples, classes=classes)

        if size(1) > budget:
            raise ValueError(f"memory_budget must be at least {size(1)} bytes for {classes} classes, got {budget}")
        least, most = 1, budget  # of which the one fits and the other does not
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (middle, most) if size(middle) <= budget else (least, middle)
        return least

    def settings(self) -> dict[str, Any]:
        """Return what it was made with, as a file keeps it; the network apart."""
        return {"features": self.features, "bits": self.bits, "seed": int(self.seed)} | super().settings()

    def _size(self, form: Form) -> tuple[int, int]:
        return self.features, 2**self.bits - 1

    def _features(self, form: Form) -> Callable[[Inputs], np.ndarray]:
        return drawn(*form, self.features, self.bits, self.seed)


class AnalyticLearner(DrawnFeatures, GaussianLearner):
    """Learn by counting: random features of a few bits, the exact sums of their products, a head by Cholesky.

    Parameters
    ----------
    features : int, optional
        How many features; 256 by default.
    bits : int
        Bits of a feature, 1 to 8.
    seed : int
        Of the features. It is all that is kept of them.
    memory_budget : int or str, optional
        Bytes, or text such as ``"32 KiB"``: as many features are taken as keep `nbytes` within it, for `classes`
        classes and `examples` examples.
    classes : int, optional
        The most classes; any number by default, and wanted with `memory_budget`.
    examples : int
        The most examples that it holds at a time. The fewer, the narrower are the integers of its sums.
    backbone : Frozen or Model, optional
        A network that was trained before and ends in packed bits, such as the lower part that ``model.split`` gives.
        It is copied, frozen, and not counted in `nbytes`.

    Raises
    ------
    TypeError, ValueError
        Where a number is out of its range, or not one feature fits the budget.

    Notes
    -----
    It keeps the number of examples of each class, the sums of features by class, and the sums of products of
    features: integers that no order, batch, thread or backend changes. So it does not forget, learning
    in parts and adding (`merge`) equals learning all at once, and `forget` leaves what there would be without the
    examples, bit for bit. The idea is that of RanPAC (arXiv 2307.02251) and RanDumb (arXiv 2402.08823); here the
    features are codes of `bits` bits, and both kinds of sums are products of packed bits.

    For images of at least 16 × 16 a feature is the difference of two boxes of the image. For smaller ones, for rows of
    codes and for bits it is a random ±1 combination of all values. Neither asks for a mean or a scale of the data: a
    mean that is learned would move while examples come in, and earlier features with it.

    The head is linear discriminant analysis with a shrinkage that is computed from the same sums (arXiv 0907.4698),
    in float64 and when a prediction is first asked for; its last bits are those of the machine's LAPACK. Work memory:
    the sums once more while a batch is learned, and three matrices of float64 (features x features) for the head.

    Examples
    --------
    >>> import bitlearn as bl
    >>> digits = bl.datasets.load("digits")
    >>> learner = AnalyticLearner(memory_budget="8 KiB", classes=10, examples=2000)
    >>> learner.features, learner.partial_fit(digits.x_train, digits.y_train).nbytes
    (66, 8033)
    >>> learner.score(digits.x_test, digits.y_test) > 0.9
    True
    """

    kind = "analytic learner"
