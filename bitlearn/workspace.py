"""Memory for the large arrays of a step, used again by the next ones.

An allocator gives the pages of large arrays back to the system and gets others in each step, one page fault a page;
what it keeps instead is in pieces that a larger array does not fit. A workspace keeps the memory of arrays that have
been freed, and no more of it than was ever in use at once.
"""

from __future__ import annotations

import contextvars
import math
import mmap
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter

import numpy as np
from numpy.typing import DTypeLike

#: From so many bytes on an array comes from the workspace.
LEAST_BYTES = 2**16
#: From here on its pages are large ones, as in NumPy's own arrays.
_HUGE_BYTES = 2**22

_active: contextvars.ContextVar[Workspace | None] = contextvars.ContextVar("bitlearn_workspace", default=None)


class _Memory:
    """Pages from the system, and where they are: they stay there as long as this object lives."""

    __slots__ = ("address", "pages", "size")

    def __init__(self, size: int) -> None:
        self.size, self.pages = size, mmap.mmap(-1, size)
        if size >= _HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
            self.pages.madvise(mmap.MADV_HUGEPAGE)
        self.address: int = np.frombuffer(self.pages, dtype=np.uint8).__array_interface__["data"][0]


_SIZE = attrgetter("size")


class _Loan:
    """What an array of a workspace looks into; it gives the memory back when the array and its views are gone.

    A `weakref.finalize` in its place takes longer than all the rest of a loan.
    """

    __slots__ = ("__array_interface__", "_memory", "_workspace")

    def __init__(self, workspace: Workspace, memory: _Memory, shape: tuple[int, ...], kind: np.dtype) -> None:
        self._workspace, self._memory = workspace, memory
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": kind.str, "data": (memory.address, False)}

    def __del__(self) -> None:
        self._workspace.take_back(self._memory)


class Workspace:
    """Memory that arrays of a step are made of, and that comes back when they are freed.

    Parameters
    ----------
    frugal : bool
        Leave kept memory that is larger by more than a quarter for a larger array. What is in use is then hardly more
        than the arrays; but memory of new sizes takes the place of old ones in each step, which costs time.

    Attributes
    ----------
    lent, kept : int
        Bytes that arrays are made of now, and bytes that wait for others.

    Notes
    -----
    Arrays may outlive the workspace. Copies of one share nothing: each begins empty.

    Examples
    --------
    >>> workspace = Workspace()
    >>> with workspace.active():
    ...     x = empty((300, 1000), np.int8)
    >>> workspace.lent, workspace.kept
    (303104, 0)
    >>> del x
    >>> workspace.lent, workspace.kept
    (0, 303104)
    """

    def __init__(self, frugal: bool = False) -> None:
        self.frugal = frugal
        self._free: list[_Memory] = []
        self._lock = threading.RLock()  # an array may be freed while its thread is in here
        self.lent = self.kept = self._most = 0

    def __reduce__(self) -> tuple[type[Workspace], tuple[bool]]:
        return Workspace, (self.frugal,)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside the ``with`` block `empty` takes its memory here."""
        token = _active.set(self)
        try:
            yield
        finally:
            _active.reset(token)

    def lend(self, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
        """Return an uninitialised array of at least one value."""
        memory = self._memory(-(-math.prod(shape) * kind.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE)
        return np.asarray(_Loan(self, memory, shape, kind))

    def _memory(self, size: int) -> _Memory:
        with self._lock:
            most = size + size // 4 if self.frugal else sys.maxsize
            fitting = [each for each in self._free if size <= each.size <= most]
            if fitting:
                memory = min(fitting, key=_SIZE)
                self._free.remove(memory)
                self.kept -= memory.size
            else:
                # As much is dropped as is wanted, so that kept memory never adds to what is in use.
                self._most = max(self._most, self.lent + size)
                while self._free and self.lent + self.kept + size > self._most:
                    self.kept -= self._free.pop(0).size
                memory = _Memory(size)
            self.lent += memory.size
            self._most = max(self._most, self.lent)
            return memory

    def take_back(self, memory: _Memory) -> None:
        """Keep the memory of an array that is gone."""
        with self._lock:
            self._free.append(memory)
            self.lent -= memory.size
            self.kept += memory.size


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an uninitialised array for a variable of a step: a large one from the active workspace, if there is one.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray

    Examples
    --------
    >>> empty((2, 3), np.int16).shape
    (2, 3)
    """
    kind, workspace = np.dtype(dtype), _active.get()
    if workspace is None or math.prod(shape) * kind.itemsize < LEAST_BYTES:
        return np.empty(shape, dtype=kind)
    return workspace.lend(shape, kind)
