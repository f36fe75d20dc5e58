"""Steps on a part of a batch: where the sums of the others are wanted, the program is cut.

Two forms. In the exact one every sum over the batch is that of all parts, and every scale that is a largest value too:
all are integers, or the largest of some numbers, so that each part continues with the very numbers that a step on the
whole batch has. In the other each part is a batch of its own up to its gradients, whose signs are voted on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.program import Array

Kept = list[tuple[str, ParameterGradient]]


class PartialStep(Step):
    """A step on a part of a batch whose updates are those of the whole batch, bit for bit.

    Parameters
    ----------
    batch : int
        How many examples the part has.
    first, whole : int
        The number of its first example, and how many the whole batch has.
    on_gradient, guarded
        As `Step`; updates wait for all gradients.

    Raises
    ------
    ValueError
        While it is recorded: where a sum over the batch is one of floats, whose last bits depend on their order.
    """

    partial = True

    def __init__(
        self, batch: int, first: int, whole: int, on_gradient: Callable[[str, ParameterGradient], None], guarded: bool
    ):
        super().__init__(batch, on_gradient=on_gradient, early=False, guarded=guarded)
        self.first, self.whole = first, whole

    def of_all(self, rows: int) -> int:
        """Return how many rows the whole batch has where the examples of this step have so many."""
        return rows // self.batch * self.whole

    def over_batch(self, how: Literal["sum", "largest"], array: Array) -> None:
        """Record a cut at which rows become the sum or the largest over all parts."""
        self._exact(how, array)
        self.cut(how, array)

    def _exact(self, how: str, array: Array, what: str = "a sum over the batch") -> None:
        if how == "sum" and array.dtype.kind == "f":
            where = f" in layer {self.path!r}" if self.path else ""
            raise ValueError(f"{what} must be one of integers to be exact over parts, got {array.dtype}{where}")

    def whole_gradients(self, kept: Kept) -> Kept:
        """Record one cut at which all sums become whole, then the signs of those that become signs."""
        parts = []
        for name, gradient in kept:
            if not gradient.whole:
                self._exact("sum", gradient.values, f"the gradient of {name!r}")
                parts.append(gradient.values.reshape(1, gradient.values.size))
        self.cut("sum", *parts)
        return [(name, signs_of(self, g) if g.to_sign and not g.whole else g) for name, g in kept]


class VotingStep(Step):
    """A step on a batch of its own whose update is by the signs that most of several steps have.

    Parameters
    ----------
    batch : int
    on_gradient, guarded
        As `Step`; updates wait for all gradients.
    """

    def __init__(self, batch: int, on_gradient: Callable[[str, ParameterGradient], None], guarded: bool):
        super().__init__(batch, on_gradient=on_gradient, early=False, guarded=guarded)

    def whole_gradients(self, kept: Kept) -> Kept:
        """Record the signs of all gradients, and one cut at which they are voted on."""
        voted = [(name, g if g.is_signs else signs_of(self, g)) for name, g in kept]
        self.cut("vote", *(g.values for _, g in voted))
        return voted


def signs_of(step: Step, gradient: ParameterGradient) -> ParameterGradient:
    """Record the packed signs of a gradient, that of 0 being +."""
    values = gradient.values
    *outer, last = values.shape
    words = step.empty("dW", (*outer, words_for(last)), WORD)
    step.run(
        "pack", values.reshape(-1, last), step.constant(np.zeros(1, values.dtype)), words.reshape(-1, words.shape[-1])
    )
    return ParameterGradient(words, None, gradient.clip, gradient.fan_in)
