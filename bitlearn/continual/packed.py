"""Integers packed in the fewest whole bytes that hold them, resized in place."""

from __future__ import annotations

import numpy as np

#: Integers moved at a time.
_MOVED = 64


def bytes_of(most: int) -> int:
    """Return how many bytes hold integers from 0 to `most`, at least one.

    Examples
    --------
    >>> bytes_of(255), bytes_of(256), bytes_of(0)
    (1, 2, 1)
    """
    return max(1, -(-most.bit_length() // 8))


def narrowed(values: np.ndarray, width: int) -> np.ndarray:
    """Return integers as `width` bytes each, least significant first, along a new last axis."""
    kind = "<u4" if width <= 4 and values.dtype == np.uint32 else "<i8"
    return np.ascontiguousarray(values, dtype=kind)[..., None].view(np.uint8)[..., :width]


def widened(stored: np.ndarray) -> np.ndarray:
    """Return the results of `narrowed` as int64."""
    whole = np.zeros((*stored.shape[:-1], 8), dtype=np.uint8)
    whole[..., : stored.shape[-1]] = stored
    return whole.view("<i8")[..., 0]


def read(stored: np.ndarray) -> np.ndarray:
    """Return the results of `narrowed` as uint32 if 4 bytes hold them, otherwise as int64."""
    if stored.shape[-1] > 4:
        return widened(stored)
    whole = np.zeros((*stored.shape[:-1], 4), dtype=np.uint8)
    whole[..., : stored.shape[-1]] = stored
    return whole.view("<u4")[..., 0]


def change(stored: np.ndarray, found: np.ndarray, sign: int) -> bool:
    """Add integers to stored ones or subtract them; return whether none fell below 0.

    Parameters
    ----------
    stored : ndarray of uint8, shape (..., width)
        Changed in place. Overflow wraps around, so the opposite change always undoes one.
    found : ndarray, shape (...)
        Non-negative integers.
    sign : {1, -1}

    Returns
    -------
    bool
    """
    values = read(stored)
    found = found.astype(values.dtype, copy=False)
    fits = sign > 0 or bool((found <= values).all())
    (np.add if sign > 0 else np.subtract)(values, found, out=values)
    stored[...] = narrowed(values, stored.shape[-1])
    return fits


def halve(stored: np.ndarray) -> None:
    """Halve stored integers, rounding down, some at a time."""
    flat = stored.reshape(-1, stored.shape[-1])
    for first in range(0, len(flat), _MOVED):
        part = flat[first : first + _MOVED]
        part[...] = narrowed(read(part) >> 1, part.shape[-1])


def relaid(stored: np.ndarray, rows: int, count: int, width: int) -> np.ndarray:
    """Keep the first integers of each row, with a new number of bytes each, in the same memory.

    Parameters
    ----------
    stored : ndarray of uint8, shape (rows, n, bytes)
        It owns its memory, and no view of it is in use.
    rows : int
        At least as many as there are; additional ones are 0.
    count : int
        At most n.
    width : int
        Enough bytes for every integer.

    Returns
    -------
    ndarray of uint8, shape (rows, count, width)

    Examples
    --------
    >>> stored = narrowed(np.array([[1, 2, 3], [4, 5, 6]]), 1).copy()
    >>> widened(relaid(stored, 3, 2, 2)).tolist()
    [[1, 2], [4, 5], [0, 0]]
    """
    had, n, old = stored.shape
    size, flat = (rows * count * width, stored.reshape(-1))
    low = min(old, width)
    for row in range(had if count < n or width < old else 0):  # towards lower addresses: first to last
        for first in range(0, count, _MOVED):
            part = min(_MOVED, count - first)
            start, to = (row * n + first) * old, (row * count + first) * low
            moved = flat[start : start + part * old].reshape(part, old)[:, :low].copy()
            flat[to : to + part * low] = moved.reshape(-1)
    del flat
    stored.resize(max(size, had * count * low), refcheck=False)
    for last in range(had * count if width > low else 0, 0, -_MOVED):  # towards higher addresses: last to first
        first = max(0, last - _MOVED)
        moved = np.zeros((last - first, width), dtype=np.uint8)
        moved[:, :low] = stored[first * low : last * low].reshape(-1, low)
        stored[first * width : last * width] = moved.reshape(-1)
    stored[had * count * width :] = 0
    stored.resize((rows, count, width), refcheck=False)
    return stored
