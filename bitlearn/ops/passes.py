"""Passes over channels between the products of a step: for the layers, which know what they pass on."""

from __future__ import annotations

import math

import numpy as np

from bitlearn.bits import WORD, Bits, words_for
from bitlearn.ops.dispatch import run
from bitlearn.ops.quantize import symmetric_step
from bitlearn.threads import WORTH_A_THREAD
from bitlearn.workspace import empty

#: Sums over rows are exact, so into how many groups they are cut cannot show; each thread takes some of them.
_GROUPS = (16, 10, 8, 6, 5, 4, 3, 2)
_ROWS_WORTH_GROUPS = 1024
#: What a pass takes for a value, about, in operations on a word.
_WORK = 4


def _grouped(*arrays: np.ndarray) -> list[np.ndarray]:
    """Return rows (rows, ...) as groups of equally many rows (groups, rows, ...)."""
    rows = len(arrays[0])
    if rows < _ROWS_WORTH_GROUPS:
        return [array[None] for array in arrays]
    groups = next((each for each in _GROUPS if rows % each == 0), 1)
    return [array.reshape(groups, rows // groups, *array.shape[1:]) for array in arrays]


def _work(array: np.ndarray) -> int:
    """The work in a part of an array, its first axis left out, as `run` wants it."""
    return array[:1].size * _WORK


def alone(y: np.ndarray) -> bool:
    """Whether a pass over so many values is one thread's work: several passes can then be one call.

    A small network's step is hundreds of passes over a few thousand values, and a call costs as much as such a pass.
    """
    return y.size * _WORK < WORTH_A_THREAD


def sums(y: np.ndarray) -> np.ndarray:
    """Return integer sums (rows, channels) as an array that the passes take: contiguous int16 or int32."""
    kind = y.dtype if y.dtype in (np.int16, np.int32) else np.dtype(np.int32)
    return np.ascontiguousarray(y, dtype=kind)


def channel_sums_by_group(y: np.ndarray) -> np.ndarray:
    """Return the sum and the sum of squares of each channel of y (rows, channels), in parts: int64 (groups, 2, c)."""
    (parts,) = _grouped(y)
    out = np.empty((len(parts), 2, y.shape[1]), dtype=np.int64)
    run("channel_sums", (parts, out), rows=(0, 1), work=_work(parts), threads=None)
    return out


def channel_sums(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum and the sum of squares of each channel of y (rows, channels): int64."""
    total, squares = channel_sums_by_group(y).sum(axis=0)
    return total, squares


def l2_statistics(sums: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation, float64, from the sums of `count` rows, in parts."""
    out = np.empty((2, sums.shape[2]))
    run("l2_statistics", (sums, count, out))
    return out[0], out[1]


def norm_bounds(mean: np.ndarray, spread: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return where the sign turns and between which sums the gradient passes: int32 (3, channels)."""
    out = np.empty((3, mean.size), dtype=np.int32)
    run("norm_bounds", (mean, spread, shift, out))
    return out


def l2_factors(sums: np.ndarray, mean: np.ndarray, spread: np.ndarray, count: int, scale: float) -> np.ndarray:
    """Return the factors of `norm_gradient` behind a standard deviation: float32 (3, channels)."""
    out = np.empty((3, mean.size), dtype=np.float32)
    run("l2_factors", (sums, mean, spread, count, scale, out))
    return out


def batch_statistics(
    y: np.ndarray, scale: float, momentum: float, mean: np.ndarray, spread: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return mean and standard deviation of y (rows, channels), float64, and move the running ones, float32, to them.

    The deviation is rounded to float32. In one call, for what `alone` says. None where a running value would not be
    finite; they stay as they are.
    """
    out, finite = np.empty((2, y.shape[1])), np.empty(1, dtype=np.uint8)
    run("batch_statistics", (y, scale, momentum, mean, spread, out, finite))
    return (out[0], out[1]) if finite[0] else None


def norm_signs(y: np.ndarray, mean: np.ndarray, spread: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, Bits, Bits]:
    """Return the bounds that `norm_bounds` has, and what `sign_pass` makes of y (rows, channels) with them."""
    if not alone(y):
        bounds = norm_bounds(mean, spread, shift)
        return bounds, *sign_pass(y, *bounds)
    rows, channels = y.shape
    bounds, out = np.empty((3, channels), dtype=np.int32), np.empty((rows, 2, words_for(channels)), dtype=WORD)
    run("norm_signs", (y, mean, spread, shift, bounds, out))
    return bounds, *_signs_and_mask(out, channels)


def _signs_and_mask(words: np.ndarray, channels: int) -> tuple[Bits, Bits]:
    return Bits(words[:, 0].copy(), channels), Bits(words[:, 1].copy(), channels)


def channel_sums_above(y: np.ndarray, bound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each channel the sum of those values of y (rows, channels) that reach a bound, and their number."""
    (parts,) = _grouped(y)
    out = np.empty((len(parts), 2, y.shape[1]), dtype=np.int64)
    run("channel_sums_above", (parts, bound, out), rows=(0, 2), work=_work(parts), threads=None)
    total, count = out.sum(axis=0)
    return total, count


def sign_pass(y: np.ndarray, threshold: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[Bits, Bits]:
    """Return ``y >= threshold`` and ``low <= y <= high``, packed, of y (rows, channels) and int32 bounds."""
    rows, channels = y.shape
    out = empty((rows, 2, words_for(channels)), WORD)
    run("sign_pass", (y, threshold, low, high, out), rows=(0, 4), work=_work(y), threads=None)
    return _signs_and_mask(out, channels)


def gradient_sums(d: np.ndarray, passes: Bits, x: np.ndarray | Bits) -> tuple[np.ndarray, np.ndarray]:
    """Return for each channel the sum of d where it passes, and of its products with x, or of d at x's set bits."""
    total, products = gradient_sums_by_group(d, passes, x).sum(axis=0)
    return total, products


def gradient_sums_by_group(d: np.ndarray, passes: Bits, x: np.ndarray | Bits) -> np.ndarray:
    """Return those sums in parts: int64 (groups, 2, channels)."""
    parts = _grouped(d, passes.words, x.words if isinstance(x, Bits) else x)
    out = np.empty((len(parts[0]), 2, d.shape[1]), dtype=np.int64)
    run("gradient_sums", (*parts, out), rows=(0, 1, 2, 3), work=_work(parts[0]), threads=None)
    return out


def norm_gradient(
    d: np.ndarray,
    passes: Bits,
    x: np.ndarray | Bits,
    factors: tuple[np.ndarray, np.ndarray, np.ndarray],
    bits: int,
) -> tuple[np.ndarray, np.float32] | None:
    """Return the gradient behind a batch norm, quantized to `bits`, and its scale; None where it is not finite.

    ``(e + d) * factor`` with ``e = second - x * first``, or the first factor at the set bits of x and the second at the
    others; `factors` are (first, second, factor), float32 (channels,). The gradient is computed twice, once for its
    largest magnitude, and never stored; its codes take the place of `d`.
    """
    parts = _grouped(d, passes.words, x.words if isinstance(x, Bits) else x)
    peaks = np.empty(len(parts[0]), dtype=np.float32)
    run("norm_gradient_peak", (*parts, *factors, peaks), rows=(0, 1, 2, 6), work=_work(parts[0]), threads=None)
    peak: np.float32 = peaks.max(initial=0)  # NaN where one is
    if not math.isfinite(peak):
        return None
    scale = symmetric_step(peak, bits)
    limit = 2 ** (bits - 1) - 1
    arguments = (d, passes.words, x.words if isinstance(x, Bits) else x, *factors, float(scale), limit, d)
    run("norm_gradient", arguments, rows=(0, 1, 2, 8), work=_work(d), threads=None)
    return d, scale


def l2_gradient(
    d: np.ndarray,
    passes: Bits,
    y: np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
    scale: float,
    worth: float,
    bits: int,
) -> tuple[tuple[np.ndarray, np.float32] | None, np.ndarray]:
    """Return what `norm_gradient` does behind a standard deviation, and the gradient of the shift, float32 (channels,).

    `mean` and `spread` are those of y, which is worth `scale`, and a number of d is worth `worth`.
    """
    if not alone(d):
        sums = gradient_sums_by_group(d, passes, y)
        slope, offset, factor = l2_factors(sums, mean, spread, len(y), scale)
        shift = (sums[:, 0].sum(axis=0) * worth).astype(np.float32)
        return norm_gradient(d, passes, y, (slope, offset, factor), bits), shift
    channels, limit = mean.size, 2 ** (bits - 1) - 1
    factors, shift, step = np.empty((3, channels), np.float32), np.empty(channels, np.float32), np.empty(1, np.float32)
    run("batch_gradient", (d, passes.words, y, mean, spread, scale, worth, limit, factors, shift, step, d))
    return ((d, step[0]) if math.isfinite(step[0]) else None), shift


def max_pool(x: np.ndarray, window: int, stride: int, size: tuple[int, int]) -> np.ndarray:
    """Return the largest value of each window of sums (batch, height, width, channels)."""
    out = empty((len(x), *size, x.shape[3]), x.dtype)
    run("max_pool", (x, window, stride, out), rows=(0, 3), work=_work(x), threads=None)
    return out


def max_pool_places(x: np.ndarray, window: int, stride: int, size: tuple[int, int]) -> np.ndarray:
    """Return the first place of each window's largest value, as packed bit planes (batch, h, w, planes, words)."""
    planes = (window * window - 1).bit_length()
    out = np.empty((len(x), *size, planes, words_for(x.shape[3])), dtype=WORD)
    run("max_pool_places", (x, window, stride, out), rows=(0, 3), work=_work(x), threads=None)
    return out


def max_pool_gradient(
    d: np.ndarray, places: np.ndarray, window: int, stride: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Return d of each window at its place and 0 elsewhere; int32 where windows overlap and d is an integer."""
    overlap = stride < window and d.dtype != np.float32
    out = empty(shape, np.int32 if overlap else d.dtype)
    run("max_pool_gradient", (d, places, window, stride, out), rows=(0, 1, 4), work=_work(out), threads=None)
    return out


def softmax_gradient(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, of finite scores (rows, classes) and labels in range, the loss's terms and its gradient, float32.

    The terms (2, rows) are the sums of ``exp(scores - largest)`` and the labels' scores less the largest, float64.
    """
    terms, out = np.empty((2, len(scores))), np.empty(scores.shape, dtype=np.float32)
    run("softmax_gradient", (labels.astype(np.int64), scores.astype(np.float64, order="C"), terms, out))
    return terms, out
