"""Packed words as `dask.array`: products, distances and counts, chunk by chunk, of arrays larger than memory.

Each function is that of the same name in `bitlearn`, on chunks; its result is a `dask.array`, computed when asked for,
and equal bit for bit. A chunk of words holds whole rows: where one is cut along its words, it is rechunked.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import DTypeLike

import bitlearn as bl
from bitlearn.bits import WORD, words_for
from bitlearn.ops import check
from bitlearn.ops.matmul import RESULT_TYPES

_BITS = 64


def _known(name: str, x: Any, axes: int | None = None) -> Any:
    """Return a dask array whose chunks are known; TypeError or ValueError where it is none."""
    if not isinstance(x, da.Array):
        raise TypeError(f"{name} must be a dask array, got {type(x).__name__}")
    if axes is not None and x.ndim != axes:
        raise ValueError(f"{name} must have {axes} axes, got {x.ndim}")
    if any(np.isnan(size) for size in x.shape):
        raise ValueError(f"{name} must have chunks of known sizes, got {x.chunks}; compute_chunk_sizes() finds them")
    return x


def rows_of(name: str, x: Any, n: int) -> Any:
    """Return packed rows (rows, words), each in one chunk."""
    found = _known(name, x, 2)
    if found.dtype != WORD:
        raise TypeError(f"{name} must be uint64, got {found.dtype}")
    if found.shape[1] != words_for(n):
        raise ValueError(f"{name} must have {words_for(n)} words in its last axis for n = {n}, got {found.shape[1]}")
    return found if found.numblocks[1] == 1 else found.rechunk({1: -1})


def pack(x: Any, *, threshold: float = 0) -> Any:
    """Pack the signs of values along the last axis.

    Parameters
    ----------
    x : dask array
        Values of a dtype that `bitlearn.pack` takes.
    threshold : float
        A bit is set where the value is at least this.

    Returns
    -------
    dask array of uint64, shape (..., ceil(n / 64))
        In chunks like those of `x`. If these do not end on whole words along the last axis, `x` is rechunked, with a
        `UserWarning`.

    Examples
    --------
    >>> import dask.array as da
    >>> words = pack(da.from_array(np.ones((4, 130)), chunks=(2, 128)))
    >>> words.shape, words.chunks
    ((4, 3), ((2, 2), (2, 1)))
    """
    found = _known("x", x)
    if not found.ndim:
        raise ValueError("x must have an axis to pack, got a single value")
    sizes = found.chunks[-1]
    if any(size % _BITS for size in sizes[:-1]):
        most = -(-max(sizes) // _BITS) * _BITS
        warnings.warn(
            f"chunks must end on whole words of {_BITS} values along the last axis, got {sizes}: rechunked to {most}",
            stacklevel=2,
        )
        found = found.rechunk({found.ndim - 1: most})
    chunks = (*found.chunks[:-1], tuple(words_for(size) for size in found.chunks[-1]))
    return da.map_blocks(bl.pack, found, threshold=threshold, dtype=WORD, chunks=chunks, meta=np.empty((0,), WORD))


def unpack(words: Any, n: int, *, dtype: DTypeLike = np.int8) -> Any:
    """Unpack words to ±1.

    Parameters
    ----------
    words : dask array of uint64, shape (..., ceil(n / 64))
    n : int
    dtype : dtype
        As for `bitlearn.unpack`.

    Returns
    -------
    dask array of `dtype`, shape (..., n)

    Examples
    --------
    >>> import dask.array as da
    >>> unpack(pack(da.ones((2, 70), chunks=(1, 64))), 70).sum().compute()
    np.int64(140)
    """
    n, found = check.count("n", n), _known("words", words)
    if found.dtype != WORD:
        raise TypeError(f"words must be uint64, got {found.dtype}")
    if not found.ndim or found.shape[-1] != words_for(n):
        raise ValueError(f"words must have {words_for(n)} words in its last axis for n = {n}, got shape {found.shape}")
    sizes = [_BITS * size for size in found.chunks[-1]]
    sizes[-1] -= sum(sizes) - n
    chunks = (*found.chunks[:-1], tuple(sizes))
    return da.map_blocks(
        _unpacked, found, n=n, kind=np.dtype(dtype), dtype=np.dtype(dtype), chunks=chunks, meta=np.empty((0,), dtype)
    )


def _unpacked(words: np.ndarray, n: int, kind: np.dtype, block_info: Any = None) -> np.ndarray:
    first = block_info[0]["array-location"][-1][0] * _BITS
    return bl.unpack(words, min(n - first, words.shape[-1] * _BITS), dtype=kind)


def xnor_matmul(a: Any, b: Any, n: int, *, dtype: DTypeLike = np.int32) -> Any:
    """Multiply packed ±1 matrices: the dot products of the rows of `a` with the rows of `b`.

    Parameters
    ----------
    a : dask array of uint64, shape (M, words)
    b : dask array or ndarray of uint64, shape (N, words)
        Each chunk of it is laid out for the kernels once per worker, not once per task.
    n : int
        How many values a row holds.
    dtype : {int16, int32, float32}

    Returns
    -------
    dask array of `dtype`, shape (M, N)
        A chunk for each pair of chunks.

    Raises
    ------
    TypeError, ValueError
        As `bitlearn.xnor_matmul`, before anything is computed.

    Examples
    --------
    >>> import dask.array as da
    >>> a = pack(da.from_array(np.array([[1, -1, 1], [-1, -1, -1]]), chunks=(1, 3)))
    >>> xnor_matmul(a, bl.pack([[1, 1, 1], [-1, 1, 1]]), 3).compute()
    array([[ 1, -1],
           [-3, -1]], dtype=int32)
    """
    return _product(bl.xnor_matmul, a, b, n, dtype)


def hamming(a: Any, b: Any, n: int, *, dtype: DTypeLike = np.int32) -> Any:
    """Count the values in which each row of `a` differs from each row of `b`.

    Parameters
    ----------
    a, b, n, dtype
        As `xnor_matmul`.

    Returns
    -------
    dask array of `dtype`, shape (M, N)

    Examples
    --------
    >>> import dask.array as da
    >>> a = pack(da.from_array(np.array([[1, -1, 1]])))
    >>> hamming(a, bl.pack([[1, 1, 1], [-1, 1, 1]]), 3).compute()
    array([[1, 2]], dtype=int32)
    """
    return _product(bl.hamming, a, b, n, dtype)


def _product(function: Any, a: Any, b: Any, n: int, dtype: DTypeLike) -> Any:
    n, kind = check.count("n", n), check.dtype("dtype", dtype, RESULT_TYPES)
    check.accumulator(n, kind)
    right = b if isinstance(b, da.Array) else da.from_array(check.words("b", b, n, 2), chunks=-1)
    left, right = rows_of("a", a, n), rows_of("b", right, n)
    # The words are contracted, in one chunk; without `concatenate` a chunk comes as it is, and is not copied.
    return da.blockwise(
        _of_chunks, "ij", left, "iw", right, "jw", function=function, n=n, kind=kind, dtype=kind,
        concatenate=None, meta=np.empty((0, 0), kind),
    )  # fmt: skip


def _of_chunks(a: list[np.ndarray], b: list[np.ndarray], function: Any, n: int, kind: np.dtype) -> np.ndarray:
    (left,), (right,) = a, b
    return function(left, weights_of(right, n), n, dtype=kind)


#: What `pack_weights` made of a chunk that lives, by the number of the chunk.
_made: dict[int, tuple[weakref.ref, int, Any]] = {}
_making = threading.Lock()


def weights_of(words: np.ndarray, n: int) -> Any:
    """Return a chunk laid out for the kernels: made once while the chunk lives in this process.

    A worker has one object for a chunk, whichever task asks for it, and no task changes it.
    """
    key = id(words)
    with _making:
        found = _made.get(key)
        if found is not None and found[0]() is words and found[1] == n:
            return found[2]
        # Packing shares no memory with the words, so that they can end, and what was made of them with them.
        made = bl.pack_weights(words, n)
        _made[key] = (weakref.ref(words, lambda _: _made.pop(key, None)), n, made)
        return made


def gram(x: Any, n: int) -> Any:
    """Return the exact Gram matrix of ±1 columns: ``X.T @ X`` of packed rows X.

    Parameters
    ----------
    x : dask array of uint64, shape (M, words)
    n : int
        How many columns there are.

    Returns
    -------
    dask array of int64, shape (n, n)
        In one chunk, the sum over the chunks of rows; a worker's memory must hold it several times.

    Examples
    --------
    >>> import dask.array as da
    >>> values = np.array([[1, -1], [1, 1], [-1, 1]])
    >>> gram(pack(da.from_array(values, chunks=(2, 2))), 2).compute()
    array([[ 3, -1],
           [-1,  3]])
    """
    n = check.count("n", n)
    found = rows_of("x", x, n)
    parts = da.map_blocks(
        _gram, found, n=n, dtype=np.int64, new_axis=2, chunks=((1,) * found.numblocks[0], (n,), (n,)),
        meta=np.empty((0, 0, 0), np.int64),
    )  # fmt: skip
    return parts.sum(axis=0)


def _gram(words: np.ndarray, n: int) -> np.ndarray:
    columns = bl.transpose_bits(words, n)
    return bl.xnor_matmul(columns, columns, len(words)).astype(np.int64)[None]


def class_counts(x: Any, labels: Any, n: int, classes: int) -> tuple[Any, Any]:
    """Count in how many examples of each class each bit is set, and how many examples there are.

    Parameters
    ----------
    x : dask array of uint64, shape (M, words)
    labels : dask array or ndarray of int, shape (M,)
        In [0, classes); others raise an error when the result is computed.
    n, classes : int

    Returns
    -------
    bits : dask array of int64, shape (classes, n)
    examples : dask array of int64, shape (classes,)

    Examples
    --------
    >>> import dask.array as da
    >>> x = pack(da.from_array(np.array([[1, -1], [1, 1], [-1, 1]]), chunks=(2, 2)))
    >>> bits, examples = class_counts(x, np.array([0, 0, 1]), 2, 2)
    >>> bits.compute(), examples.compute()
    (array([[2, 1], [0, 1]]), array([2, 1]))
    """
    n, classes = check.count("n", n), check.count("classes", classes, least=1)
    found = rows_of("x", x, n)
    if not isinstance(labels, da.Array):
        labels = da.from_array(np.asarray(labels))
    if labels.dtype.kind not in "iu" or labels.shape != found.shape[:1]:
        raise ValueError(f"labels must be integers of shape {found.shape[:1]}, got {labels.dtype} {labels.shape}")
    rows = labels.rechunk((found.chunks[0],))[:, None]
    parts = da.map_blocks(
        _class_counts, found, rows, n=n, classes=classes, dtype=np.int64, new_axis=2,
        chunks=((1,) * found.numblocks[0], (classes,), (n + 1,)), meta=np.empty((0, 0, 0), np.int64),
    )  # fmt: skip
    total = parts.sum(axis=0)
    return total[:, :n], total[:, n]


def _class_counts(words: np.ndarray, labels: np.ndarray, n: int, classes: int) -> np.ndarray:
    own = labels[:, 0]
    if own.size and not 0 <= own.min() <= own.max() < classes:
        raise ValueError(f"labels must lie in [0, {classes}), got {own.min()} to {own.max()}")
    one_hot = (own[:, None] == np.arange(classes)).astype(np.int8)
    examples = one_hot.sum(axis=0, dtype=np.int64)
    sums = bl.grad_weight(one_hot, words, n).astype(np.int64)  # of ±1
    return np.concatenate([(sums + examples[:, None]) // 2, examples[:, None]], axis=1)[None]
