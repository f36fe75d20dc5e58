"""Thresholds as the kernels compare them: the least values of a type that reach them, exactly."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np

from bitlearn.ops import check


def least_float(bound: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Return the least numbers of a floating type that are ``>= bound``, real numbers of any type; NaN for NaN.

    Examples
    --------
    >>> least_float(np.array([2**24 + 1, 3]), np.dtype(np.float32)).tolist()
    [16777218.0, 3.0]
    """
    with np.errstate(over="ignore"):
        limits = bound.astype(kind)
        if bound.dtype.kind == "f":
            low = limits < bound
        else:
            high, rest = np.divmod(bound.astype(np.uint64 if bound.dtype.kind == "u" else np.int64), 2**32)
            low = limits - high * 2.0**32 < rest  # whole numbers below 2**53 on both sides: neither is rounded
        return np.where(low, np.nextafter(limits, kind.type(np.inf)), limits)


def least_integer(bound: np.ndarray, kind: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return the least integers of a type that are ``>= bound``, real numbers of any type, and for which is none.

    Examples
    --------
    >>> least_integer(np.array([-0.5, 300.0, np.nan, -np.inf]), np.dtype(np.int8))
    (array([   0,    0,    0, -128], dtype=int8), array([False,  True,  True, False]))
    """
    info = np.iinfo(kind)
    if bound.dtype.kind == "f":
        wanted = np.ceil(bound).astype(np.result_type(bound, np.float64))
        # The power of two past the type: of 64 bits, the sum is rounded to it.
        never = ~(wanted < float(info.max) + 1)
        return np.where(never, 0, np.maximum(wanted, info.min)).astype(kind), never
    wide = bound.astype(np.uint64 if bound.dtype.kind == "u" else np.int64)
    ends = np.iinfo(wide.dtype)
    limits = np.clip(wide, max(info.min, ends.min), min(info.max, ends.max))
    return limits.astype(kind), limits < wide


def exact_array(threshold: object) -> np.ndarray:
    """Return a threshold as an array; of integers from 2**63 on in a list NumPy would make float64, and round them.

    Examples
    --------
    >>> exact_array([2**64 - 1, 3]).tolist()
    [18446744073709551615, 3]
    """
    bound = check.array("threshold", threshold)
    if bound.dtype == np.float64 and isinstance(threshold, (list, tuple)) and all(type(v) is int for v in threshold):
        with suppress(OverflowError):  # of negative ones beside them no type holds all: float64 it is
            return np.array(threshold, dtype=np.uint64)
    return bound


def limits_of(threshold: object, bound: np.ndarray, kind: np.dtype) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the least values of `kind` that reach a threshold, and for which there is none.

    ``bound`` is the threshold as an array. A Python number takes the type of floats first, as it does in NumPy.
    """
    far = type(threshold) is int and bound.dtype.kind == "O"  # past 64 bits
    end = np.array([math.inf if far and threshold > 0 else -math.inf])  # type: ignore[operator]
    if kind.kind != "f":
        return least_integer(end if far else bound.reshape(-1), kind)
    if type(threshold) not in (int, float):
        return least_float(bound.reshape(-1), kind), None
    try:
        with np.errstate(over="ignore"):
            return np.array([threshold], dtype=kind), None
    except OverflowError:
        return end.astype(kind), None
