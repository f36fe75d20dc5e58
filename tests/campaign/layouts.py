"""The same values in memory in many ways."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Bytes of a known value around what may be written.
MARGIN = 64
_FILL = 0x6B


class Subclass(np.ndarray):
    """An array of another class."""


class Holder:
    """Not an array, but something that NumPy makes one of."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Return the array."""
        return self.array if dtype is None else self.array.astype(dtype)


class Guarded:
    """An array of nonsense, or of some values, with margins that nobody may write."""

    def __init__(
        self, shape: tuple[int, ...], kind: np.dtype, rng: np.random.Generator, values: np.ndarray | None = None
    ) -> None:
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        start = MARGIN + kind.itemsize * int(rng.integers(8))
        self.buffer = np.full(size + 3 * MARGIN, _FILL, np.uint8)
        start += -(self.buffer.ctypes.data + start) % kind.itemsize
        self.inside = slice(start, start + size)
        self.array = self.buffer[self.inside].view(kind).reshape(shape)
        if values is not None:
            self.array[...] = values

    def intact_around(self) -> bool:
        """Whether the margins are as they were."""
        before, after = self.buffer[: self.inside.start], self.buffer[self.inside.stop :]
        return bool((before == _FILL).all() and (after == _FILL).all())


def laid(array: Any, rng: np.random.Generator) -> Any:
    """Return an operand of the same values in some layout; what is no array as it is."""
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        return array
    way = int(rng.integers(14))
    if way == 0:
        return _inside(array, array.itemsize * int(rng.integers(1, 9)))
    if way == 1:
        return _inside(array, int(rng.integers(1, 8)))
    if way == 2:
        axis, step = int(rng.integers(array.ndim)), int(rng.integers(2, 4))
        wide = np.full([size * (step if i == axis else 1) for i, size in enumerate(array.shape)], 1, array.dtype)
        view = wide[tuple(slice(None, None, step) if i == axis else slice(None) for i in range(array.ndim))]
        view[...] = array
        return view
    if way == 3:
        turned = tuple(slice(None, None, -1) if rng.random() < 0.5 else slice(None) for _ in array.shape)
        return array[turned].copy()[turned]
    if way == 4:
        return np.asfortranarray(array)
    if way == 5:
        still = array.copy()
        still.flags.writeable = False
        return still
    if way == 6:
        return array.view(Subclass)
    if way == 7 and array.size and array.flags.c_contiguous and array.dtype.isnative and array.dtype != np.longdouble:
        return memoryview(array)
    if way == 8:
        return Holder(array)
    if way == 9:
        return np.broadcast_to(array, array.shape)
    return array


def _inside(array: np.ndarray, start: int) -> np.ndarray:
    """Return a copy that begins so many bytes into its memory: at an odd address for most types, if it is odd."""
    buffer = np.empty(array.nbytes + start, np.uint8)
    view = buffer[start:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def overlapping(
    array: np.ndarray, shape: tuple[int, ...], kind: np.dtype, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a copy of an operand and an array for the result that share at least a byte of memory, both aligned."""
    size = int(np.prod(shape)) * kind.itemsize
    step = max(array.itemsize, kind.itemsize)
    # The result begins somewhere from before the operand's first byte to its last.
    first = -(-size // step) * step
    starts = np.arange(0, first + array.nbytes, kind.itemsize)
    starts = starts[(starts + size > first) & (starts < first + array.nbytes)]
    start = int(starts[rng.integers(len(starts))])
    buffer = np.zeros(first + array.nbytes + size + 16, np.uint8)
    buffer = buffer[-buffer.ctypes.data % 16 :]
    operand = buffer[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    operand[...] = array
    return operand, buffer[start : start + size].view(kind).reshape(shape)


def unchanged(arrays: list[np.ndarray], before: list[bytes]) -> bool:
    """Whether arrays hold the bytes that they held."""
    return all(array.tobytes() == content for array, content in zip(arrays, before, strict=True))
