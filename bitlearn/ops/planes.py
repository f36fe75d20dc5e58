"""Gradients of few bits as bit planes: when they are faster than int8, and the products. The results are the same.

With the planes ``b_p`` of the two's complement codes, weights ``c_p = 2**p`` (the last one negative, so that they add
up to -1) and ``d_p`` the number of places in which they differ from w, ``sum v * w = -popcount(w) - sum c_p * d_p``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from time import perf_counter

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.ops import check
from bitlearn.ops.dispatch import bound, lookup, run, which
from bitlearn.ops.weights import panels_of

#: Terms of a product that are taken at a time: their bits are kept transposed and recoded, four times the operand.
TERMS = 8192
#: Values of the int32 sums that the packed signs are made from at a time: 256 KiB.
_SUMS = 2**16
# What a variant's own time is compared at, and how many runs: the shortest counts.
_ROWS, _COLUMNS, _DEPTH, _RUNS = 64, 256, 1024, 5
# Costs beside the counting, measured on Zen 4, in seconds: a call; a word of the right operand, transposed and laid
# out; a value that is split; a sum passed over again. Then, in words of depth: what a plane's sum and an int8 sum take
# at any depth.
_CALL, _WORD, _VALUE, _PASS, _PLANE_SUM, _INT8_SUM = 2e-5, 2.5e-9, 2.5e-10, 8e-10, 1.2, 3.0
#: Planes must be expected to be faster by so much, in a product of so many terms or more.
_MARGIN, _LEAST = 1.15, 2**23


def _quickest(function: Callable[[], object]) -> float:
    """Return the seconds of the shortest of a few runs, the first of them aside."""
    function()
    times = []
    for _ in range(_RUNS):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return min(times)


@cache
def _measured(int8: Callable, planes: Callable) -> tuple[float, float]:
    """Return the seconds that a word of a sum's depth takes: of a plane, and of int8. Once a process and variant."""
    g, words = np.ones((_ROWS, _DEPTH), dtype=np.int8), np.zeros((_DEPTH, _COLUMNS // 64), dtype=WORD)
    split = np.zeros((_ROWS, 4, _DEPTH // 64), dtype=WORD)
    product = bound(planes, panels_of(np.zeros((_COLUMNS, _DEPTH // 64), dtype=WORD)))
    out = np.empty((_ROWS, _COLUMNS), dtype=np.int32)
    depth = _ROWS * _COLUMNS * _DEPTH / 64
    a_plane = _quickest(lambda: product(split, _DEPTH, False, out)) / (4 * depth)
    return a_plane, _quickest(lambda: int8(g, words, _COLUMNS, out)) / depth


def faster(bits: int, rows: int, depth: int, columns: int, taps: int = 1, *, passes: int = 0) -> bool:
    """Whether a product of so many rows of `bits` bits is expected to be faster on planes than on int8.

    In a convolution each value that is split is in the sums of so many taps. `passes` count those over the sums that
    follow their product.
    """
    if bits > 7 or rows * depth * columns < _LEAST or not which("planes_matmul_panels").startswith("cext"):
        return False
    words = words_for(depth)
    # Tiles of 16 rows and 64 columns.
    tiled = -(-rows // 16) * 16 * words_for(columns) * 64
    plane, int8 = _measured(lookup("grad_input"), lookup("planes_matmul_panels"))
    once = _CALL + _WORD * words * columns + _VALUE * rows * depth / taps
    by_planes = once + bits * tiled * (words + _PLANE_SUM) * plane + _PASS * passes * rows * columns
    return by_planes * _MARGIN < rows * columns * (depth / 64 * int8 + _INT8_SUM * plane)


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
        run("split_columns", (g, bits, 0, planes, outside), rows=(3, 4), first=2, threads=threads)
    else:
        run("split_planes", (np.ascontiguousarray(g), bits, planes, outside), rows=(0, 2, 3), threads=threads)
    if outside.any():
        raise _too_wide(bits)
    return planes


def product_with(words: np.ndarray, n: int, rows: int) -> Callable[[np.ndarray, bool, np.ndarray], None]:
    """Return the product of planes with words (terms, ceil(n / 64)): called with planes, whether to add, and out."""
    transposed = np.empty((n, words_for(len(words))), dtype=WORD)
    run("transpose_bits", (words, n, transposed))
    product = bound(lookup("planes_matmul_panels"), panels_of(transposed), rows)
    return lambda planes, accumulate, out: product(planes, len(words), accumulate, out)


class Planes:
    """The products of one gradient, as the planes of its rows or of its columns, with packed rows of ±1 bits.

    All is split before a product, so that a value of more bits is found before anything is written. The terms of a sum
    are taken in chunks, each with its own planes and its own part of the bits transposed.
    """

    def __init__(self, g: np.ndarray, bits: int, words: np.ndarray, n: int, *, columns: bool, threads: int | None):
        depth, rows = g.shape if columns else g.shape[::-1]
        ranges = [slice(start, min(start + TERMS, depth)) for start in range(0, max(depth, 1), TERMS)]
        self.threads = threads
        self.chunks = [
            split(g[each] if columns else g[:, each], bits, columns=columns, threads=threads) for each in ranges
        ]
        self.products = [product_with(words[each], n, rows * bits) for each in ranges]

    def _add(self, accumulate: bool, chunks: Sequence[np.ndarray], out: np.ndarray) -> None:
        for index, (planes, product) in enumerate(zip(chunks, self.products, strict=True)):
            product(planes, accumulate or index > 0, out)

    def values(self, accumulate: bool, out: np.ndarray) -> None:
        """Write the sums to `out` (rows, n) int32, or add them."""

        def part(out: np.ndarray, *chunks: np.ndarray) -> None:
            self._add(accumulate, chunks, out)

        run(part, (out, *self.chunks), rows=tuple(range(1 + len(self.chunks))), threads=self.threads)

    def signs(self, n: int, threshold: np.ndarray, mask: np.ndarray, out: np.ndarray) -> None:
        """Write the packed signs of the sums against a threshold a row, cleared where the mask is.

        A few rows of sums are formed at a time.
        """
        limits = np.iinfo(np.int32)
        bounds = np.clip(threshold, limits.min, limits.max).astype(np.int32)
        step = max(16, _SUMS // max(n, 1) // 16 * 16)

        def part(bounds: np.ndarray, mask: np.ndarray, out: np.ndarray, *chunks: np.ndarray) -> None:
            sums = np.empty((min(step, len(out)), n), dtype=np.int32)
            for start in range(0, len(out), step):
                here = slice(start, start + step)
                into = sums[: len(out[here])]
                self._add(False, [planes[here] for planes in chunks], into)
                flags = into >= bounds[here, None]
                run("pack", (flags[None], np.ones(1, dtype=bool), out[None, here]))
                out[here] &= mask[here]

        rows = tuple(range(3 + len(self.chunks)))
        run(part, (bounds, mask, out, *self.chunks), rows=rows, threads=self.threads)
