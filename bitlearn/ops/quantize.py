"""Gradients in a few bits: integers, a scale and a zero point."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from bitlearn import threads as threading
from bitlearn.arena import empty, track
from bitlearn.ops import check
from bitlearn.ops.dispatch import lookup, run
from bitlearn.rng import Key

Scheme = Literal["symmetric", "affine", "power-of-two"]
Rounding = Literal["nearest", "stochastic"]

_NO_NOISE = np.empty((0, 0, 0), dtype=np.uint32)
#: Random words that are formed at a time: 128 KiB.
NOISE_WORDS = 2**15
#: Exact sums that are formed at a time where they are quantized row by row: 4 MiB of int64.
_SUMS_AT_A_TIME = 2**19
#: What a value costs, in operations on a word.
_WORK = 2
_SMALLEST = np.finfo(np.float32).tiny
Piece = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Quantized:
    """Integers that stand for real numbers: ``g ≈ (values - zero_point) * scale``.

    Parameters
    ----------
    values : ndarray of int8 (2 to 8 bits), int16 (9 to 16 bits) or int32 (powers of two)
    scale : float or ndarray
        A scalar, or of a shape that broadcasts against `values` where an axis has its own scales.
    zero_point : int or ndarray of int64
        The code of zero, of the shape of `scale`; 0 where the scheme is symmetric.
    bits : int
        How many bits a value takes.
    """

    values: np.ndarray
    scale: float | np.ndarray
    zero_point: int | np.ndarray
    bits: int

    def dequantize(self) -> np.ndarray:
        """Return the real numbers as float32.

        Returns
        -------
        ndarray of float32, shape of `values`
            ``(values - zero_point) * scale``, computed in float64.

        Examples
        --------
        >>> import bitlearn as bl
        >>> bl.quantize([1.0, -0.5, 0.0], 8).dequantize().round(2).tolist()
        [1.0, -0.5, 0.0]
        """
        shifted = self.values.astype(np.float64) - self.zero_point
        return (shifted * self.scale).astype(np.float32)


def quantize(
    g: ArrayLike,
    bits: int,
    *,
    axis: int | None = None,
    scheme: Scheme = "symmetric",
    rounding: Rounding = "nearest",
    rng: int | Key | None = None,
) -> Quantized:
    """Quantize real numbers to a few bits.

    Parameters
    ----------
    g : array_like
        Finite real numbers; computed in float32.
    bits : int
        2 to 16, and 2 to 5 for powers of two.
    axis : int, optional
        One scale an index of this axis; None for one scale in all.
    scheme : {"symmetric", "affine", "power-of-two"}
        Symmetric: ``scale = max|g| / (2**(bits - 1) - 1)``, codes from ``-(2**(bits - 1) - 1)``. Affine: the range from
        min to max, stretched to hold zero, over all ``2**bits`` codes, its zero point snapped to a code so that 0 is
        exact. Power of two: a sign and an exponent of ``bits - 1`` bits below the largest magnitude; no code for zero.
    rounding : {"nearest", "stochastic"}
        To nearest, ties to even; or up with the probability of the fraction, which is unbiased (but for the last half
        step of an affine range, which the snapped zero point can leave past the last code). Powers of two are only
        rounded to nearest, in the exponent.
    rng : int or Key, optional
        The seed, or the key of the counter-based generator; wanted for stochastic rounding.

    Returns
    -------
    Quantized

    Raises
    ------
    TypeError
        Where `g` is not real.
    ValueError
        Where a value is not finite, `bits` or `axis` is out of range, or stochastic rounding has no `rng`.

    Notes
    -----
    0 is exact under the first two schemes, and all zeros give zeros and scale 1. The power-of-two scheme is that of the
    first version of arXiv 2102.04270: ``e = clip(round(log2(|g| * 2**bias)), -8, 7)`` with
    ``bias = 8 - round(log2(max|g|))`` for 5 bits, so the largest magnitudes may saturate one octave low, and a zero
    becomes the smallest positive code. Its values ``±2**(e + 8)`` are int32.

    Examples
    --------
    >>> import bitlearn as bl
    >>> q = bl.quantize([[0.0, 0.25, -1.0]], 4)
    >>> q.values, q.scale
    (array([[ 0,  2, -7]], dtype=int8), np.float32(0.14285715))
    """
    x = np.asarray(g)
    if x.dtype.kind not in "fiub":
        raise TypeError(f"g must be real numbers, got dtype {x.dtype}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
        x = np.ascontiguousarray(x, dtype=np.float32).reshape(x.shape)
    check.choice("scheme", scheme, ("symmetric", "affine", "power-of-two"))
    check.choice("rounding", rounding, ("nearest", "stochastic"))
    bits = check.count("bits", bits, least=2)
    most = 5 if scheme == "power-of-two" else 16
    if bits > most:
        raise ValueError(f"bits must be at most {most} for scheme {scheme!r}, got {bits}")
    if axis is not None:
        axis = check.axis("axis", axis, x.ndim) % x.ndim
    if rounding == "stochastic" and (rng is None or scheme == "power-of-two"):
        raise ValueError(f"rounding 'stochastic' needs rng and a linear scheme, got rng={rng!r} and scheme {scheme!r}")

    source = _by_channel(x, axis)
    shape = source.shape
    largest = _largest(source)
    if not np.isfinite(largest).all():
        raise ValueError("g must be finite in float32, got NaN or infinity")
    key = None
    if rounding == "stochastic":
        key = rng if isinstance(rng, Key) else Key(check.count("rng", rng))

    limit = 2 ** (bits - 1) - 1
    zero_point = np.zeros(shape[1], dtype=np.int64)
    if scheme == "power-of-two":
        values, scale = _powers_of_two(source, largest, 2 ** (bits - 1))
    elif scheme == "symmetric":
        scale = symmetric_scale(largest, bits)
        values = _linear(source, scale, zero_point, -limit, limit, key)
    else:
        high, low = source.max(axis=(0, 2), initial=0), source.min(axis=(0, 2), initial=0)
        scale = _nonzero(((high.astype(np.float64) - low) / (2 * limit + 1)).astype(np.float32))
        zero_point = np.clip(np.rint(-low / scale), 0, 2 * limit + 1).astype(np.int64) - limit - 1
        zero_point[largest == 0] = 0
        values = _linear(source, scale, zero_point, -limit - 1, limit, key)

    values = values.reshape(x.shape)
    if axis is None:
        return Quantized(values, scale[0], int(zero_point[0]), bits)
    along = [1] * x.ndim
    along[axis] = shape[1]
    symmetric = not zero_point.any()
    return Quantized(values, scale.reshape(along), 0 if symmetric else zero_point.reshape(along), bits)


def _by_channel(x: np.ndarray, axis: int | None) -> np.ndarray:
    """Look at an array as (outer, channels, inner), the channels along an axis; as a single channel without one."""
    if axis is None:
        return x.reshape(1, 1, x.size)
    return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))


def _pieces(shape: tuple[int, ...], most: int) -> list[Piece]:
    """Cut an array (outer, channels, inner) into contiguous pieces of at most `most` values."""
    _, channels, inner = shape
    steps = (max(1, most // max(channels * inner, 1)), max(1, most // max(inner, 1)), most)
    axes = (
        [slice(i, min(i + step, size)) for i in range(0, size, step)] for size, step in zip(shape, steps, strict=True)
    )
    return list(product(*axes))


def _threads(size: int) -> int:
    return min(threading.get_num_threads(), 1 + size * _WORK // threading.WORTH_A_THREAD)


def _alone(size: int) -> bool:
    """Whether so many values are one thread's work, for which they need not be cut into pieces."""
    return _threads(size) == 1


def _over_pieces(function: Callable[[Piece], None], shape: tuple[int, ...]) -> None:
    """Call a function for the contiguous pieces of an array (outer, channels, inner), on the process's threads."""
    size = math.prod(shape)
    threads = _threads(size)
    pieces = _pieces(shape, max(1, -(-size // threads)))

    def work(start: int, stop: int) -> None:
        for piece in pieces[start:stop]:
            function(piece)

    threading.over_ranges(work, len(pieces), threads)


def _largest(x: np.ndarray) -> np.ndarray:
    """Return the largest magnitude of each channel of x (outer, channels, inner); of integers unsigned."""
    kernel = lookup("largest_magnitude")
    kind = np.dtype(f"u{x.itemsize}") if x.dtype.kind == "i" else x.dtype
    if _alone(x.size):
        largest = np.empty(x.shape[1], dtype=kind)
        kernel(x, largest)
        return largest
    found: list[tuple[slice, np.ndarray]] = []

    def work(piece: Piece) -> None:
        part = x[piece]
        result = np.empty(part.shape[1], dtype=kind)
        kernel(part, result)
        found.append((piece[1], result))

    _over_pieces(work, x.shape)
    largest = np.zeros(x.shape[1], dtype=kind)
    for channels, result in found:
        np.maximum(largest[channels], result, out=largest[channels])
    return largest


def largest_magnitude(x: np.ndarray) -> float:
    """Return ``max |x|`` of floats (float16 too) without a temporary array: NaN where x holds one, 0 of nothing.

    Examples
    --------
    >>> largest_magnitude(np.array([0.5, -2.0], dtype=np.float16))
    2.0
    """
    whole = np.ascontiguousarray(x).reshape(1, 1, -1)
    if x.dtype == np.float16:
        return float(_largest(whole.view(np.uint16)).view(np.float16)[0])
    return float(_largest(whole)[0])


def _linear(
    x: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, low: int, high: int, key: Key | None
) -> np.ndarray:
    """Return the codes of x (outer, channels, inner), rounded to nearest, or by the random words of a key.

    A word's place in the stream is that of its value where the channels are moved first: it does not depend on threads.
    """
    values = empty(x.shape, np.int8 if high <= 127 else np.int16)
    kernel, random = lookup("quantize_linear"), lookup("random_words")

    def quantized(piece: Piece, noise: np.ndarray) -> None:
        channels = piece[1]
        kernel(x[piece], scale[channels], zero_point[channels], low, high, noise, values[piece])

    def rounded_to_nearest(piece: Piece) -> None:
        quantized(piece, _NO_NOISE)

    if key is None and _alone(x.size):
        kernel(x, scale, zero_point, low, high, _NO_NOISE, values)
        return values
    if key is None:
        _over_pieces(rounded_to_nearest, x.shape)
        return values
    words = key.as_words()
    outer, _, inner = x.shape

    def rounded_at_random(piece: Piece) -> None:
        shape = tuple(each.stop - each.start for each in piece)
        for block in _pieces(shape, NOISE_WORDS):
            o, c, i = (
                slice(part.start + at.start, part.start + at.stop) for part, at in zip(piece, block, strict=True)
            )
            noise = np.empty((c.stop - c.start, o.stop - o.start, i.stop - i.start), dtype=np.uint32)
            first = (c.start * outer + o.start) * inner + i.start
            random(words, first, outer * inner, noise.reshape(len(noise), -1))
            quantized((o, c, i), noise)

    _over_pieces(rounded_at_random, x.shape)
    return values


def _powers_of_two(x: np.ndarray, largest: np.ndarray, exponents: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of x (outer, channels, inner) and the channels' scales."""
    moved = x.swapaxes(0, 1)
    rows = np.ascontiguousarray(moved).reshape(len(largest), x.shape[0] * x.shape[2])
    values = np.empty(rows.shape, dtype=np.int32)
    run("quantize_power_of_two", (rows, largest, exponents, values))
    values[largest == 0] = 0
    mantissa, exponent = np.frexp(largest)
    # The value of code 1: 2**(-half - bias), with bias = half - round(log2(largest)).
    smallest = exponent.astype(np.int64) - (mantissa < np.sqrt(0.5)) - exponents
    scale = np.where(largest == 0, 1, np.ldexp(1.0, smallest)).astype(np.float32)
    return np.ascontiguousarray(values.reshape(moved.shape).swapaxes(0, 1)), scale


def _nonzero(scale: np.ndarray) -> np.ndarray:
    """Scales of zero (nothing but zeros, or numbers too small for float32) become ones that lose nothing."""
    return np.where(scale == 0, np.float32(1), np.maximum(scale, _SMALLEST)).astype(np.float32)


def symmetric_scale(largest: np.ndarray, bits: int) -> np.ndarray:
    """Return what a code is worth where the largest magnitude, float32, becomes the largest code of `bits`."""
    return _nonzero(largest / np.float32(2 ** (bits - 1) - 1))


def requantize(values: np.ndarray, scale: float | np.ndarray, bits: int) -> Quantized:
    """Quantize exact integer sums, worth `scale` each, to `bits` with one symmetric scale.

    Integers that fit are kept as they are. The quotients are in float64, exact for sums below 2**53. Scales of the
    first axis, (rows, 1, ...), become one: the largest product of a sum and its scale gets the largest code.

    Examples
    --------
    >>> requantize(np.array([90, -200]), 0.5, 8).values.tolist()
    [57, -127]
    >>> requantize(np.array([[90], [-200]]), np.array([[1.0], [0.25]]), 8).values.tolist()
    [[127], [-71]]
    """
    limit = 2 ** (bits - 1) - 1
    rows = np.ndim(scale) > 0
    whole = _by_channel(np.ascontiguousarray(values), 0 if rows else None)
    largest = _largest(whole)
    if rows:
        worth = np.asarray(scale, dtype=np.float64).reshape(-1)
        most = float((largest * worth).max(initial=0.0))
        new = most / limit if most > 0 else 1.0
        steps = new / worth
    else:
        step = int(largest[0]) / limit
        if step <= 1:
            return Quantized(values.astype(np.int8 if bits <= 8 else np.int16), scale, 0, bits)
        new, steps = scale * step, np.array([step])
    codes = _linear(whole, steps, np.zeros(len(steps), dtype=np.int64), -limit, limit, None)
    return Quantized(codes.reshape(values.shape), new, 0, bits)


def rows_at_a_time(values: int) -> int:
    """Return how many rows of so many sums are formed at a time by `requantize_rows`."""
    return max(1, _SUMS_AT_A_TIME // max(values, 1))


def requantize_rows(
    product: Callable[[slice], np.ndarray], shape: tuple[int, ...], scale: float | np.ndarray, bits: int
) -> Quantized:
    """Quantize exact integer sums that are formed a few rows at a time, so that they are never whole.

    ``product(rows)`` returns the sums of some rows, worth `scale` each, a scalar or (rows, 1, ...). A row first gets
    codes with a step of its own, ``max(max|sums| / (2**(bits - 1) - 1), 1)``; then all get the largest row's: a code of
    another row is rounded twice.

    Examples
    --------
    >>> sums = np.array([[90, -200], [300, 7]])
    >>> requantize_rows(lambda rows: sums[rows], sums.shape, 0.5, 8).values.tolist()
    [[38, -85], [127, 3]]
    """
    limit, rows = 2 ** (bits - 1) - 1, shape[0]
    codes = empty(shape, np.int8 if bits <= 8 else np.int16)
    worth = np.broadcast_to(np.asarray(scale, dtype=np.float64).reshape(-1), rows).copy()
    zeros = np.zeros(rows, dtype=np.int64)
    count = rows_at_a_time(math.prod(shape[1:]))
    blocks = [slice(start, min(start + count, rows)) for start in range(0, rows, count)]
    for some in blocks:
        sums = _by_channel(track("dX sums", product(some)), 0)
        step = np.maximum(_largest(sums) / limit, 1.0)
        codes[some] = _linear(sums, step, zeros[some], -limit, limit, None).reshape(codes[some].shape)
        worth[some] *= step
        del sums  # before the next are formed
    new = worth.max(initial=0.0) or 1.0
    for some in blocks:
        if (worth[some] != new).any():
            part = _by_channel(codes[some], 0)
            codes[some] = _linear(part, new / worth[some], zeros[some], -limit, limit, None).reshape(codes[some].shape)
    return Quantized(codes, float(new), 0, bits)


def narrow(q: Quantized, bits: int, *, axis: int | None = None, key: Key | None = None) -> Quantized:
    """Quantize integers with one scale to fewer bits, with a scale in all or one an index of an axis.

    ``step = max(max|values| / (2**(bits - 1) - 1), 1)``, codes ``round(values / step)``, each worth ``scale * step``:
    integers that fit are kept as they are. To nearest, ties to even, or at random where a key is given.

    Examples
    --------
    >>> q = Quantized(np.array([[90, 30], [-3, 7]], dtype=np.int8), 0.5, 0, 8)
    >>> found = narrow(q, 4, axis=0)
    >>> found.values.tolist(), found.scale.round(3).tolist()
    ([[7, 2], [-3, 7]], [[6.429], [0.5]])
    """
    limit = 2 ** (bits - 1) - 1
    source = _by_channel(np.ascontiguousarray(q.values), axis)
    step = np.maximum(_largest(source) / limit, 1.0)
    codes = _linear(source, step, np.zeros(len(step), dtype=np.int64), -limit, limit, key).reshape(q.values.shape)
    if axis is None:
        return Quantized(codes, float(q.scale) * step[0], 0, bits)
    along = [1] * codes.ndim
    along[axis] = -1
    return Quantized(codes, (float(q.scale) * step).reshape(along), 0, bits)
