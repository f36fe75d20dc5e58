"""One block of memory for the arrays of a program, placed according to their lifetimes.

Two arrays may share bytes only if no call is in the lifetimes of both. Programs that never run at the same time, such
as those of two networks that share layers, share one block.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Sequence

import numpy as np

from bitlearn.program.record import Buffer

#: Arrays start at cache lines.
ALIGNMENT = 64
#: From this many bytes on, the block requests huge pages, as NumPy's own arrays do.
_HUGE_BYTES = 2**22
_PRIVATE = hasattr(mmap, "MAP_PRIVATE")  # not on Windows, where processes do not fork


def _aligned(size: int, alignment: int = ALIGNMENT) -> int:
    return -(-size // alignment) * alignment


def place(buffers: Sequence[Buffer], calls: int, alignment: int = ALIGNMENT) -> tuple[dict[Buffer, int], int]:
    """Return the offset of each buffer that has no memory of its own, and the bytes they all need.

    Parameters
    ----------
    buffers : sequence of Buffer
    calls : int
        The number of calls in the program.
    alignment : int
        Every offset is a multiple of it.

    Returns
    -------
    offsets : dict of Buffer to int
    nbytes : int

    Notes
    -----
    Largest first, each at the lowest offset that is free during its whole lifetime: the greedy rule of deep learning
    runtimes (arXiv 1907.01989). It is not always optimal, but never exceeds the sum of all.
    """
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    offsets: dict[Buffer, int] = {}
    inside = [buffer for buffer in buffers if buffer.memory is None and buffer.first is not None]
    total = 0
    for buffer in sorted(inside, key=lambda each: -each.nbytes):
        first, last = buffer.first, calls if buffer.last is None else buffer.last
        assert first is not None
        at, size = 0, _aligned(buffer.nbytes, alignment)
        for offset, end, start, stop in placed:
            if first <= stop and start <= last and offset < at + size and at < end:
                at = end
        placed.append((at, at + size, first, last))
        placed.sort()
        offsets[buffer] = at
        total = max(total, at + size)
    return offsets, total


class Arena:
    """A block of memory that programs share, as large as the largest of them needs.

    Attributes
    ----------
    nbytes : int
    generation : int
        Incremented whenever the block is replaced by a larger one, which changes addresses.

    Examples
    --------
    >>> arena = Arena()
    >>> arena.reserve(1000).shape, arena.generation
    ((1000,), 1)
    """

    def __init__(self) -> None:
        self.generation = 0
        self.nbytes = 0
        #: Held by the thread that uses one of the programs, and that thread's identifier, otherwise 0.
        self.lock, self.user = threading.RLock(), 0
        self._block = np.empty(0, dtype=np.uint8)

    def __reduce__(self) -> tuple[type[Arena], tuple[()]]:
        """Copy as an empty arena."""
        return Arena, ()

    def reserve(self, nbytes: int) -> np.ndarray:
        """Return the block, of at least this many bytes, aligned to a cache line; its contents are undefined.

        Raises
        ------
        MemoryError
            If there is not enough memory for a larger one; the block then has no bytes.
        """
        if nbytes > self.nbytes or not self.generation:
            # Release the old block first; nobody may use it from here on, even if the allocation fails.
            self.nbytes, self.generation = 0, self.generation + 1
            self._block = np.empty(0, dtype=np.uint8)
            size = max(_aligned(nbytes), mmap.PAGESIZE)
            try:
                # A forked child must have a copy of its own, not the same pages.
                private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if _PRIVATE else {}
                pages = mmap.mmap(-1, size, **private)
            except (OSError, OverflowError):
                raise MemoryError(f"the arrays of a program must have {nbytes} bytes, got too little memory") from None
            if nbytes >= _HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
                pages.madvise(mmap.MADV_HUGEPAGE)
            self._block, self.nbytes = np.frombuffer(pages, dtype=np.uint8), nbytes
        return self._block[: self.nbytes]
