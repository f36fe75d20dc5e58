"""Moments in 8 bits: a scale for each block of a weight's, rounded at random; updates run on some rows at a time.

A block is a part of what feeds one output. Its largest moment has the largest code, so one large moment costs only its
block precision. What an update changes by less than a code is kept on average, since rounding is at random: to nearest
it would be lost. A mean of squares is kept as codes of its root, which halves the range that they span, and none that
is above 0 becomes 0: an update divides by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bitlearn.nn.step import Step
from bitlearn.program import Array

#: The most moments of a block, and the fewest for which an even part of an output's weights is taken.
_MOST, _LEAST = 256, 16
#: Weights whose moments are widened at a time, and into how many parts a layer's are cut at least.
_AT_A_TIME, _PARTS = 2**17, 4
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


def update(
    step: Step,
    shape: tuple[int, ...],
    moments: list[tuple[Array, Array, Array]],
    run: Callable[[slice, list[Array]], None],
) -> None:
    """Record an update of a weight, some outputs at a time, whose moments are widened and rounded again.

    Parameters
    ----------
    step : Step
    shape : tuple of int
        Of the weight.
    moments : list of (codes, scales, key)
    run : callable
        ``run(outputs, moments)`` records the update of some outputs, whose moments are float32.
    """
    outputs, fan_in, block = shape[0], math.prod(shape[1:]), block_size(shape)
    count, each = max(1, min(-(-outputs // _PARTS), _AT_A_TIME // max(fan_in, 1))), fan_in // max(block, 1)
    rooms = [step.empty("scratch", (count * each, block), np.float32) for _ in moments]
    for start in range(0, outputs, count):
        some = slice(start, min(start + count, outputs))
        rows = slice(some.start * each, some.stop * each)
        wide = [room[: rows.stop - rows.start] for room in rooms]
        for (codes, scale, _), values in zip(moments, wide, strict=True):
            step.run("load_moments", codes.reshape(-1, block)[rows], scale[rows], values)
        run(some, [values.reshape(some.stop - some.start, *shape[1:]) for values in wide])
        for (codes, scale, key), values in zip(moments, wide, strict=True):
            step.run("store_moments", values, key, rows.start, codes.reshape(-1, block)[rows], scale[rows])
