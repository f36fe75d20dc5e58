"""Gradients of some rows and columns of weights: operands are gathered, their small product is made and spread out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bitlearn.bits import WORD, ones, words_for
from bitlearn.errors import brief
from bitlearn.ops import check
from bitlearn.ops.dispatch import run
from bitlearn.ops.gradient_operands import FLOAT32, GradientOperand
from bitlearn.ops.quantized import Quantized
from bitlearn.threads import resolve

#: What the kernel that takes columns takes; others are gathered by NumPy.
TAKEN = tuple(map(np.dtype, (np.int8, np.int16, np.int32, np.int64, np.float32)))


def _indices(name: str, given: object, size: int) -> np.ndarray:
    """Return different numbers from 0 to ``size - 1`` as they are given; all of them for None."""
    if given is None:
        return np.arange(size)
    found = check.array(name, given)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise TypeError(f"{name} must be a list of integers, got {brief(given)}")
    if found.size and not 0 <= found.min() <= found.max() < size:
        raise ValueError(f"{name} must be from 0 to {size - 1}, got {found.min()} to {found.max()}")
    found, seen = found.astype(np.int64), np.zeros(size, dtype=bool)
    seen[found] = True
    if np.count_nonzero(seen) < len(found):
        raise ValueError(f"{name} must be different numbers, got one twice among {len(found)}")
    return found


def take_bits(words: np.ndarray, n: int, rows: np.ndarray, columns: np.ndarray, threads: int | None) -> np.ndarray:
    """Return some rows, and some of the n values of each, of packed rows (rows, ..., words), packed.

    Examples
    --------
    >>> take_bits(np.array([[0b1010]], dtype=np.uint64), 4, np.array([0]), np.array([3, 0, 1]), None)
    array([[5]], dtype=uint64)
    """
    taps = math.prod(words.shape[1:-1])
    out = np.empty((len(rows), *words.shape[1:-1], words_for(len(columns))), dtype=WORD)
    matrix = words.reshape(len(words) * taps, words.shape[-1])
    run(
        "take_bits",
        (matrix, n, _taps(rows, taps), columns, out.reshape(len(rows) * taps, out.shape[-1])),
        threads=threads,
    )
    return out


def _taps(rows: np.ndarray, taps: int) -> np.ndarray:
    """Return the numbers of all taps of some rows, where each has so many."""
    return rows if taps == 1 else (rows[:, None] * taps + np.arange(taps)).reshape(-1)


class Kept:
    """The rows and columns of weights that take part in a product.

    Parameters
    ----------
    rows, columns : array_like of int, or None
        None for all.
    outputs, n : int
        How many there are.
    threads : int or None
    """

    def __init__(self, rows: object, columns: object, outputs: int, n: int, threads: int | None):
        self._all_rows, self._all_columns = rows is None, columns is None
        self.rows, self.columns = _indices("rows", rows, outputs), _indices("columns", columns, n)
        self.n, self._width, self.threads = len(self.columns), n, resolve(threads)

    def gradient(self, g: ArrayLike | Quantized) -> np.ndarray | Quantized:
        """Return the columns of a gradient that are of kept rows, with their scales."""
        if isinstance(g, Quantized):
            return Quantized(self._last(g.values), self._each(g.scale), self._each(g.zero_point), g.bits)
        return self._last(check.array("g", g))

    def _last(self, values: np.ndarray) -> np.ndarray:
        if self._all_rows:
            return values
        if values.dtype not in TAKEN:
            return np.take(values, self.rows, axis=-1)
        matrix = check.ready(values, values.dtype).reshape(math.prod(values.shape[:-1]), values.shape[-1])
        out = np.empty((len(matrix), len(self.rows)), dtype=values.dtype)
        run("take", (matrix, np.arange(len(matrix)), self.rows, out), threads=self.threads)
        return out.reshape(*values.shape[:-1], len(self.rows))

    def _each(self, factors: Any) -> Any:
        found = np.asarray(factors)
        return factors if not found.ndim or found.shape[-1] == 1 else np.take(found, self.rows, axis=-1)

    def inputs(self, words: np.ndarray) -> np.ndarray:
        """Return the kept columns of packed inputs."""
        if self._all_columns:
            return words
        return take_bits(words, self._width, np.arange(len(words)), self.columns, self.threads)

    def weights(self, words: np.ndarray) -> np.ndarray:
        """Return the kept rows and columns of packed weights."""
        return (
            words[self.rows]
            if self._all_columns
            else take_bits(words, self._width, self.rows, self.columns, self.threads)
        )

    def spread(self, some: np.ndarray, out: np.ndarray, *, of_weights: bool, zeros: bool = True) -> np.ndarray:
        """Write what was found to its place in a whole result, with 0 elsewhere, or what is there."""
        if zeros:
            out[...] = 0
        matrix, rows = self._matrix(out, of_weights)
        if self._all_columns:
            matrix[rows] = some.reshape(len(rows), self.n)
        else:
            run("spread", (some.reshape(len(rows), self.n), rows, self.columns, matrix), threads=self.threads)
        return out

    def _matrix(self, values: np.ndarray, of_weights: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the values as a matrix, and which of its rows are kept."""
        taps = math.prod(values.shape[1:-1])
        matrix = values.reshape(len(values) * taps, values.shape[-1])
        return matrix, _taps(self.rows, taps) if of_weights else np.arange(len(matrix))

    def part(self, out: np.ndarray) -> np.ndarray:
        """Return a copy of what a gradient of weights holds in the kept places."""
        matrix, rows = self._matrix(out, True)
        found = np.empty((len(rows), self.n), dtype=out.dtype)
        run("take", (matrix, rows, self.columns, found), threads=self.threads)
        return found.reshape(len(self.rows), *out.shape[1:-1], self.n)


def some_weight_gradient(
    function: Callable[..., np.ndarray],
    ready: GradientOperand,
    kept: Kept,
    g: ArrayLike | Quantized,
    x: object,
    words: np.ndarray,
    shape: tuple[int, ...],
    *,
    scale: ArrayLike | None,
    output: str,
    threshold: float,
    mask: ArrayLike | None,
    accumulate: bool,
    out: np.ndarray | None,
    **rest: Any,
) -> np.ndarray:
    """Return the gradient of kept rows and columns of weights, as `grad_weight` and `conv2d_grad_weight` do.

    ``function(g, words, n, ...)`` gives that of all rows and columns of what it gets; `shape` is that of the whole
    result, `ready` the gradient as it was checked, and `x` the caller's own object of the inputs.
    """
    check.choice("output", output, ("values", "sign"))
    accumulate, inputs = check.flag("accumulate", accumulate), [*ready.inputs, x]
    factors = None if scale is None else _factors(scale, shape[0])
    if output == "sign":
        if factors is not None:
            raise ValueError("scale must be left out with output 'sign', got one")
        words_shape = (*shape[:-1], words_for(shape[-1]))
        allowed = ones(shape[:-1], shape[-1]) if mask is None else check.words("mask", mask, shape[-1])
        if allowed.shape != words_shape:
            raise ValueError(f"mask must have shape {words_shape}, got {allowed.shape}")
        result = check.output(out, words_shape, WORD, [*inputs, mask])
        settings = {"output": output, "threshold": threshold, "accumulate": accumulate}
        some = function(kept.gradient(g), kept.inputs(words), kept.n, **settings, mask=kept.weights(allowed), **rest)
        return _spread_bits(kept, some, result, shape)
    if accumulate and out is None:
        raise ValueError("out must be given with accumulate=True, got None")
    result = check.output(out, shape, ready.result if factors is None else FLOAT32, inputs)
    settings = {"output": output, "threshold": threshold, "mask": mask}
    before = kept.part(result) if accumulate else None
    if factors is None:
        settings |= {"accumulate": accumulate, "out": before}
    some = function(kept.gradient(g), kept.inputs(words), kept.n, **settings, **rest)
    if factors is not None:
        along = factors[kept.rows].reshape(-1, *[1] * (len(shape) - 1))
        with np.errstate(over="ignore"):
            some = (some * along).astype(FLOAT32)
            some = some if before is None else some + before
    return kept.spread(some, result, of_weights=True, zeros=not accumulate)


def _factors(scale: ArrayLike, outputs: int) -> np.ndarray:
    found = check.array("scale", scale)
    if found.dtype.kind not in "fiu":
        raise TypeError(f"scale must be real numbers, got dtype {brief(found.dtype)}")
    if found.shape != (outputs,):
        raise ValueError(f"scale must have shape ({outputs},), one per row, got {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError("scale must be finite, got NaN or infinity")
    return found.astype(np.float64)


def _spread_bits(kept: Kept, some: np.ndarray, out: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Write packed signs of kept places to a whole result, with clear bits elsewhere."""
    bits = np.unpackbits(some.view(np.uint8), axis=-1, count=kept.n, bitorder="little")
    whole = np.zeros((len(kept.rows), *shape[1:-1], 64 * words_for(shape[-1])), dtype=np.uint8)
    whole[..., kept.columns] = bits
    out[...] = 0
    out[kept.rows] = np.packbits(whole, axis=-1, bitorder="little").view(WORD)
    return out
