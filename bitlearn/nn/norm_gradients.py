"""The gradient of a batch norm, from its factors and the values that it normalised: kept, or formed again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeGuard

import numpy as np

from bitlearn.nn.gradients import groups_of, largest_code, scale_of
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Write, in_spans
from bitlearn.program import Array


class RecomputedRows:
    """Sums of some examples as rows of channels, which are formed again where a batch norm's gradient needs them.

    Parameters
    ----------
    step : Step
    spec : Spec
        Of the sums.
    recompute : callable
        As a `Value <bitlearn.nn.value.Value>` has it; called as soon as rows are wanted, in the backward pass.
    examples : slice
        Those that there are, of the batch.
    """

    def __init__(self, step: Step, spec: Spec, recompute: Callable[[], Write], examples: slice):
        self._step, self._spec, self._recompute, self._first = step, spec, recompute, examples.start
        self._write: Write | None = None
        self._each = spec.size // max(spec.channels, 1)
        self.shape, self.dtype = ((examples.stop - examples.start) * self._each, spec.channels), spec.dtype
        self._values = math.prod(self.shape)
        step.recomputed = max(step.recomputed, self._values)

    def once(self, grad: Gradient) -> Rows:
        """Return the rows that all passes over their gradient take: formed now, together, where there is room.

        There is where they and the gradient need no more than the gradient of the largest sums does, in its turn.
        """
        own, width = self._values * self.dtype.itemsize, grad.dtype.itemsize
        room = own + self._values * width <= self._step.recomputed * width
        return self[0 : len(self)] if room and self._step.savings.keeps(own) and not grad.formed else self

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Array:
        """Record that whole examples are formed, and return their rows."""
        self._write = self._write or self._recompute()
        some = slice(self._first + rows.start // self._each, self._first + rows.stop // self._each)
        out = self._step.empty("Y", self._spec.array_shape(some.stop - some.start), self._spec.dtype)
        self._write(some, out)
        return out.pixels()


#: Values of a batch as rows of channels: in an array, or formed again a few at a time.
Rows = Array | RecomputedRows
#: Examples that have statistics of their own, the values of them that a batch norm's gradient needs, and its factors.
Normalized = tuple[slice, Rows, Array]


def norm_gradient(step: Step, grad: Gradient, mask: Array, shares: Sequence[Normalized], bits: int | None) -> Gradient:
    """Record a batch norm's gradient of its sums: in place of grad, or wherever that is formed.

    mask has a row for each row of channels of grad, or none; the values of a share one for each of its own.
    """
    limit, channels = largest_code(bits or 8), grad.shape[-1]
    size, scale = step.empty("scales", (1,), np.float32), None
    if not grad.is_real:
        cut = any(is_recomputed(x) for _, x, _ in shares)
        pieces, total = norm_pieces(grad, [examples for examples, _, _ in shares], cut=cut)
        peaks, scale = step.empty("scales", (total,), np.float32), scale_of(step)
        for (examples, x, factors), found in zip(shares, pieces, strict=True):
            blocks = grad.blocks(examples, step.savings.block, cut=cut)
            for (some, groups), (_, part) in zip(found, blocks, strict=True):
                given = in_groups(part, mask, x, some, groups.stop - groups.start, examples.start)
                step.run("norm_gradient_peak", *given, factors, peaks[groups])
        step.over_batch("largest", peaks)
        step.run("norm_step", peaks, limit, grad.scale, size, scale)
    each = int(np.prod(grad.shape[1:-1]))

    def change(examples: slice, values: Array) -> None:
        for share, x, factors in shares:
            both = slice(max(examples.start, share.start), min(examples.stop, share.stop))
            if both.start >= both.stop:
                continue
            for some in in_spans(both, step.savings.block, each * channels) if is_recomputed(x) else [both]:
                rows = slice(some.start * each, some.stop * each)
                own = slice(rows.start - share.start * each, rows.stop - share.start * each)
                d = values[some.start - examples.start : some.stop - examples.start].reshape(-1, channels)
                step.run("norm_gradient", d, mask[rows] if len(mask) else mask, x[own], factors, size, limit, d)

    return grad.changed(change, scale)


def is_recomputed(x: Rows) -> TypeGuard[RecomputedRows]:
    """Whether rows are formed again, so that not many are wanted at a time."""
    return isinstance(x, RecomputedRows)


def norm_pieces(grad: Gradient, shares: Sequence[slice], *, cut: bool) -> tuple[list[list[tuple[slice, slice]]], int]:
    """Return ranges of each share's examples in which a gradient is looked at, groups of their rows, and how many."""
    pieces, at, each = [], 0, int(np.prod(grad.shape[1:-1]))
    for share in shares:
        found = []
        for some in grad.spans(share, grad.step.savings.block, cut=cut):
            groups = groups_of((some.stop - some.start) * each)
            found.append((some, slice(at, at + groups)))
            at += groups
        pieces.append(found)
    return pieces, at


def in_groups(
    part: Array, mask: Array, x: Rows, examples: slice, groups: int, first: int = 0
) -> tuple[Array, Array, Array]:
    """Return some examples of a gradient, and their rows of mask and x, as (groups, rows, ...); x begins at `first`."""
    d = part.reshape(-1, part.shape[-1])
    each = len(d) // max(examples.stop - examples.start, 1)
    rows, size = slice(examples.start * each, examples.stop * each), len(d) // groups
    own = slice(rows.start - first * each, rows.stop - first * each)
    return (
        d.reshape(groups, size, d.shape[1]),
        mask[rows].reshape(groups, size, -1) if len(mask) else mask.reshape(0, 1, 1),
        x[own].reshape(groups, size, x.shape[1]),
    )
