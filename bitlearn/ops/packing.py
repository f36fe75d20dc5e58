"""Between arrays of values and packed words."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bitlearn.bits import WORD, WORD_BITS, words_for
from bitlearn.ops import check
from bitlearn.ops.dispatch import run

BitOrder = Literal["little", "big"]

# A type that no kernel packs is copied to one that a kernel does, so many values at a time.
_COPIED_VALUES = 2**16


def pack(x: ArrayLike, *, axis: int = -1, threshold: ArrayLike = 0, out: np.ndarray | None = None) -> np.ndarray:
    """Pack values into words: one bit a value, set where ``x >= threshold``.

    Parameters
    ----------
    x : array_like, shape (..., n)
        Real numbers or bool.
    axis : int
        The axis to pack; another axis than the last is moved last first.
    threshold : array_like
        A scalar, or an array of shape (n,) along the packed axis. Compared as NumPy compares it with `x`. Not for
        bool, whose bits are the values.
    out : ndarray of uint64, shape (..., ceil(n / 64)), optional
        Where to write; C-contiguous and not overlapping `x`.

    Returns
    -------
    ndarray of uint64, shape (..., ceil(n / 64))
        Value ``j`` is bit ``j % 64`` of word ``j // 64``; the bits past the last value are zero.

    Raises
    ------
    TypeError
        Where `x` is neither real nor bool, or `out` has another dtype.
    ValueError
        Where `threshold` or `out` has another shape, or `out` cannot be written.

    Notes
    -----
    0.0 and -0.0 are +1 and NaN is -1. ``pack(x)`` equals ``np.packbits(x >= 0, axis=-1, bitorder="little")``,
    zero-padded to whole words.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.pack([0.5, -2.0, 0.0, 3.0])
    array([13], dtype=uint64)
    """
    values = np.asarray(x)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"x must be real numbers or bool, got dtype {values.dtype}")
    if values.ndim == 0:
        raise ValueError("x must have at least one dimension, got a scalar")
    values = np.moveaxis(values, check.axis("axis", axis, values.ndim), -1)
    n = values.shape[-1]
    bound = np.asarray(threshold)
    if bound.dtype.kind not in "fiu":
        raise TypeError(f"threshold must be real numbers, got dtype {bound.dtype}")
    if bound.shape not in ((), (n,)):
        raise ValueError(f"threshold must be a scalar or of shape ({n},), got shape {bound.shape}")
    result = check.output(out, (*values.shape[:-1], words_for(n)), WORD, [values, threshold])
    rows = math.prod(values.shape[:-1])

    if values.dtype.kind == "b":
        if bound.any():
            raise ValueError("threshold must be 0 for bool, whose bits are the values")
    elif values.dtype.kind == "f":
        # A Python scalar takes the type of x, as it does in ``x >= threshold``.
        common = np.result_type(values.dtype, threshold if type(threshold) in (int, float) else bound.dtype)
        bound = bound.astype(common)
        common = np.promote_types(common, np.float32)
        if common in (np.float32, np.float64):
            bounds = np.ascontiguousarray(np.broadcast_to(bound.astype(common), (n,)))
            packed = result.reshape(rows, words_for(n))
            step = max(rows, 1) if values.dtype == common else max(1, _COPIED_VALUES // max(n, 1))
            flat = values.reshape(rows, n)
            for start in range(0, rows, step):
                floats = np.require(flat[start : start + step], common, ["C", "A"])
                run("pack", (floats, bounds, packed[start : start + step]))
            return result
        values = values >= bound
    else:
        values = values >= threshold
    flags = np.ascontiguousarray(values).reshape(rows, n)
    run("pack_bool", (flags, result.reshape(rows, words_for(n))))
    return result


def unpack(words: ArrayLike, n: int, *, dtype: DTypeLike = np.int8) -> np.ndarray:
    """Unpack words into an array of -1 and +1.

    Parameters
    ----------
    words : array_like of uint64, shape (..., ceil(n / 64))
    n : int
        How many values the last axis holds.
    dtype : dtype
        A signed integer or floating type.

    Returns
    -------
    ndarray of `dtype`, shape (..., n)

    Raises
    ------
    TypeError
        Where `words` is not uint64, or `dtype` cannot hold -1.
    ValueError
        Where the last axis is not ``ceil(n / 64)`` words.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.unpack(bl.pack([0.5, -2.0, 0.0]), 3)
    array([ 1, -1,  1], dtype=int8)
    """
    n = check.count("n", n)
    source = check.words("words", words, n)
    kind = np.dtype(dtype)
    if kind.kind not in "if":
        raise TypeError(f"dtype must be a signed integer or floating type, got {kind}")
    result = np.empty((*source.shape[:-1], n), dtype=np.int8)
    if result.size:
        rows = math.prod(source.shape[:-1])
        run("unpack", (source.reshape(rows, -1), n, result.reshape(rows, n)))
    return result.astype(kind, copy=False)


def from_packbits(bytes: ArrayLike, n: int, *, bitorder: BitOrder = "little") -> np.ndarray:
    """Turn the output of `numpy.packbits` (along the last axis) into words.

    Parameters
    ----------
    bytes : array_like of uint8, shape (..., ceil(n / 8))
    n : int
        How many values the last axis holds; the bits past them are cleared.
    bitorder : {"little", "big"}
        As given to `numpy.packbits`.

    Returns
    -------
    ndarray of uint64, shape (..., ceil(n / 64))

    Raises
    ------
    TypeError
        Where `bytes` is not uint8.
    ValueError
        Where the last axis is not ``ceil(n / 8)`` bytes.

    Examples
    --------
    >>> import bitlearn as bl
    >>> x = np.array([1.0, -1.0, 1.0])
    >>> bl.from_packbits(np.packbits(x >= 0), 3, bitorder="big") == bl.pack(x)
    array([ True])
    """
    n = check.count("n", n)
    check.choice("bitorder", bitorder, ("little", "big"))
    source = np.asarray(bytes)
    if source.dtype != np.uint8:
        raise TypeError(f"bytes must have dtype uint8, got {source.dtype}")
    if source.ndim == 0 or source.shape[-1] != -(-n // 8):
        raise ValueError(f"bytes must have {-(-n // 8)} bytes in its last axis for n={n}, got shape {source.shape}")
    return pack(np.unpackbits(source, axis=-1, count=n, bitorder=bitorder).astype(bool))


def to_packbits(words: ArrayLike, n: int, *, bitorder: BitOrder = "little") -> np.ndarray:
    """Turn words into what `numpy.packbits` gives along the last axis.

    Parameters
    ----------
    words : array_like of uint64, shape (..., ceil(n / 64))
    n : int
        How many values the last axis holds.
    bitorder : {"little", "big"}

    Returns
    -------
    ndarray of uint8, shape (..., ceil(n / 8))

    Raises
    ------
    TypeError
        Where `words` is not uint64.
    ValueError
        Where the last axis is not ``ceil(n / 64)`` words.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.to_packbits(bl.pack([1.0, -1.0, 1.0]), 3)
    array([5], dtype=uint8)
    """
    n = check.count("n", n)
    check.choice("bitorder", bitorder, ("little", "big"))
    source = check.words("words", words, n).astype(WORD, copy=False)
    as_bytes = source.view(np.uint8)[..., : -(-n // 8)]
    if bitorder == "little":
        return as_bytes.copy()
    return np.packbits(np.unpackbits(as_bytes, axis=-1, bitorder="little"), axis=-1, bitorder="big")


def popcount(words: ArrayLike, axis: int | None = -1) -> np.ndarray:
    """Count the set bits of words along an axis.

    Parameters
    ----------
    words : array_like of uint64
    axis : int or None
        The axis that is summed over; None for all of them.

    Returns
    -------
    ndarray of int64
        The shape of `words` without `axis`.

    Raises
    ------
    TypeError
        Where `words` is not uint64.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.popcount(bl.pack([[1.0, -1.0, 1.0], [-1.0, -1.0, -1.0]]))
    array([2, 0])
    """
    source = check.words("words", words, None)
    source = source.reshape(-1) if axis is None else np.moveaxis(source, check.axis("axis", axis, source.ndim), -1)
    result = np.zeros(source.shape[:-1], dtype=np.int64)
    if source.size:
        rows = np.ascontiguousarray(source).reshape(-1, source.shape[-1])
        run("popcount", (rows, result.reshape(-1)))
    return result


def transpose_bits(words: ArrayLike, n: int) -> np.ndarray:
    """Transpose a packed matrix without unpacking it.

    Parameters
    ----------
    words : array_like of uint64, shape (M, ceil(n / 64))
    n : int
        How many values a row holds.

    Returns
    -------
    ndarray of uint64, shape (n, ceil(M / 64))
        Value ``i`` of row ``j`` is value ``j`` of row ``i`` of `words`.

    Raises
    ------
    TypeError
        Where `words` is not uint64.
    ValueError
        Where `words` is not a matrix of ``ceil(n / 64)`` words a row.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.unpack(bl.transpose_bits(bl.pack([[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]), 2), 3)
    array([[ 1,  1, -1],
           [-1,  1,  1]], dtype=int8)
    """
    n = check.count("n", n)
    source = check.words("words", words, n, 2)
    result = np.empty((n, -(-len(source) // WORD_BITS)), dtype=WORD)
    run("transpose_bits", (source, n, result))
    return result
