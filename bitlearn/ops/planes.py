"""Gradients of few bits as bit planes: the products of int8, faster where `dispatch.planes_pay` says so.

With the planes ``b_p`` of the two's complement codes, weights ``c_p = 2**p`` (the last one negative, so that they add
up to -1) and ``d_p`` the number of places in which they differ from w, ``sum v * w = -popcount(w) - sum c_p * d_p``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.ops import check
from bitlearn.ops.dispatch import bound, lookup, run
from bitlearn.ops.weights import panels_of
from bitlearn.threads import resolve

#: Terms of a product that are taken at a time: their bits are kept transposed and recoded, four times the operand.
TERMS = 8192
#: Values of the int32 sums that the packed signs are made from at a time: 256 KiB a thread.
_SUMS = 2**16


def width(bits: object, quantized: int | None, dtype: np.dtype) -> int | None:
    """Return how many bits the values of a gradient need, where it is int8 and that is known."""
    if bits is None:
        return quantized if dtype == np.int8 else None
    wanted = check.count("bits", bits, least=1)
    if wanted > 8:
        raise ValueError(f"bits must be from 1 to 8, got {wanted}")
    if dtype != np.int8:
        raise ValueError(f"bits must be None where g is not int8, got bits={wanted} and dtype {dtype}")
    return wanted


def _too_wide(bits: int) -> ValueError:
    held = "+1 and -1" if bits == 1 else f"{-(2 ** (bits - 1))} to {2 ** (bits - 1) - 1}"
    return ValueError(f"g must hold values of {bits} bits, {held}, got others")


def check_width(g: np.ndarray, bits: int) -> None:
    """Raise where int8 values need more bits: for products that do not split them."""
    if bits == 1:
        if not np.all((g == 1) | (g == -1)):
            raise _too_wide(bits)
    elif bits < 8 and g.size:
        flat = g.reshape(-1)
        if np.minimum.reduce(flat) < -(2 ** (bits - 1)) or np.maximum.reduce(flat) >= 2 ** (bits - 1):
            raise _too_wide(bits)


def split(g: np.ndarray, bits: int, *, columns: bool, threads: int | None) -> np.ndarray:
    """Return the planes of the rows or columns of g, or raise where a value needs more bits."""
    terms, rows = g.shape if columns else g.shape[::-1]
    planes, outside = np.empty((rows, bits, words_for(terms)), dtype=WORD), np.zeros(rows, dtype=np.uint8)
    if columns:
        run("split_columns", (g, bits, 0, planes, outside), threads=threads)
    else:
        run("split_planes", (np.ascontiguousarray(g), bits, planes, outside), threads=threads)
    if outside.any():
        raise _too_wide(bits)
    return planes


def product_with(words: np.ndarray, n: int, threads: int | None) -> Callable[[np.ndarray, bool, np.ndarray], None]:
    """Return the product of planes with words (terms, ceil(n / 64)): called with planes, whether to add, and out."""
    transposed = np.empty((n, words_for(len(words))), dtype=WORD)
    run("transpose_bits", (words, n, transposed))
    product = bound(lookup("planes_matmul"), panels_of(transposed), once=True)
    return lambda planes, accumulate, out: run(product, (planes, len(words), accumulate, out), threads=threads)


class Planes:
    """The products of one gradient, as the planes of its rows or of its columns, with packed rows of ±1 bits.

    All is split before a product, so that a value of more bits is found before anything is written. The terms of a sum
    are taken in chunks, each with its own planes and its own part of the bits transposed.
    """

    def __init__(self, g: np.ndarray, bits: int, words: np.ndarray, n: int, *, columns: bool, threads: int | None):
        depth = g.shape[0 if columns else 1]
        ranges = [slice(start, min(start + TERMS, depth)) for start in range(0, max(depth, 1), TERMS)]
        self.threads = threads
        self.chunks = [
            split(g[each] if columns else g[:, each], bits, columns=columns, threads=threads) for each in ranges
        ]
        self.products = [product_with(words[each], n, threads) for each in ranges]

    def _add(self, accumulate: bool, chunks: Sequence[np.ndarray], out: np.ndarray) -> None:
        for index, (planes, product) in enumerate(zip(chunks, self.products, strict=True)):
            product(planes, accumulate or index > 0, out)

    def values(self, accumulate: bool, out: np.ndarray) -> None:
        """Write the sums to `out` (rows, n) int32, or add them."""
        self._add(accumulate, self.chunks, out)

    def signs(self, n: int, threshold: np.ndarray, mask: np.ndarray, out: np.ndarray) -> None:
        """Write the packed signs of the sums against a threshold per row, cleared where the mask is.

        A few rows of sums are formed at a time.
        """
        limits = np.iinfo(np.int32)
        bounds = np.clip(threshold, limits.min, limits.max).astype(np.int32)
        step = max(16, _SUMS * resolve(self.threads) // max(n, 1) // 16 * 16)
        sums = np.empty((min(step, len(out)), n), dtype=np.int32)
        for start in range(0, len(out), step):
            here = slice(start, start + step)
            into = sums[: len(out[here])]
            self._add(False, [planes[here] for planes in self.chunks], into)
            flags = into >= bounds[here, None]
            run("pack", (flags[None], np.ones(1, dtype=bool), out[None, here]))
            out[here] &= mask[here]
