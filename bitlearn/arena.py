"""The accounting allocator's book: every array of a training step, by the name of its variable.

Layers and optimisers hand each array that a step keeps or passes on to `track`. Where no `Arena` is open that is a
no-op; inside one, the live bytes of each variable are counted until the array is freed. What is counted is what the
arrays own, so a view is counted as the array it looks into, once.
"""

from __future__ import annotations

import contextvars
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

Tracked = TypeVar("Tracked", bound=np.ndarray)

_open: contextvars.ContextVar[Arena | None] = contextvars.ContextVar("bitlearn_arena", default=None)


class Arena:
    """Live and peak bytes by variable.

    Attributes
    ----------
    live, peak : dict of str to int
        Bytes of each variable now, and at most so far.
    total_peak : int
        The most bytes of all variables together.
    """

    def __init__(self) -> None:
        self.live: dict[str, int] = {}
        self.peak: dict[str, int] = {}
        self.total_peak = 0
        self._total = 0
        self._known: set[int] = set()

    def _change(self, name: str, nbytes: int) -> None:
        self.live[name] = self.live.get(name, 0) + nbytes
        self.peak[name] = max(self.peak.get(name, 0), self.live[name])
        self._total += nbytes
        self.total_peak = max(self.total_peak, self._total)

    def _release(self, name: str, identity: int, nbytes: int) -> None:
        self._known.discard(identity)
        self._change(name, -nbytes)

    def add(self, name: str, array: np.ndarray) -> None:
        """Count the memory that `array` owns or looks into, until it is freed.

        Parameters
        ----------
        name : str
            The variable.
        array : ndarray
            Counted once, however many views of its memory are added.
        """
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        if id(owner) in self._known:
            return
        self._known.add(id(owner))
        self._change(name, owner.nbytes)
        weakref.finalize(owner, self._release, name, id(owner), owner.nbytes)


@contextmanager
def accounting() -> Iterator[Arena]:
    """Open an arena: what is tracked inside the ``with`` block is counted in it.

    Yields
    ------
    Arena
        The book, which can be read inside the block and after it.

    Examples
    --------
    >>> with accounting() as arena:
    ...     x = track("X", np.zeros(1000, dtype=np.int8))
    >>> arena.peak
    {'X': 1000}
    """
    arena = Arena()
    token = _open.set(arena)
    try:
        yield arena
    finally:
        _open.reset(token)


def track(name: str, array: Tracked) -> Tracked:
    """Count `array` under the variable `name` in the open arena, if there is one, and return it.

    Parameters
    ----------
    name : str
    array : ndarray

    Returns
    -------
    ndarray
        `array` itself.
    """
    arena = _open.get()
    if arena is not None:
        arena.add(name, array)
    return array
