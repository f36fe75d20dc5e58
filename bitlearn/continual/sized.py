"""What a learner of exact sums takes: settings, bytes by what they are for, and how many features fit a budget."""

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

#: The work memory of a learner that no budget limits, and the part of a budget that is for work.
_FREE_WORK, _WORK_SHARE = 2**20, 8
DEFAULT_EXAMPLES = 2**31 - 1

#: What an input is: codes or bits, and the shape of one.
Form = tuple[str, tuple[int, ...]]


def form_of(x: Inputs) -> Form:
    """Return what an input is: ``("codes", shape)`` or ``("bits", shape)``, the shape being that of one example."""
    return "bits" if isinstance(x, Bits) else "codes", tuple(x.shape[1:])


class SizedLearner:
    """What a learner is made with, and what it takes; each adds its features and how it predicts.

    Parameters
    ----------
    examples : int, optional
        The most examples that it holds at a time.
    classes : int, optional
        The most classes; any number by default.
    backbone : Frozen or Model, optional
        A network that ends in packed bits, which stand for the input.
    """

    kind: ClassVar[str]
    #: Whether sums of products by pair are kept.
    pairs: ClassVar[bool] = False
    #: The bytes that a budget allows, and after how many examples sums are halved.
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
            raise ValueError(f"backbone must end in packed bits, got one that gives {self.backbone.root.output}")
        self.form: Form | None = None
        self.statistics: Statistics | None = None
        #: How many examples were learned since sums were last halved.
        self.since = 0
        self._extractor: Features | None = None
        self._made: Any = None
        #: How many features fitted last, and what.
        self._fitted: tuple[Any, int] | None = None

    # --- what each learner says of itself ---

    def settings(self) -> dict[str, Any]:
        """Return what it was made with, as a file keeps it; the network apart."""
        return {"examples": self.examples, "classes": self.classes}

    def _size(self, form: Form) -> tuple[int | None, int]:
        """Return how many features there are, None for as many as fit, and the largest code of one."""
        raise NotImplementedError

    def _features(self, form: Form, count: int) -> Features:
        """Return what makes the features' codes."""
        raise NotImplementedError

    def _feature_bytes(self, form: Form, count: int, rows: int) -> tuple[int, int]:
        """Return the bytes that so many features keep, and work with for so many examples."""
        raise NotImplementedError

    def _least_solving(self, features: int) -> int:
        """Return the least bytes of arrays in making a head."""
        return 8 * 4 * features

    def _head_bytes(self, features: int, classes: int) -> int:
        return LinearHead.size(features, classes)

    def _head(self, statistics: Statistics, work: int) -> Any:
        """Return what scores are made with, from the sums, with so many bytes of arrays beside it."""
        raise NotImplementedError

    def _scores(self, head: Any, codes: np.ndarray) -> np.ndarray:
        """Return (count, classes) of float64 for codes (features, count), the larger the likelier."""
        return head.scores(codes)

    # --- bytes ---

    @property
    def features(self) -> int | None:
        """How many features it has; None where that is not known before the first example."""
        if self.statistics is not None:
            return self.statistics.features
        return self._size(self.form or ("codes", (1,)))[0]

    @property
    def nbytes(self) -> int:
        """The bytes of the arrays that it keeps now: sums, counts, where features look, and a head once made."""
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
        """Return where its bytes go, those it works with among them.

        Parameters
        ----------
        form : (str, tuple of int), optional
            ``("codes", shape)`` or ``("bits", shape)`` of an example; that of what was learned by default.
        classes, examples, features : int, optional
            How many; by default the most that it was told of, or else what it holds.
        least : bool
            With the least work memory, in place of what it takes to be quick.

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
            raise ValueError("form must be given before an example was learned, got none")
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
        # Vectors take what they take; the larger the blocks that are read beside them, the fewer.
        solving = self._least_solving(features) + max(share - LEAST_BLOCK, 0)
        predicting = max(own, features + LinearHead.work(classes, 1), share)
        learning = max(own, 5 * features + (least_block(features) if self.pairs else 12 * features)) + 64
        learning = max(learning, 0 if least else head + solving)
        return Memory(pairs, sums, places, head, learning, solving, predicting)

    def _most_examples(self, count: int) -> int:
        """Return for how many examples integers are wide enough when it holds so many."""
        if self.examples is not None:
            return self.examples
        if self.half_life is not None:
            return 2 * self.half_life
        return DEFAULT_EXAMPLES if self.budget is None else count

    def _fitting(self, form: Form, classes: int, examples: int) -> int:
        """Return how many features fit the budget, or raise a ValueError that says what the smallest is."""
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
        """Raise a ValueError where not one feature of inputs of a form fits the budget; else return itself."""
        if self.budget is not None:
            self._fitting(form, self.classes or 1, self._most_examples(1))
        return self
