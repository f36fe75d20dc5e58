"""Validation at the door: type, dtype, dimensions, shape, contiguity, in that order and before anything is written."""

from __future__ import annotations

import operator
from collections.abc import Iterable

import numpy as np

from bitlearn.bits import WORD, words_for

#: The types that results are asked for by, looked up before anything slower.
DTYPES: dict[object, np.dtype] = {each: np.dtype(each) for each in (np.int16, np.int32, np.float32)}
#: The longest ±1 dot product that a result of this type holds exactly; int32 the rest.
_EXACT = {np.dtype(np.int16): 2**15 - 1, np.dtype(np.float32): 2**24}


def count(name: str, value: object, *, least: int = 0) -> int:
    """Return `value` as an int of at least `least`."""
    if type(value) is int and value >= least:
        return value
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def words(name: str, array: object, n: int | None, ndim: int | None = None, *, least: int = 1) -> np.ndarray:
    """Return `array` as aligned, C-contiguous words that hold `n` values a row (any number where `n` is None)."""
    result = array if type(array) is np.ndarray else np.asarray(array)
    if result.dtype is not WORD and result.dtype != WORD:
        raise TypeError(f"{name} must be packed words of dtype uint64, got dtype {result.dtype}")
    shape = result.shape
    if ndim is not None and len(shape) != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, got shape {shape}")
    if len(shape) < least:
        raise ValueError(f"{name} must have at least {least} dimensions, got shape {shape}")
    if n is not None and shape[-1] != words_for(n):
        raise ValueError(
            f"{name} must have {words_for(n)} words in its last axis to hold n={n} values, got shape {shape}"
        )
    flags = result.flags
    if flags.c_contiguous and flags.aligned:
        return result  # np.require alone takes longer than a small product
    return np.require(result, requirements=["C", "A"])


def choice(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raise where `value` is not one of `allowed`."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def axis(name: str, value: object, ndim: int) -> int:
    """Return `value` as an axis of an array of `ndim` dimensions."""
    number = count(name, value, least=-ndim)
    if number >= ndim:
        raise ValueError(f"{name} must be less than {ndim}, the number of dimensions, got {number}")
    return number


def dtype(name: str, value: object, allowed: Iterable[type]) -> np.dtype:
    """Return `value` as a dtype, one of `allowed`."""
    allowed = tuple(allowed)
    if isinstance(value, type) and value in DTYPES and value in allowed:
        return DTYPES[value]
    kinds = [np.dtype(each) for each in allowed]
    try:
        result = np.dtype(value)  # type: ignore[call-overload]
    except TypeError:
        result = None
    if result not in kinds:
        raise TypeError(f"{name} must be one of {', '.join(map(str, kinds))}, got {value!r}")
    return result


def longest(kind: np.dtype) -> int:
    """Return the longest ±1 dot product that a result of dtype `kind` holds exactly."""
    return _EXACT.get(kind, 2**31 - 1)


def accumulator(n: int, kind: np.dtype) -> None:
    """Raise where a ±1 dot product of `n` values may not fit a result of dtype `kind` exactly."""
    limit = longest(kind)
    if n > limit:
        raise ValueError(f"n must be at most {limit} for dtype {kind}, got {n}")


def output(out: object, shape: tuple[int, ...], kind: np.dtype, inputs: Iterable[object]) -> np.ndarray:
    """Return `out` where a result of this shape and dtype may be written to it; allocate it where it is None.

    ``inputs`` are the caller's own objects: a copy made on the way would hide an overlap.
    """
    if out is None:
        return np.empty(shape, dtype=kind)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.dtype is not kind and out.dtype != kind:
        raise TypeError(f"out must have dtype {kind}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    flags = out.flags
    if not flags.carray:  # the three at once
        if not flags.c_contiguous:
            raise ValueError("out must be C-contiguous, got a strided array")
        if not flags.aligned:
            raise ValueError("out must be aligned to its dtype, got an array at an odd address")
        raise ValueError("out must be writeable, got a read-only array")
    # Arrays that are no views lie apart, and to compare bounds takes as long as all other checks of a small call.
    whole = out.base is None and flags.owndata
    for each in inputs:
        if not isinstance(each, np.ndarray) or (whole and each.base is None and each is not out):
            continue
        if np.may_share_memory(out, each):
            raise ValueError("out must not overlap an input, got one that does")
    return out


def thresholds(threshold: object, k: int) -> np.ndarray:
    """Return integer thresholds of ±1 dot products as int32 of shape (k,)."""
    result = np.asarray(threshold)
    if result.dtype == np.int32 and result.shape == (k,) and result.flags.carray:
        return result
    if result.size and result.dtype.kind not in "iu":
        raise TypeError(f"threshold must be integers, got dtype {result.dtype}")
    if result.shape not in ((), (k,)):
        raise ValueError(f"threshold must be a scalar or of shape ({k},), got shape {result.shape}")
    low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    if result.size and (result.min() < low or result.max() > high):
        raise ValueError(f"threshold must fit int32, got {result.min()} to {result.max()}")
    return np.ascontiguousarray(np.broadcast_to(result, (k,)), dtype=np.int32)
