"""Nearest neighbours by Hamming distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bitlearn import threads as threading
from bitlearn.ops import check
from bitlearn.ops.dispatch import lookup, run

#: The words of a base from which on so many threads share it where the queries are fewer: a few times what starting
#: and waiting for them takes.
_WORDS_WORTH_A_THREAD = 2**17


def _of_parts(queries: np.ndarray, base: np.ndarray, k: int, n: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest rows of the nearest ones of each part of the base, the parts on threads of their own."""
    indices = np.empty((parts, len(queries), k), np.int64)
    distances = np.empty((parts, len(queries), k), np.int32)
    bounds = [len(base) * part // parts for part in range(parts + 1)]
    kernel = lookup("nearest")

    def part(start: int, stop: int) -> None:
        for each in range(start, stop):
            kernel(queries, base[bounds[each] : bounds[each + 1]], n, indices[each], distances[each])
            indices[each][indices[each] >= 0] += bounds[each]

    threading.over_ranges(part, parts, parts)
    # Part after part the indices rise, so a stable sort by distance keeps the lower index first.
    found = np.moveaxis(distances, 0, 1).reshape(len(queries), parts * k)
    order = np.argsort(found, axis=1, kind="stable")[:, :k]
    where = np.moveaxis(indices, 0, 1).reshape(len(queries), parts * k)
    return np.take_along_axis(where, order, axis=1), np.take_along_axis(found, order, axis=1)


def nearest(
    queries: ArrayLike, base: ArrayLike, k: int, n: int | None = None, *, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows of a base that differ from each query in the fewest values: exact nearest neighbours.

    Parameters
    ----------
    queries : array_like of uint64, shape (M, words), or Bits
        Packed values.
    base : array_like of uint64, shape (N, words), or Bits
        Packed values: an array in memory, or a `numpy.memmap`, which each thread reads once for all its queries, from
        the first row to the last.
    k : int
        How many neighbours to find for each query, at most N.
    n : int, optional
        How many values a row holds; ``words = ceil(n / 64)``. Required unless an operand is `Bits`.
    threads : int, optional
        How many threads share the queries, or the base where it has many rows and there are fewer queries. The result
        does not depend on it.

    Returns
    -------
    indices : ndarray of int64, shape (M, k)
        Row numbers in the base, nearest first; of equally near rows, the lower number first.
    distances : ndarray of int32, shape (M, k)
        In how many values they differ: the Hamming distances, ``popcount(query ^ row)``.

    Raises
    ------
    TypeError
        If an operand is not uint64, or a number is not an integer.
    ValueError
        If the shapes do not fit `n`, or `k` is more than the rows of the base.

    Notes
    -----
    Every distance is counted: the search is exhaustive, in blocks of the base that stay in the cache while they are
    compared with all queries. A distance is compared with the k-th best so far as it is counted, so no matrix of
    distances is formed, and only a heap of `k` rows per query is kept. The distance of ±1 vectors is also their dot
    product and their squared Euclidean distance: ``dot = n - 2 * distance``, ``|q - b|**2 = 4 * distance``, in the same
    order.

    Examples
    --------
    >>> import bitlearn as bl
    >>> base = bl.pack([[1, 1, 1], [1, -1, 1], [-1, -1, -1], [1, 1, -1]])
    >>> indices, distances = bl.nearest(bl.pack([[1, -1, -1]]), base, k=3, n=3)
    >>> indices
    array([[1, 2, 3]])
    >>> distances
    array([[1, 1, 1]], dtype=int32)
    """
    n = check.count("n", check.length(n, queries, base), most=2**31 - 1)
    left = check.words("queries", queries, n, 2)
    right = check.words("base", base, n, 2)
    k = check.count("k", k)
    if k > len(right):
        raise ValueError(f"k must be at most the {len(right)} rows of base, got {k}")
    parts = min(threading.resolve(threads), 1 + right.size // _WORDS_WORTH_A_THREAD)
    if parts > 1 and len(left) < parts:
        return _of_parts(left, right, k, n, parts)
    shape = len(left), k
    indices, distances = check.output(None, shape, np.dtype(np.int64), ()), np.empty(shape, np.int32)
    run("nearest", (left, right, n, indices, distances), threads=threads)
    return indices, distances
