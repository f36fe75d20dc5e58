"""Run a variant's kernels on arrays that touch pages without access: a script, since a violation ends the process.

    python tests/guard_pages.py cext:avx2            # every kernel
    python tests/guard_pages.py cext:avx2 pack       # some

Each call is announced on standard output before it is made, so the last line names the one that failed. In one call
all arrays end right before a page that may not be touched, in the next one they begin right after one; and the pages
of all but the results, which come last, may not be written.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
from cases import seed
from guards import placed, span
from operands import OPERANDS

from bitlearn.backends import cext
from bitlearn.backends.reference import RESULTS

# As in Linux's and the BSDs' sys/mman.h.
_NONE, _READ, _WRITE = 0, 1, 2
_libc = ctypes.CDLL(None, use_errno=True)


class Room:
    """Memory between two pages without access, for one array at a time."""

    def __init__(self, nbytes: int):
        self.size = max(1, -(-nbytes // mmap.PAGESIZE)) * mmap.PAGESIZE
        self._map = mmap.mmap(-1, self.size + 2 * mmap.PAGESIZE)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._map)) + mmap.PAGESIZE
        self._protect(self._start - mmap.PAGESIZE, mmap.PAGESIZE, _NONE)
        self._protect(self._start + self.size, mmap.PAGESIZE, _NONE)

    def _protect(self, address: int, nbytes: int, access: int) -> None:
        if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(nbytes), access):
            raise OSError(ctypes.get_errno(), "mprotect failed")

    def place(self, array: np.ndarray, at_end: bool, writable: bool) -> np.ndarray:
        """Return a copy of `array` that ends right before the second page, or begins right after the first."""
        self._protect(self._start, self.size, _READ | _WRITE)
        copy = placed(array, self._map, mmap.PAGESIZE + (self.size - span(array)[0] if at_end else 0))
        if not writable:
            self._protect(self._start, self.size, _READ)
        return copy


class Rooms:
    """A room for each argument, made anew where one is too small."""

    def __init__(self):
        self._rooms: dict[int, Room] = {}

    def place(self, arguments: tuple, at_end: bool, results: int = 1) -> list:
        placed = list(arguments)
        for position, each in enumerate(arguments):
            if isinstance(each, np.ndarray):
                if position not in self._rooms or self._rooms[position].size < span(each)[0]:
                    self._rooms[position] = Room(span(each)[0])
                placed[position] = self._rooms[position].place(each, at_end, position >= len(arguments) - results)
        return placed


def run(variant: str, kernel: str, rooms: Rooms) -> None:
    """Call a kernel with arguments of every size and type, placed at the end of their rooms and at their start."""
    rng, operands = np.random.default_rng(seed()), OPERANDS[kernel]
    function, count = cext.VARIANTS[variant][kernel], RESULTS.get(kernel, 1)
    for size in operands.sizes:
        for dtype in operands.dtypes:
            arguments = operands.make(rng, size, dtype)
            results = []
            for at_end in (True, False):
                print(f"{variant} {kernel} {size} {dtype} {'before' if at_end else 'after'} a page", flush=True)
                placed = rooms.place(arguments, at_end, count)
                function(*placed)
                results.append([array.tobytes() for array in placed[-count:]])
            if results[0] != results[1]:
                raise AssertionError("the result depends on where the arrays lie")


def overrun() -> None:
    """Count the bits of one word more than there are, to see a violation noticed."""
    arrays = Rooms().place((np.zeros((1, 8), np.uint64), np.zeros(1, np.int64)), at_end=True)
    x, out = (cext.ffi.cast("void *", array.ctypes.data) for array in arrays)
    portable = cext.lib.bl_variant_count() - 1
    cext.lib.bl_popcount(portable, x, 1, 1, 8, 64, 64, 8, out)
    print("within", flush=True)
    cext.lib.bl_popcount(portable, x, 1, 1, 9, 72, 72, 8, out)
    print("outside", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "overrun":
        overrun()
    else:
        places = Rooms()
        for name in sys.argv[2:] or [name for name in cext.VARIANTS[sys.argv[1]] if name not in cext.EXTRA]:
            run(sys.argv[1], name, places)
        print("passed")
