"""Updates of a weight some outputs at a time, where moments are not kept in the form in which the rule takes them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from bitlearn.nn.step import Step
from bitlearn.program import Array

#: Weights whose moments are brought into form at a time, and into how many parts a layer's are cut at least.
_AT_A_TIME, _PARTS = 2**16, 8
#: From so many weights on a number that is the same for all of them is kept once. Of fewer, the calls that this needs
#: take as much memory as it saves.
SHARED_FROM = 2**17
_ZERO = np.zeros((1, 1), dtype=np.float32)
_ZERO_BITS = np.zeros((1, 1), dtype=np.int16)


class Moment(ABC):
    """A moment of a weight as it is kept."""

    @abstractmethod
    def prepare(self, shape: tuple[int, ...], count: int) -> None:
        """Have room for the moments of `count` outputs of a weight of that shape."""

    @abstractmethod
    def opened(self, outputs: slice) -> Array:
        """Return the moments of some outputs as the rule's kernel takes and changes them."""

    def closed(self, outputs: slice, values: Array) -> None:  # noqa: B027 - most have nothing to do
        """Record that what the kernel has left is kept."""


class Whole(Moment):
    """A moment that is kept as it is taken.

    Parameters
    ----------
    array : Array
        Of the weight's shape.
    """

    def __init__(self, array: Array):
        self.array = array

    def prepare(self, shape: tuple[int, ...], count: int) -> None:
        """Nothing."""

    def opened(self, outputs: slice) -> Array:
        """Return a part of it."""
        return self.array[outputs]


class Shared(Moment):
    """A number that is the same for all weights, and kept once: the mean of the squares of signs, which are all 1.

    Beyond the clip, where a gradient is stopped and a square would decay, it is taken to be that of the other weights.
    Such a weight has no gradient any more, and never gets back: all that can differ is how far it goes on meanwhile.

    Parameters
    ----------
    step : Step
    number : Array, shape (1,)
    """

    def __init__(self, step: Step, number: Array):
        self.step, self.number = step, number

    def prepare(self, shape: tuple[int, ...], count: int) -> None:
        """Write it as often as a part of the weight has it."""
        step = self.step
        both = step.empty("scratch", (2 * count, *shape[1:]), self.number.dtype)
        self.copies, self.room = both[:count], both[count:]
        flat, done = _plain(self.copies).reshape(-1), 1
        step.run("copy", _plain(self.number).reshape(1, 1), flat[:1].reshape(1, 1))
        while done < flat.size:
            more = min(done, flat.size - done)
            step.run("copy", flat[:more].reshape(1, more), flat[done : done + more].reshape(1, more))
            done += more

    def opened(self, outputs: slice) -> Array:
        """Record a copy for some outputs, which the kernel changes as it changes all others; return it."""
        found = self.room[: outputs.stop - outputs.start]
        self.step.run("copy", _plain(self.copies[: len(found)]).rows(), _plain(found).rows())
        return found


def update(shape: tuple[int, ...], moments: Sequence[Moment], run: Callable[[slice, list[Array]], None]) -> None:
    """Record an update of a weight, some outputs at a time.

    Parameters
    ----------
    shape : tuple of int
        Of the weight.
    moments : sequence of Moment
    run : callable
        ``run(outputs, moments)`` records the update of some outputs.
    """
    outputs, fan_in = shape[0], math.prod(shape[1:])
    count = max(1, min(-(-outputs // _PARTS), _AT_A_TIME // max(fan_in, 1)))
    for moment in moments:
        moment.prepare(shape, count)
    for start in range(0, outputs, count):
        some = slice(start, min(start + count, outputs))
        opened = [moment.opened(some) for moment in moments]
        run(some, opened)
        for moment, values in zip(moments, opened, strict=True):
            moment.closed(some, values)


def single(step: Step, moments: Sequence[Array]) -> list[Array]:
    """Record a weight of one value, 0, and its moments: numbers that are shared as they are, and 0 for the others.

    Parameters
    ----------
    step : Step
    moments : sequence of Array
        Those of shape (1,) are shared.

    Returns
    -------
    list of Array
        The weight, float32, and the moments, all of the type of those that are shared; each (1, 1).
    """
    kind = next(moment.dtype for moment in moments if moment.shape == (1,))
    found = [step.empty("scratch", (1, 1), np.float32)]
    found += [m.reshape(1, 1) if m.shape == (1,) else step.empty("scratch", (1, 1), kind) for m in moments]
    for array in found:
        if array.buffer.memory is None:
            plain = _plain(array)
            step.run("copy", step.constant(_ZERO if plain.dtype == np.float32 else _ZERO_BITS), plain)
    return found


def _plain(array: Array) -> Array:
    """Return an array as the kernel that copies takes it: float16 as its bits."""
    bits = array.dtype == np.float16
    return Array(array.buffer, array.shape, np.dtype(np.int16), array.offset) if bits else array
