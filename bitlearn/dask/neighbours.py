"""Nearest neighbours by Hamming distance in a `dask.array` of packed rows: each chunk's own, merged in pairs."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np

import bitlearn as bl
from bitlearn.dask.arrays import rows_of
from bitlearn.ops import check

#: Stands behind every row: what a chunk of fewer than `k` rows lacks.
_FAR = np.iinfo(np.int64).max


def nearest(queries: Any, base: Any, k: int, n: int) -> tuple[Any, Any]:
    """Find the rows of a base that differ from each query in the fewest values: exact nearest neighbours.

    Parameters
    ----------
    queries : dask array or ndarray of uint64, shape (M, words)
    base : dask array of uint64, shape (N, words)
        Each chunk is searched separately, for each chunk of queries; the whole may be larger than any memory.
    k : int
        How many neighbours to find for each query, at most N.
    n : int
        How many values a row holds.

    Returns
    -------
    indices : dask array of int64, shape (M, k)
        Row numbers in the base, nearest first; of equally near rows, the lower number first.
    distances : dask array of int32, shape (M, k)

    Raises
    ------
    TypeError, ValueError
        As `bitlearn.nearest`, before anything is computed.

    Examples
    --------
    >>> import dask.array as da
    >>> base = da.from_array(bl.pack([[1, 1, 1], [-1, -1, 1], [1, 1, -1]]), chunks=(2, 1))
    >>> indices, distances = nearest(bl.pack([[1, 1, -1]]), base, 2, 3)
    >>> indices.compute(), distances.compute()
    (array([[2, 0]]), array([[0, 1]], dtype=int32))
    """
    n, k = check.count("n", n), check.count("k", k, least=1)
    if not isinstance(queries, da.Array):
        queries = da.from_array(check.words("queries", queries, n, 2), chunks=-1)
    asked, searched = rows_of("queries", queries, n), rows_of("base", base, n)
    if k > len(searched):
        raise ValueError(f"k must be at most the {len(searched)} rows of the base, got {k}")
    sizes = searched.chunks[0]
    firsts = da.from_array(np.cumsum((0, *sizes[:-1])), chunks=1)
    parts = da.blockwise(
        _of_chunk, "bqkc", asked, "qw", searched, "bw", firsts, "b", k=k, n=n, dtype=np.int64,
        new_axes={"k": k, "c": 2}, adjust_chunks={"b": 1}, align_arrays=False, concatenate=None,
        meta=np.empty((0, 0, 0, 0), np.int64),
    )  # fmt: skip
    found = da.reduction(
        parts, _as_it_is, _merged, combine=_merged, axis=0, dtype=np.int64, split_every=4, concatenate=True,
        meta=np.empty((0, 0, 0), np.int64),
    )  # fmt: skip
    return found[..., 1], found[..., 0].astype(np.int32)


def _of_chunk(queries: list[np.ndarray], base: list[np.ndarray], first: np.ndarray, k: int, n: int) -> np.ndarray:
    """Return distances and indices of the nearest rows of a chunk, (1, M, k, 2)."""
    (left,), (right,) = queries, base
    found = np.full((1, len(left), k, 2), _FAR)
    own = min(k, len(right))
    if own:
        indices, distances = bl.nearest(left, right, own, n)
        found[0, :, :own, 0], found[0, :, :own, 1] = distances, indices + int(first[0])
    return found


def _as_it_is(part: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return part


def _merged(parts: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    """Return the nearest of several chunks' rows (p, M, k, 2), as (1, M, k, 2) or (M, k, 2)."""
    p, m, k, _ = parts.shape
    each = np.moveaxis(parts, 0, 1).reshape(m, p * k, 2)
    # Chunk after chunk the indices rise, so that a stable sort leaves the lower one of two before the other.
    order = np.argsort(each[..., 0], axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(each, order[..., None], axis=1)
    return found[None] if keepdims else found
