"""Sums of products of what a layer's weights meet: exact integers where these are bits or codes."""

from __future__ import annotations

import math

import numpy as np

from bitlearn.bits import WORD, ones
from bitlearn.ops.conv import Geometry
from bitlearn.ops.matmul import xnor_matmul
from bitlearn.ops.packing import pack, popcount, transpose_bits

#: Rows that are worked on at a time: float64 copies of them are made, and sums of bits stay inside int32.
_ROWS = 2**14


def gram_of_values(x: np.ndarray) -> np.ndarray:
    """Return ``x.T @ x`` in float64: exact where the values are integers of at most 8 bits.

    Parameters
    ----------
    x : ndarray, shape (rows, n)
        Real numbers, or codes.

    Returns
    -------
    ndarray of float64, shape (n, n)

    Examples
    --------
    >>> gram_of_values(np.array([[1, -2], [3, 0]], dtype=np.int8))
    array([[10., -2.],
           [-2.,  4.]])
    """
    found = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), _ROWS):
        part = x[start : start + _ROWS].astype(np.float64)
        found += part.T @ part
    return found


def gram_of_bits(words: np.ndarray, n: int) -> np.ndarray:
    """Return the sums of products of packed ±1 rows, by counting bits: ``rows - 2 * popcount(x_i ^ x_j)``.

    Parameters
    ----------
    words : ndarray of uint64, shape (rows, words)
    n : int

    Returns
    -------
    ndarray of float64, shape (n, n)
        Integers.

    Examples
    --------
    >>> import bitlearn as bl
    >>> gram_of_bits(bl.pack([[1, 1, -1], [1, -1, -1]]), 3)
    array([[ 2.,  0., -2.],
           [ 0.,  2.,  0.],
           [-2.,  0.,  2.]])
    """
    found = np.zeros((n, n))
    for start in range(0, len(words), _ROWS):
        part = words[start : start + _ROWS]
        turned = transpose_bits(part, n)
        found += xnor_matmul(turned, turned, len(part))
    return found


def gram_of_windows(words: np.ndarray, n: int, kernel: tuple[int, int], windows: Geometry) -> np.ndarray:
    """Return the sums of products of the windows that a binary convolution sees of packed maps, by counting bits.

    Parameters
    ----------
    words : ndarray of uint64, shape (batch, height, width, words)
    n : int
        Channels.
    kernel : (int, int)
    windows : Geometry
        Padded places count with its `pad_value`.

    Returns
    -------
    ndarray of float64, shape (kh * kw * n, kh * kw * n)
        Integers; the values of a window stand as in a kernel (row, column, channel).

    Notes
    -----
    There is no bit for a padded 0. With it as -1, and ``z`` a vector of 1 where a tap lies past the edge and 0
    elsewhere, the values are ``s + z``, so the sums are those of ``s``, of ``s`` with ``z`` of each tap, and of ``z``
    with ``z``: all of them counts.
    """
    found = np.zeros((math.prod(kernel) * n,) * 2)
    images = max(1, _ROWS // max(math.prod(windows.out_size), 1))
    for start in range(0, len(words), images):
        found += _of_few(words[start : start + images], n, kernel, windows)
    return found


def _of_few(words: np.ndarray, n: int, kernel: tuple[int, int], windows: Geometry) -> np.ndarray:
    edge = ones((1,), n)[0] if windows.pad_value == 1 else np.zeros(words.shape[-1], dtype=WORD)
    seen = windows_of(words, kernel, windows, edge)
    rows, taps = len(seen), math.prod(kernel)
    turned = np.concatenate([transpose_bits(np.ascontiguousarray(seen[:, tap]), n) for tap in range(taps)])
    found = xnor_matmul(turned, turned, rows).astype(np.float64)
    if windows.pad_value == 0:
        inside = np.ones((len(words), *words.shape[1:3], 1), dtype=np.int8)
        past = pack(1 - 2 * windows_of(inside, kernel, windows, np.zeros(1, np.int8))[..., 0].T)  # +1 past the edge
        total, of_past = 2 * popcount(turned) - rows, 2 * popcount(past) - rows
        mixed = (xnor_matmul(turned, past, rows) + total[:, None]) / 2
        both = (xnor_matmul(past, past, rows) + of_past[:, None] + of_past[None] + rows) / 4
        mixed = np.repeat(mixed, n, axis=1)
        found += mixed + mixed.T + np.repeat(np.repeat(both, n, axis=0), n, axis=1)
    return found


def windows_of(x: np.ndarray, kernel: tuple[int, int], windows: Geometry, edge: np.ndarray) -> np.ndarray:
    """Return the windows that a convolution sees.

    Parameters
    ----------
    x : ndarray, shape (batch, height, width, last)
        Values, or words.
    kernel : (int, int)
    windows : Geometry
    edge : ndarray, shape (last,)
        What stands past the edge.

    Returns
    -------
    ndarray, shape (batch * out_height * out_width, kh * kw, last)
    """
    (rows, columns), last = windows.out_size, x.shape[-1]
    inside = zip(x.shape[1:3], windows.padding, windows.out_size, windows.stride, kernel, strict=True)
    sides = [max(size + pad, (out - 1) * step + tap) for size, pad, out, step, tap in inside]
    padded = np.empty((len(x), *sides, last), dtype=x.dtype)
    padded[...] = edge
    top, left = windows.padding
    padded[:, top : top + x.shape[1], left : left + x.shape[2]] = x
    found = np.empty((len(x), rows, columns, math.prod(kernel), last), dtype=x.dtype)
    down, right = windows.stride
    for tap in range(math.prod(kernel)):
        i, j = divmod(tap, kernel[1])
        ends = i + down * (rows - 1) + 1, j + right * (columns - 1) + 1
        found[:, :, :, tap] = padded[:, i : ends[0] : down, j : ends[1] : right]
    return found.reshape(-1, math.prod(kernel), last)
