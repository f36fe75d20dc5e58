"""Between words and the packings of other libraries, and views of words for frameworks that are poor in uint64."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from bitlearn.bits import WORD, ones, words_for
from bitlearn.errors import brief
from bitlearn.ops import check
from bitlearn.ops.packing import from_packbits, to_packbits

Packing = Literal["int64", "uint32", "uint8", "larq", "openvino", "numkong"]

#: Words as they lie, in elements of another type.
_VIEWS: dict[str, np.dtype] = {"int64": np.dtype(np.int64), "uint32": np.dtype(np.uint32), "uint8": np.dtype(np.uint8)}
PACKINGS = (*_VIEWS, "larq", "openvino", "numkong")
#: What each packing's elements are.
_TYPES: dict[str, np.dtype] = _VIEWS | {
    "larq": np.dtype(np.int32),
    "openvino": np.dtype(np.uint8),
    "numkong": np.dtype(np.uint8),
}


def to_packing(words: ArrayLike, n: int, packing: Packing) -> np.ndarray:
    """Turn words into the packing of another library, or into a view with another element type.

    Parameters
    ----------
    words : array_like of uint64, shape (..., ceil(n / 64))
    n : int
        How many values the last axis holds.
    packing : {"int64", "uint32", "uint8", "larq", "openvino", "numkong"}
        See the table in Notes.

    Returns
    -------
    ndarray
        For the first three a view of C-contiguous `words`, without a copy; otherwise a new array.

    Raises
    ------
    TypeError
        If `words` is not uint64.
    ValueError
        If the last axis is not ``ceil(n / 64)`` words, or there is no such packing.

    See Also
    --------
    to_packbits : The packing of NumPy, in both orders of bits.

    Notes
    -----
    ============ ======== ========================= ========== =================================================
    packing      type     shape                     a set bit  order
    ============ ======== ========================= ========== =================================================
    ``int64``    int64    ``(..., ceil(n / 64))``   +1         as words
    ``uint32``   uint32   ``(..., 2 ceil(n / 64))`` +1         value ``j`` is bit ``j % 32`` of element ``j // 32``
    ``uint8``    uint8    ``(..., 8 ceil(n / 64))`` +1         value ``j`` is bit ``j % 8`` of element ``j // 8``
    ``larq``     int32    ``(..., ceil(n / 32))``   -1         as ``uint32``; bits past the last value are 0
    ``openvino`` uint8    ``(ceil(values / 8),)``   +1         highest bit first, rows one after the other
    ``numkong``  uint8    ``(..., ceil(n / 8))``    +1         highest bit first
    ============ ======== ========================= ========== =================================================

    ``larq`` is the packing of Larq Compute Engine (its bitpacked int32 tensors), ``openvino`` that of OpenVINO's
    element type u1, used by the kernels of its BinaryConvolution, and ``numkong`` that of NumKong's uint1. All keep the
    values in the order of `words`: images are NHWC and kernels are OHWI, whereas OpenVINO needs channels first.

    Examples
    --------
    >>> import bitlearn as bl
    >>> words = bl.pack([1.0, -1.0, 1.0])
    >>> bl.to_packing(words, 3, "larq"), bl.to_packing(words, 3, "numkong")
    (array([2], dtype=int32), array([160], dtype=uint8))
    """
    n = check.count("n", n)
    check.choice("packing", packing, PACKINGS)
    source = check.words("words", words, n)
    if packing in _VIEWS:
        return source.view(_VIEWS[packing])
    if packing == "larq":
        return np.ascontiguousarray((source ^ ones((), n)).view(np.int32)[..., : -(-n // 32)])
    if packing == "numkong":
        return to_packbits(source, n, bitorder="big")
    flags = np.unpackbits(source.view(np.uint8), axis=-1, count=n, bitorder="little")
    return np.packbits(flags.reshape(-1), bitorder="big")


def from_packing(values: ArrayLike, n: int, packing: Packing, *, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Turn the packing of another library, or a view of words, into words.

    Parameters
    ----------
    values : array_like
        Of the type and shape that `to_packing` gives; an ``openvino`` stream may have any shape.
    n : int
        How many values the last axis holds.
    packing : {"int64", "uint32", "uint8", "larq", "openvino", "numkong"}
    shape : tuple of int, optional
        The axes before the last, only for ``openvino``, whose rows have no boundaries.

    Returns
    -------
    ndarray of uint64, shape (..., ceil(n / 64))
        For the first three a view of C-contiguous `values`, without a copy; otherwise a new array.

    Raises
    ------
    TypeError
        If `values` has the wrong type.
    ValueError
        If it has the wrong shape, bits past the last value are set in a view, or there is no such packing.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.from_packing(np.array([2], np.int32), 3, "larq") == bl.pack([1.0, -1.0, 1.0])
    array([ True])
    """
    n = check.count("n", n)
    check.choice("packing", packing, PACKINGS)
    source, kind = check.array("values", values), _TYPES[packing]
    if source.dtype != kind:
        raise TypeError(f"values must have dtype {kind} for packing {packing!r}, got {brief(source.dtype)}")
    if packing == "openvino":
        return _from_stream(source, n, shape)
    if shape is not None:
        raise ValueError(f"shape must be None for packing {packing!r}, got {brief(shape)}")
    if packing == "numkong":
        return from_packbits(source, n, bitorder="big")
    size = -(-n // 32) if packing == "larq" else words_for(n) * (WORD.itemsize // kind.itemsize)
    if source.ndim == 0 or source.shape[-1] != size:
        raise ValueError(
            f"values must have {size} elements in the last axis for n={n} and packing {packing!r}, got {source.shape}"
        )
    if packing == "larq":
        words = np.zeros((*source.shape[:-1], words_for(n)), WORD)
        words.view(np.int32)[..., :size] = source
        return (words ^ ones((), n)) & ones((), n)
    words = check.ready(check.ready(source, kind).view(WORD), WORD)
    if n % 64 and np.any(words[..., -1] & ~ones((), n)[-1]):
        raise ValueError(f"values must have no bit past n={n} values set, got some")
    return words


def _from_stream(source: np.ndarray, n: int, shape: tuple[int, ...] | None) -> np.ndarray:
    if not isinstance(shape, tuple):
        raise TypeError(f"shape must be a tuple of sizes for packing 'openvino', got {brief(shape)}")
    outer = tuple(check.count("shape", size) for size in shape)
    count = math.prod(outer) * n
    if source.size != -(-count // 8):
        raise ValueError(f"values must be {-(-count // 8)} bytes for shape {(*outer, n)}, got {source.size}")
    flags = np.unpackbits(source.reshape(-1), count=count, bitorder="big")
    return from_packbits(np.packbits(flags.reshape(*outer, n), axis=-1, bitorder="little"), n)
