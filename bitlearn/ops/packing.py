"""Between arrays of values and packed words."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bitlearn.bits import WORD, WORD_BITS, Bits, words_for
from bitlearn.errors import brief
from bitlearn.ops import check
from bitlearn.ops.dispatch import lookup, run
from bitlearn.ops.layout import last, volumes
from bitlearn.ops.thresholds import exact_array, limits_of

BitOrder = Literal["little", "big"]

#: For each type that the kernels pack, its threshold of 0 (True for bool, whose bits are the values).
_ZEROS = {
    np.dtype(kind): np.ones(1, kind) if kind == "?" else np.zeros(1, kind)
    for kind in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
}
_TRUE = _ZEROS[np.dtype(bool)]
# What has no kernel is copied so many values at a time.
_COPIED_VALUES = 2**16


def _pack_copies(values: np.ndarray, limits: np.ndarray, result: np.ndarray) -> None:
    """Pack what no kernel reads in place, by copies of a block of values at a time."""
    n, kind = values.shape[-1], limits.dtype
    columns = min(n, _COPIED_VALUES)
    rows = _COPIED_VALUES // columns if columns == n else 1
    for volume, packed in volumes(values, result, 1):
        for part, words in zip(volume, packed, strict=True):
            for i in range(0, len(part), rows):
                for j in range(0, n, columns):
                    block = part[i : i + rows, j : j + columns].astype(kind, order="C")
                    limit = limits[j : j + columns] if limits.size > 1 else limits
                    if kind not in _ZEROS:
                        block, limit = block >= limit, _TRUE
                    to = words[i : i + rows, j // WORD_BITS : words_for(j + columns)]
                    run("pack", (block[None], limit, to[None]))


def pack(x: ArrayLike, *, axis: int = -1, threshold: ArrayLike = 0, out: np.ndarray | None = None) -> np.ndarray:
    """Pack values into words: one bit per value, set where ``x >= threshold``.

    Parameters
    ----------
    x : array_like, shape (..., n)
        Real numbers or bool.
    axis : int
        The axis to pack. Any axis other than the last is first moved to the end.
    threshold : array_like
        A scalar, or an array of shape (n,) along the packed axis. Compared exactly, whatever the two types; only a
        Python number is first rounded to the type of a float array, as in NumPy. Not for bool, whose bits are the
        values.
    out : ndarray of uint64, shape (..., ceil(n / 64)), optional
        Where to write the result; C-contiguous and not overlapping `x`.

    Returns
    -------
    ndarray of uint64, shape (..., ceil(n / 64))
        Value ``j`` is bit ``j % 64`` of word ``j // 64``; the bits past the last value are zero.

    Raises
    ------
    TypeError
        If `x` is neither real nor bool, or `out` has the wrong dtype.
    ValueError
        If `threshold` or `out` has the wrong shape, or `out` cannot be written.

    Notes
    -----
    0.0 and -0.0 are +1 and NaN is -1. ``pack(x)`` equals ``np.packbits(x >= 0, axis=-1, bitorder="little")``,
    zero-padded to whole words.

    Integers of 1 to 8 bytes, float16, float32, float64 and bool are read in place, whatever the strides and the axis:
    one pass over `x`, without a copy. Arrays that no kernel reads (longdouble, a foreign byte order, an odd address)
    are copied 65,536 values at a time.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.pack([0.5, -2.0, 0.0, 3.0])
    array([13], dtype=uint64)
    """
    values = check.array("x", x)
    kind = values.dtype
    if kind.kind not in "fiub":
        raise TypeError(f"x must be real numbers or bool, got dtype {brief(kind)}")
    if values.ndim == 0:
        raise ValueError("x must have at least one dimension, got a scalar")
    if type(axis) is not int or axis != -1:
        values = last(values, check.axis("axis", axis, values.ndim))
    n = values.shape[-1]
    zero = limits = _ZEROS.get(kind)
    never = None
    given: type = type(threshold)
    plain = given is int and threshold == 0
    if not plain:
        bound = exact_array(threshold)
        if bound.dtype.kind not in "fiu" and given is not int:
            raise TypeError(f"threshold must be real numbers, got dtype {brief(bound.dtype)}")
        if bound.shape not in ((), (n,)):
            raise ValueError(f"threshold must be a scalar or of shape ({n},), got shape {bound.shape}")
        if kind.kind == "b" and bound.any():
            raise ValueError("threshold must be 0 for bool, whose bits are the values")
    result = check.output(out, (*values.shape[:-1], words_for(n)), WORD, (x, threshold))
    if not result.size:
        return result
    if not plain and kind.kind != "b":
        limits, never = limits_of(threshold, bound, kind.newbyteorder("="))
    flags = values.flags
    if zero is None or not flags.aligned:
        _pack_copies(values, np.zeros(1, kind.newbyteorder("=")) if limits is None else limits, result)
    elif flags.c_contiguous:
        lookup("pack")(values, limits, result)
    else:
        for volume, packed in volumes(values, result, 1):
            run("pack", (volume, limits, packed))
    if never is not None and never.any():
        result &= pack(np.broadcast_to(~never, n))
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
        If `words` is not uint64, or `dtype` cannot hold -1.
    ValueError
        If the last axis is not ``ceil(n / 64)`` words.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.unpack(bl.pack([0.5, -2.0, 0.0]), 3)
    array([ 1, -1,  1], dtype=int8)
    """
    n = check.count("n", n)
    source = check.words("words", words, n)
    kind = check.kind(dtype)
    if kind is None or kind.kind not in "if":
        raise TypeError(f"dtype must be a signed integer or floating type, got {brief(kind or dtype)}")
    known = kind in _ZEROS
    result = np.empty((*source.shape[:-1], n), dtype=kind if known else np.int8)
    if result.size:
        rows = math.prod(source.shape[:-1])
        run("unpack", (source.reshape(rows, -1), n, result.reshape(rows, n)))
    return result if known else result.astype(kind)


def from_packbits(bytes: ArrayLike, n: int, *, bitorder: BitOrder = "little") -> np.ndarray:
    """Turn the output of `numpy.packbits` (along the last axis) into words.

    Parameters
    ----------
    bytes : array_like of uint8, shape (..., ceil(n / 8))
    n : int
        How many values the last axis holds; the bits past them are cleared.
    bitorder : {"little", "big"}
        As passed to `numpy.packbits`.

    Returns
    -------
    ndarray of uint64, shape (..., ceil(n / 64))

    Raises
    ------
    TypeError
        If `bytes` is not uint8.
    ValueError
        If the last axis is not ``ceil(n / 8)`` bytes.

    Examples
    --------
    >>> import bitlearn as bl
    >>> x = np.array([1.0, -1.0, 1.0])
    >>> bl.from_packbits(np.packbits(x >= 0), 3, bitorder="big") == bl.pack(x)
    array([ True])
    """
    n = check.count("n", n)
    check.choice("bitorder", bitorder, ("little", "big"))
    source = check.array("bytes", bytes)
    if source.dtype != np.uint8:
        raise TypeError(f"bytes must have dtype uint8, got {brief(source.dtype)}")
    if source.ndim == 0 or source.shape[-1] != -(-n // 8):
        raise ValueError(f"bytes must have {-(-n // 8)} bytes in its last axis for n={n}, got shape {source.shape}")
    return pack(np.unpackbits(source, axis=-1, count=n, bitorder=bitorder).astype(bool))


def to_packbits(words: ArrayLike, n: int, *, bitorder: BitOrder = "little") -> np.ndarray:
    """Turn words into the output of `numpy.packbits` along the last axis.

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
        If `words` is not uint64.
    ValueError
        If the last axis is not ``ceil(n / 64)`` words.

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
        The axis to sum over; None for all axes.

    Returns
    -------
    ndarray of int64
        The shape of `words` without `axis`. Strided words are read in place.

    Raises
    ------
    TypeError
        If `words` is not uint64.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.popcount(bl.pack([[1.0, -1.0, 1.0], [-1.0, -1.0, -1.0]]))
    array([2, 0])
    """
    source = check.array("words", words.words if isinstance(words, Bits) else words)
    if source.dtype != WORD:
        raise TypeError(f"words must be packed words of dtype uint64, got dtype {brief(source.dtype)}")
    if source.ndim == 0:
        raise ValueError(f"words must have at least 1 dimensions, got shape {source.shape}")
    if axis is None:
        return popcount(source.reshape(-1)) if source.flags.c_contiguous else np.asarray(popcount(source).sum())
    if type(axis) is not int or axis != -1:
        source = last(source, check.axis("axis", axis, source.ndim))
    result = (np.empty if source.size else np.zeros)(source.shape[:-1], dtype=np.int64)
    if source.size:
        if not source.flags.aligned:
            source = source.copy()
        for volume, counts in volumes(source, result, 0):
            run("popcount", (volume, counts))
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
        If `words` is not uint64.
    ValueError
        If `words` is not a matrix of ``ceil(n / 64)`` words per row.

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
