"""The size of a learner of exact sums: its settings, its bytes by purpose, and how many features fit a budget."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from bitlearn.bits import Bits
from bitlearn.continual.budget import Memory
from bitlearn.continual.features import Features, Inputs
from bitlearn.continual.head import LinearHead
from bitlearn.continual.statistics import LEAST_BLOCK, MOST_EXAMPLES, Statistics, least_block
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.model import Model
from bitlearn.ops import check

#: The working memory of a learner without a budget, and the fraction (one over this) of a budget that is working
#: memory.
_FREE_WORK, _WORK_SHARE = 2**20, 8
DEFAULT_EXAMPLES = 2**31 - 1

#: The form of an input: codes or bits, and the shape of one example.
Form = tuple[str, tuple[int, ...]]


def form_of(x: Inputs) -> Form:
    """Return the form of an input: ``("codes", shape)`` or ``("bits", shape)``, with the shape of one example."""
    return "bits" if isinstance(x, Bits) else "codes", tuple(x.shape[1:])


class SizedLearner:
    """The settings and memory of a learner; subclasses add features and prediction.

    Parameters
    ----------
    examples : int, optional
        The largest number of examples that it holds at a time.
    classes : int, optional
        The largest number of classes; unlimited by default.
    backbone : Frozen or Model, optional
        A network that ends in packed bits, which replace the input.
    """

    kind: ClassVar[str]
    #: Whether sums of products of pairs of features are kept.
    pairs: ClassVar[bool] = False
    #: The budget in bytes, and the number of examples after which sums are halved.
    budget: int | None = None
    half_life: int | None = None

    def __init__(
        self,
        *,
        examples: int | None = None,
        classes: int | None = None,
        backbone: Frozen | Model | None = None,
    ):
        self.examples = None if examples is None else check.count("examples", examples, least=1)
        if (self.examples or 0) > MOST_EXAMPLES:
            raise ValueError(f"examples must be at most {MOST_EXAMPLES}, got {examples}")
        self.classes = None if classes is None else check.count("classes", classes, least=1)
        self.backbone = backbone.freeze() if isinstance(backbone, Model) else backbone
        if self.backbone is not None and self.backbone.root.output.kind != "bits":
            raise ValueError(f"backbone must end in packed bits, got one that ends in {self.backbone.root.output}")
        self.form: Form | None = None
        self.statistics: Statistics | None = None
        #: How many examples have been learned since sums were last halved.
        self.since = 0
        self._extractor: Features | None = None
        self._made: Any = None
        #: The arguments and the result of the last search for how many features fit.
        self._fitted: tuple[Any, int] | None = None

    # --- defined by each learner ---

    def settings(self) -> dict[str, Any]:
        """Return the settings as they are saved to a file, without the network."""
        return {"examples": self.examples, "classes": self.classes}

    def _size(self, form: Form) -> tuple[int | None, int]:
        """Return the number of features, None for as many as fit, and the largest code of a feature."""
        raise NotImplementedError

    def _features(self, form: Form, count: int) -> Features:
        """Return the feature extractor."""
        raise NotImplementedError

    def _feature_bytes(self, form: Form, count: int, rows: int) -> tuple[int, int]:
        """Return the bytes that `count` features hold, and their working memory for `rows` examples."""
        raise NotImplementedError

    def _least_solving(self, features: int) -> int:
        """Return the least working memory for solving for the head."""
        return 8 * 4 * features

    def _head_bytes(self, features: int, classes: int) -> int:
        return LinearHead.size(features, classes)

    def _head(self, statistics: Statistics, work: int) -> Any:
        """Return the head that computes scores, solved from the sums with `work` bytes of working memory."""
        raise NotImplementedError

    def _scores(self, head: Any, codes: np.ndarray) -> np.ndarray:
        """Return scores, float64 (count, classes), for codes (features, count); larger means likelier."""
        return head.scores(codes)

    # --- bytes ---

    @property
    def features(self) -> int | None:
        """The number of features; None if it is not known before the first example."""
        if self.statistics is not None:
            return self.statistics.features
        return self._size(self.form or ("codes", (1,)))[0]

    @property
    def nbytes(self) -> int:
        """The bytes of the arrays it holds now: sums, counts, positions of features, and the head once solved."""
        parts = (self.statistics, self._extractor, self._made)
        return sum(part.nbytes for part in parts if part is not None)

    def memory(
        self,
        form: Form | None = None,
        *,
        classes: int | None = None,
        examples: int | None = None,
        features: int | None = None,
        least: bool = False,
    ) -> Memory:
        """Return what its memory is used for, including working memory.

        Parameters
        ----------
        form : (str, tuple of int), optional
            ``("codes", shape)`` or ``("bits", shape)`` of an example; by default that of the learned examples.
        classes, examples, features : int, optional
            How many; by default the limits it was given, or else what it holds now.
        least : bool
            Count the least working memory possible, instead of what makes it fast.

        Returns
        -------
        Memory

        Raises
        ------
        ValueError
            If nothing was learned and no `form` is given.
        """
        form = form or self.form
        if form is None:
            raise ValueError("form must be given before an example was learned, got None")
        held = 0 if self.statistics is None else self.statistics.examples
        classes = classes or self.classes or max(len(self.statistics.labels if self.statistics else ()), 1)
        examples = examples or self._most_examples(held or 1)
        known, largest = self._size(form)
        if features is None:
            features = self.statistics.features if self.statistics is not None else known
        features = features or self._fitting(form, classes, examples)
        places, own = self._feature_bytes(form, features, 1)
        pairs = Statistics.pair_bytes(features, largest, examples) if self.pairs else 0
        sums, head = Statistics.class_bytes(features, largest, examples, classes), self._head_bytes(features, classes)
        share = 0 if least else _FREE_WORK if self.budget is None else self.budget // _WORK_SHARE
        # The size of vectors is fixed; larger blocks mean fewer of them to read.
        solving = self._least_solving(features) + max(share - LEAST_BLOCK, 0)
        predicting = max(own, features + LinearHead.work(classes, 1), share)
        learning = max(own, 5 * features + (least_block(features) if self.pairs else 12 * features)) + 64
        learning = max(learning, 0 if least else head + solving)
        return Memory(pairs, sums, places, head, learning, solving, predicting)

    def _most_examples(self, count: int) -> int:
        """Return the number of examples that integers are wide enough for when it holds `count`."""
        if self.examples is not None:
            return self.examples
        if self.half_life is not None:
            return 2 * self.half_life
        return DEFAULT_EXAMPLES if self.budget is None else count

    def _fitting(self, form: Form, classes: int, examples: int) -> int:
        """Return how many features fit the budget, or raise a ValueError that gives the smallest budget."""
        assert self.budget is not None

        def total(features: int) -> int:
            return self.memory(form, classes=classes, examples=examples, features=features).total

        if total(1) > self.budget:
            raise ValueError(
                f"memory_budget must be at least {total(1)} bytes for {classes} classes and {examples} examples of "
                f"shape {form[1]}, got {self.budget}"
            )
        fits, most = 1, 2
        while total(most) <= self.budget:
            fits, most = most, 2 * most
        while most - fits > 1:
            middle = (fits + most) // 2
            fits, most = (middle, most) if total(middle) <= self.budget else (fits, middle)
        return fits

    def check(self, form: Form) -> Self:
        """Raise ValueError if not even one feature of inputs of this form fits the budget; otherwise return self."""
        if self.budget is not None:
            self._fitting(form, self.classes or 1, self._most_examples(1))
        return self
