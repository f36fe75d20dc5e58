"""Arguments of the kernels of the packed format whose arrays may have any strides."""

from __future__ import annotations

from itertools import product

import numpy as np
from cases import MATRICES, bits, reals
from guards import filled
from making import operands

from bitlearn.bits import WORD, words_for


def numbers(rng, dtype, *shape: int) -> np.ndarray:
    """Return values of any type that is packed, with its extremes and its special values."""
    kind = np.dtype(dtype).kind
    if kind == "f":
        return reals(rng, dtype, *shape)
    if kind == "b":
        return rng.random(shape) < 0.5
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, size=shape, endpoint=True, dtype=dtype)
    for special in (info.min, info.max, 0):
        x[rng.random(shape) < 0.05] = special
    return x


def limits(rng, x: np.ndarray, each: bool) -> np.ndarray:
    """Return thresholds for the values of x: one for all of them or one for each, and some of x set to them."""
    if x.dtype.kind == "b":
        return np.ones(1, bool)
    threshold = numbers(rng, x.dtype.type, x.shape[-1] if each else 1)
    x[..., ::3] = threshold[::3] if each else threshold
    return threshold


def laid_out(x: np.ndarray, layout: str) -> np.ndarray:
    """Return x (outer, rows, n) with other strides: values apart, rows side by side, backwards, or as it is."""
    if layout == "steps":
        spread = np.zeros((*x.shape[:2], 2 * x.shape[2]), x.dtype)[..., ::2]
    elif layout == "across":
        spread = np.zeros((x.shape[0], x.shape[2], x.shape[1]), x.dtype).transpose(0, 2, 1)
    elif layout == "backwards":
        spread = np.zeros(x.shape[::-1], x.dtype).transpose(2, 1, 0)[:, ::-1, ::-1]
    else:
        return x
    spread[...] = x
    return spread


LAYOUTS = ("adjacent", "steps", "across", "backwards")
PACKED_TYPES = tuple(
    np.dtype(kind).type for kind in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
)


@operands(MATRICES, tuple(product(PACKED_TYPES, LAYOUTS, (False, True))))
def pack(rng, size, dtype):
    rows, n = size
    kind, layout, each = dtype
    x = numbers(rng, kind, 2, rows, n)
    threshold = limits(rng, x, each)
    return laid_out(x, layout), threshold, filled((2, rows, words_for(n)), WORD)


@operands(MATRICES, LAYOUTS)
def popcount(rng, size, dtype):
    rows, n = size
    return laid_out(bits(rng, 2, rows, n), dtype), filled((2, rows), np.int64)
