"""Moments in 8 bits: a scale for each block of a weight's, rounded at random; updates widen some rows at a time.

A block is a part of what feeds one output. Its largest moment has the largest code, so one large moment costs only its
block precision. What an update changes by less than a code is kept on average, since rounding is at random: to nearest
it would be lost. A mean of squares is kept as codes of its root, which halves the range that they span, and none that
is above 0 becomes 0: an update divides by it.
"""

from __future__ import annotations

import math

import numpy as np

from bitlearn.nn.step import Step
from bitlearn.optim.parts import Moment
from bitlearn.program import Array

#: The most moments of a block, and the fewest for which an even part of an output's weights is taken.
_MOST, _LEAST = 256, 16
#: The suffix under which a state holds the scales of an array of codes.
SCALE = "scale"


def block_size(shape: tuple[int, ...]) -> int:
    """Return how many moments have one scale: the most that divide what feeds an output, up to 256.

    Parameters
    ----------
    shape : tuple of int
        Of the weight, outputs first.

    Returns
    -------
    int
        All that feed an output where only parts of under 16 divide them.

    Examples
    --------
    >>> block_size((512, 3, 3, 256)), block_size((256, 784)), block_size((64, 3, 3, 3)), block_size((10, 509))
    (256, 196, 27, 509)
    """
    fan_in = math.prod(shape[1:])
    found = next((size for size in range(min(_MOST, fan_in), 0, -1) if fan_in % size == 0), 1)
    return found if found >= min(_LEAST, fan_in) else fan_in


def layout(shape: tuple[int, ...], root: bool) -> tuple[tuple[tuple[int, ...], np.dtype], tuple[tuple[int], np.dtype]]:
    """Return shape and dtype of codes, int8, or uint8 where they are of roots; and of their scales, float32."""
    codes = np.dtype(np.uint8 if root else np.int8)
    return (shape, codes), ((math.prod(shape) // max(block_size(shape), 1),), np.dtype(np.float32))


class Coded(Moment):
    """A moment in 8 bits.

    Parameters
    ----------
    step : Step
    codes : Array of int8 or uint8
        Of the weight's shape.
    scale : Array of float32
        Of a block each.
    key : Array
        Of the random bits with which codes are rounded.
    """

    def __init__(self, step: Step, codes: Array, scale: Array, key: Array):
        self.step, self.codes, self.scale, self.key = step, codes, scale, key

    def prepare(self, shape: tuple[int, ...], count: int) -> None:
        """Have room for wide moments."""
        self.block = block_size(shape)
        self.each = math.prod(shape[1:]) // max(self.block, 1)
        self.room = self.step.empty("scratch", (count, *shape[1:]), np.float32)

    def _rows(self, outputs: slice) -> tuple[slice, Array, Array]:
        """Return which blocks some outputs have, and their codes and scales."""
        rows = slice(outputs.start * self.each, outputs.stop * self.each)
        return rows, self.codes.reshape(-1, self.block)[rows], self.scale[rows]

    def opened(self, outputs: slice) -> Array:
        """Record the moments of some outputs as float32."""
        _, codes, scale = self._rows(outputs)
        found = self.room[: outputs.stop - outputs.start]
        self.step.run("load_moments", codes, scale, found.reshape(-1, self.block))
        return found

    def closed(self, outputs: slice, values: Array) -> None:
        """Record their codes."""
        rows, codes, scale = self._rows(outputs)
        self.step.run("store_moments", values.reshape(-1, self.block), self.key, rows.start, codes, scale)
