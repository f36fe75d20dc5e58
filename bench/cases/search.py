"""Nearest neighbours by Hamming distance."""

from __future__ import annotations

import numpy as np

import bitlearn as bl

from . import Case, Shape, signs, words

MEANING = "queries × rows × n × k"
FORMS = {"nearest": ("words",)}
GRIDS = {
    "small": {"nearest": ((100, 10_000, 256, 10),)},
    "full": {"nearest": ((1, 1_000_000, 256, 10), (1000, 1_000_000, 256, 10), (1000, 100_000, 1024, 10))},
}
#: Rows whose distances are computed at a time.
_ROWS = 2**15


def takes(kernel: str, form: str, shape: Shape) -> bool:
    return True


def of_blocks(distances: np.ndarray, first: int, best: np.ndarray) -> np.ndarray:
    """Return the k nearest of some rows and of the best so far: distance times 2**32 and index, in one number each.

    Only rows at the k-th distance of the block, or nearer, get such a number.
    """
    k, counts = best.shape[1], distances.astype(np.int32)
    nearest = min(k, counts.shape[1]) - 1
    limits = np.partition(counts, nearest, axis=1)[:, nearest]
    queries, rows = np.nonzero(counts <= limits[:, None])
    each = np.bincount(queries, minlength=len(best))
    place = np.arange(len(queries)) - np.repeat(np.cumsum(each) - each, each)
    keys = np.full((len(best), k + each.max()), 2**62)
    keys[:, :k] = best
    keys[queries, k + place] = (counts[queries, rows].astype(np.int64) << 32) + first + rows
    return np.partition(keys, k - 1, axis=1)[:, :k]


def answer(best: np.ndarray) -> np.ndarray:
    """Return the indices and the distances of such numbers, (2, queries, k), nearest first."""
    ordered = np.sort(best, axis=1)
    return np.stack([ordered & (2**32 - 1), ordered >> 32])


def none_yet(queries: int, k: int) -> np.ndarray:
    """Return the k nearest of no rows."""
    return np.full((queries, k), 2**62)


def make(kernel: str, form: str, shape: Shape, rng: np.random.Generator) -> Case:
    queries, rows, n, k = shape
    a, b = signs(rng, queries, n), signs(rng, rows, n)
    best, left = none_yet(queries, k), a.astype(np.float32)
    for first in range(0, rows, _ROWS):
        dots = left @ b[first : first + _ROWS].T.astype(np.float32)
        best = of_blocks((n - dots) / 2, first, best)
    words_a, words_b = words(a > 0), words(b > 0)
    operands = {"words_a": words_a, "words_b": words_b}
    call = lambda: bl.nearest(words_a, words_b, k, n)  # noqa: E731
    return Case(kernel, form, shape, n, queries * rows * n, "bit", call, answer(best), operands, np.stack)
