"""The analytic learner: random few-bit features, exact sums of their products, and a head solved from these."""

from __future__ import annotations

from typing import Any

from bitlearn.continual.budget import budget_bytes
from bitlearn.continual.features import Features, drawn, kept_bytes, work_bytes
from bitlearn.continual.gaussian import GaussianLearner
from bitlearn.continual.incremental import Form, IncrementalLearner
from bitlearn.continual.statistics import MOST_EXAMPLES
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.model import Model
from bitlearn.ops import check
from bitlearn.rng import Key


class DrawnFeatures(IncrementalLearner):
    """A learner on features drawn from a seed; given a memory budget, as many as fit it."""

    def __init__(
        self,
        features: int | None = None,
        *,
        bits: int = 4,
        seed: int = 0,
        memory_budget: int | str | None = None,
        classes: int | None = None,
        examples: int | None = None,
        half_life: int | None = None,
        backbone: Frozen | Model | None = None,
    ):
        super().__init__(examples=examples, classes=classes, backbone=backbone)
        self.bits, self.seed = check.count("bits", bits, least=1), seed
        if self.bits > 8:
            raise ValueError(f"bits must be from 1 to 8, got {bits}")
        Key(seed)  # raises if it is not a valid seed
        if half_life is not None:
            self.half_life = check.count("half_life", half_life, least=1)
            if self.half_life > MOST_EXAMPLES // 2 or examples is not None:
                raise ValueError(
                    f"half_life must be at most {MOST_EXAMPLES // 2} and given without examples, which it limits, got "
                    f"{half_life} with examples={examples}"
                )
        if memory_budget is not None:
            self.budget = budget_bytes(memory_budget)
            if features is not None:
                raise ValueError(f"memory_budget must be given without features, got features={features}")
        self._wanted = None
        if memory_budget is None:
            self._wanted = check.count("features", 256 if features is None else features, least=1)

    def settings(self) -> dict[str, Any]:
        """Return the settings as they are saved to a file, without the network."""
        own = {"features": self._wanted, "bits": self.bits, "seed": int(self.seed), "memory_budget": self.budget}
        return own | {"half_life": self.half_life} | super().settings()

    def _size(self, form: Form) -> tuple[int | None, int]:
        return self._wanted, 2**self.bits - 1

    def _features(self, form: Form, count: int) -> Features:
        return drawn(*form, count, self.bits, self.seed)

    def _feature_bytes(self, form: Form, count: int, rows: int) -> tuple[int, int]:
        return kept_bytes(*form, count), work_bytes(*form, count, rows)


class AnalyticLearner(DrawnFeatures, GaussianLearner):
    """Learn by counting: random few-bit features, exact sums of their products, and a head solved from these.

    Parameters
    ----------
    features : int, optional
        How many features; 256 by default.
    bits : int
        Bits of a feature, 1 to 8.
    seed : int
        The seed of the features.
    memory_budget : int or str, optional
        Bytes, or text such as ``"32 KiB"``: there are as many features as fit, with all storage and working memory
        (`memory`). When new classes or more examples need the room, the last features are dropped.
    classes : int, optional
        The largest number of classes. With `memory_budget`, room for them is reserved from the start, and no feature is
        dropped for them later.
    examples : int, optional
        The largest number of examples that it holds at a time. The fewer, the narrower the integers of its sums. By
        default 2**31 - 1, or with `memory_budget` any number: integers grow by a byte when they must.
    half_life : int, optional
        Halve all sums each time this many examples have been learned, so that old ones count less and less. By default
        never.
    backbone : Frozen or Model, optional
        A pretrained network that ends in packed bits, such as the lower part that ``model.split`` returns.
        It is copied, frozen, and not counted in `nbytes` and `memory_budget`.

    Raises
    ------
    TypeError, ValueError
        If a number is out of its range.

    Notes
    -----
    It keeps the number of examples of each class, the sums of features by class, and the sums of products of features:
    integers that do not depend on order, batches, threads or the backend. So it does not forget, learning in parts and
    merging (`merge`) equals learning everything at once, and `forget` leaves exactly what there would be without the
    examples, bit for bit. The idea is that of RanPAC (arXiv 2307.02251) and RanDumb (arXiv 2402.08823); here the
    features are codes of `bits` bits.

    The features of a seed form a sequence, of which a learner has the first ones, and their sums are a part of the sums
    of more features. So dropping the last ones leaves exactly the sums of a learner that never had them.

    For images of at least 8 × 8 a feature is the mean slope in one direction over a box of the image. For rows of codes
    and for bits it is a random ±1 combination of all values; rows of at most 32 codes are also features themselves.
    Neither needs a mean or a scale of the data: a learned mean would shift as examples arrive, and earlier features
    with it.

    The head is linear discriminant analysis with a shrinkage that is computed from the same sums (arXiv 0907.4698).
    When a prediction is first requested, it is solved for by conjugate gradients in float64, which read the sums block
    by block; its last bits depend on the machine's BLAS.

    With `half_life`, sums are halved after exactly that many examples, rounding down, and so are counts, which have 16
    fractional bits. Then the order of examples matters, `merge` and `forget` raise an error, and a class with less than
    one example left is dropped.

    Examples
    --------
    >>> import bitlearn as bl
    >>> digits = bl.datasets.load("digits")
    >>> learner = AnalyticLearner(memory_budget="8 KiB")
    >>> learner = learner.partial_fit(digits.x_train, digits.y_train)
    >>> learner.score(digits.x_test, digits.y_test) > 0.9, learner.memory().total <= 2**13
    (True, True)
    """

    kind = "analytic learner"
