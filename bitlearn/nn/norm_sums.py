"""What flows into a batch norm, as rows of channels, whole or a few examples at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn.gradients import groups_of
from bitlearn.nn.real_norm import centred_signs
from bitlearn.nn.step import Step
from bitlearn.nn.value import Value
from bitlearn.program import Array


class Sums:
    """What flows into a batch norm, as rows of channels: whole, or formed anew in each pass, a few examples at a time.

    Parameters
    ----------
    x : Value
    kept : bool
        Whether it is whole in any case.
    """

    def __init__(self, x: Value, kept: bool):
        self.x, self.channels = x, x.spec.channels
        size = math.prod(x.spec.shape)
        self.whole_wanted = kept or x.step.savings.keeps(x.step.batch * size * x.spec.dtype.itemsize)
        spans = [slice(0, x.step.batch)] if self.whole_wanted else x.spans(x.step.savings.block)
        each, at = size // max(self.channels, 1), 0
        self._pieces: list[tuple[slice, slice]] = []
        for some in spans:
            rows = slice(some.start * each, some.stop * each)
            groups = groups_of(rows.stop - rows.start)
            self._pieces.append((rows, slice(at, at + groups)))
            at += groups
        self.rows, self.groups = x.step.batch * each, at

    @property
    def whole(self) -> Array:
        """All of it, (rows, channels)."""
        return self.x.array.pixels()

    def parts(self) -> Iterator[tuple[slice, slice, Array]]:
        """Yield rows, the groups that they are cut into, and their part: (groups, rows of a group, channels)."""
        found = [self.x.array] if self.whole_wanted else (part for _, part in self.x.blocks(self.x.step.savings.block))
        for (rows, groups), part in zip(self._pieces, found, strict=True):
            count = groups.stop - groups.start
            yield rows, groups, part.reshape(count, (rows.stop - rows.start) // count, self.channels)

    def above(self, step: Step, bound: Array) -> Array:
        """Record the sums and counts of what is above a bound of each channel."""
        above = step.empty("sums", (self.groups, 2, self.channels), np.int64)
        for _, at, part in self.parts():
            step.run("channel_sums_above", part, bound, above[at])
        return above


def exact_signs(step: Step, unit: float, y: Array, found: Array, sums: Array, factors: Array, rows: int) -> Array:
    """Record the exact factors behind a mean deviation; return the signs of the sums less their mean."""
    if y.dtype == np.float32:
        signs, above = centred_signs(step, y, found)
        step.run("l1_exact_factors", sums, above, found, rows, unit, factors)
        return signs
    channels, words = y.shape[1], words_for(y.shape[1])
    bounds, finite = step.empty("bounds", (3, channels), np.int32), step.finite()
    step.run("norm_bounds", found, step.constant(np.zeros(channels, np.float32)), bounds, finite)
    signs, unused = (step.empty("scratch", (len(y), words), WORD) for _ in range(2))
    step.run("norm_signs", y, bounds, signs, unused)
    above = step.empty("sums", (1, 2, channels), np.int64)
    step.run("channel_sums_above", y.reshape(1, *y.shape), bounds[:1].reshape(-1), above)
    step.over_batch("sum", above)
    step.run("l1_exact_factors", sums, above, found, rows, unit, factors)
    return signs
