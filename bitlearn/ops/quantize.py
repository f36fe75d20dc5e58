"""From real numbers to a few bits: scales, codes and random rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from bitlearn import threads as threading
from bitlearn.errors import brief
from bitlearn.ops import check
from bitlearn.ops.dispatch import lookup, run
from bitlearn.ops.programs import run_beside
from bitlearn.ops.quantized import Quantized
from bitlearn.rng import Key

Scheme = Literal["symmetric", "affine", "power-of-two"]
Rounding = Literal["nearest", "stochastic"]

_NO_NOISE = np.empty((0, 0, 0), dtype=np.uint32)
#: Random words that a thread forms at a time: 256 KiB, for which a call is written down in a fraction of its time.
NOISE_WORDS = 2**16
#: What a value costs, in operations on a word.
_WORK = 2
#: Of so many floats NumPy finds the largest sooner than a kernel is called.
_FEW = 2**10
_SMALLEST = np.finfo(np.float32).tiny
Piece = tuple[slice, slice, slice]


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
        One scale per index of this axis; None for a single scale.
    scheme : {"symmetric", "affine", "power-of-two"}
        Symmetric: ``scale = max|g| / (2**(bits - 1) - 1)``, codes from ``-(2**(bits - 1) - 1)``. Affine: the range from
        min to max, extended to contain zero, over all ``2**bits`` codes, its zero point rounded to a code so that 0 is
        exact. Power of two: a sign and an exponent of ``bits - 1`` bits below the largest magnitude; no code for zero.
    rounding : {"nearest", "stochastic"}
        To nearest, ties to even; or up with a probability equal to the fraction, which is unbiased (except in the last
        half step of an affine range, which the rounded zero point can leave past the last code). Powers of two are
        rounded only to nearest, in the exponent.
    rng : int or Key, optional
        The seed, or the key of the counter-based generator; required for stochastic rounding.

    Returns
    -------
    Quantized

    Raises
    ------
    TypeError
        If `g` is not real.
    ValueError
        If a value is not finite, `bits` or `axis` is out of range, or stochastic rounding has no `rng`.

    Notes
    -----
    0 is exact under the first two schemes, and all zeros give zeros and scale 1. The power-of-two scheme is that of the
    first version of arXiv 2102.04270: ``e = clip(round(log2(|g| * 2**bias)), -8, 7)`` with
    ``bias = 8 - round(log2(max|g|))`` for 5 bits, so the largest magnitudes may saturate one octave too low, and a zero
    becomes the smallest positive code. Its values ``±2**(e + 8)`` are int32.

    Examples
    --------
    >>> import bitlearn as bl
    >>> q = bl.quantize([[0.0, 0.25, -1.0]], 4)
    >>> q.values, q.scale
    (array([[ 0,  2, -7]], dtype=int8), np.float32(0.14285715))
    """
    x = check.array("g", g)
    if x.dtype.kind not in "fiub":
        raise TypeError(f"g must be real numbers, got dtype {brief(x.dtype)}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
        x = check.ready(x, np.dtype(np.float32))
    check.choice("scheme", scheme, ("symmetric", "affine", "power-of-two"))
    check.choice("rounding", rounding, ("nearest", "stochastic"))
    bits = check.count("bits", bits, least=2)
    most = 5 if scheme == "power-of-two" else 16
    if bits > most:
        raise ValueError(f"bits must be at most {most} for scheme {scheme!r}, got {bits}")
    if axis is not None:
        axis = check.axis("axis", axis, x.ndim) % x.ndim
    key = rng if rng is None or isinstance(rng, Key) else Key(check.count("rng", rng, most=2**64 - 1))
    if rounding == "nearest":
        key = None
    elif key is None or scheme == "power-of-two":
        raise ValueError(f"rounding 'stochastic' needs rng and a linear scheme, got rng={rng} and scheme {scheme!r}")

    source = by_channel(x, axis)
    shape = source.shape
    largest = channel_magnitudes(source)
    if not np.isfinite(largest).all():
        raise ValueError("g must be finite in float32, got NaN or infinity")

    limit = 2 ** (bits - 1) - 1
    zero_point = np.zeros(shape[1], dtype=np.int64)
    if scheme == "power-of-two":
        values, scale = _powers_of_two(source, largest, 2 ** (bits - 1))
    elif scheme == "symmetric":
        scale = symmetric_scale(largest, bits)
        values = linear_codes(source, scale, zero_point, -limit, limit, key)
    else:
        high, low = source.max(axis=(0, 2), initial=0), source.min(axis=(0, 2), initial=0)
        scale = _nonzero(((high.astype(np.float64) - low) / (2 * limit + 1)).astype(np.float32))
        zero_point = np.clip(np.rint(-low / scale), 0, 2 * limit + 1).astype(np.int64) - limit - 1
        zero_point[largest == 0] = 0
        values = linear_codes(source, scale, zero_point, -limit - 1, limit, key)

    values = values.reshape(x.shape)
    if axis is None:
        return Quantized(values, scale[0], int(zero_point[0]), bits)
    along = [1] * x.ndim
    along[axis] = shape[1]
    symmetric = not zero_point.any()
    return Quantized(values, scale.reshape(along), 0 if symmetric else zero_point.reshape(along), bits)


def by_channel(x: np.ndarray, axis: int | None) -> np.ndarray:
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
    return min(threading.get_num_threads(), 1 + size * _WORK // threading.WORK_PER_THREAD)


def on_one_thread(size: int) -> bool:
    """Whether so many values are one thread's work, for which they need not be cut into pieces."""
    return _threads(size) == 1


def _over_pieces(calls: Callable[[Piece], list[tuple[str, tuple]]], shape: tuple[int, ...]) -> None:
    """Run the calls for the contiguous pieces of an array (outer, channels, inner), on the process's threads."""
    size = math.prod(shape)
    threads = _threads(size)
    run_beside([calls(piece) for piece in _pieces(shape, max(1, -(-size // threads)))], threads)


def channel_magnitudes(x: np.ndarray) -> np.ndarray:
    """Return the largest magnitude of each channel of x (outer, channels, inner); of integers unsigned."""
    kind = np.dtype(f"u{x.itemsize}") if x.dtype.kind == "i" else x.dtype
    if on_one_thread(x.size):
        largest = np.empty(x.shape[1], dtype=kind)
        lookup("largest_magnitude")(x, largest)
        return largest
    found: list[tuple[slice, np.ndarray]] = []

    def calls(piece: Piece) -> list[tuple[str, tuple]]:
        part = x[piece]
        found.append((piece[1], np.empty(part.shape[1], dtype=kind)))
        return [("largest_magnitude", (part, found[-1][1]))]

    _over_pieces(calls, x.shape)
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
    if x.size <= _FEW:
        return float(np.abs(x).max(initial=0))
    whole = np.ascontiguousarray(x).reshape(1, 1, -1)
    if x.dtype == np.float16:
        return float(channel_magnitudes(whole.view(np.uint16)).view(np.float16)[0])
    return float(channel_magnitudes(whole)[0])


def linear_codes(
    x: np.ndarray,
    scale: np.ndarray,
    zero_point: np.ndarray,
    low: int,
    high: int,
    key: Key | None,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return the codes of x (outer, channels, inner), rounded to nearest, or by the random words of a key.

    A word's place in the stream is that of its value where the channels are moved first: it does not depend on threads.
    """
    values = np.empty(x.shape, np.int8 if high <= 127 else np.int16) if out is None else out

    def quantized(piece: Piece, noise: np.ndarray) -> tuple[str, tuple]:
        channels = piece[1]
        given = x[piece], scale[channels], zero_point[channels], low, high, noise, values[piece]
        return "quantize_linear", given

    if key is None and on_one_thread(x.size):
        lookup("quantize_linear")(x, scale, zero_point, low, high, _NO_NOISE, values)
        return values
    if key is None:
        _over_pieces(lambda piece: [quantized(piece, _NO_NOISE)], x.shape)
        return values
    words, outer, inner = key.as_words(), x.shape[0], x.shape[2]

    def rounded_at_random(piece: Piece) -> list[tuple[str, tuple]]:
        shape, calls = tuple(each.stop - each.start for each in piece), []
        noise = np.empty(min(NOISE_WORDS, math.prod(shape)), dtype=np.uint32)
        for block in _pieces(shape, NOISE_WORDS):
            o, c, i = (
                slice(part.start + at.start, part.start + at.stop) for part, at in zip(piece, block, strict=True)
            )
            sizes = c.stop - c.start, o.stop - o.start, i.stop - i.start
            some = noise[: math.prod(sizes)].reshape(sizes)
            first = (c.start * outer + o.start) * inner + i.start
            calls.append(("random_words", (words, first, outer * inner, some.reshape(len(some), -1))))
            calls.append(quantized((o, c, i), some))
        return calls

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
    scale = np.where(largest == 0, 1, np.ldexp(1.0, smallest))  # float64: those of subnormal numbers are below float32
    return np.ascontiguousarray(values.reshape(moved.shape).swapaxes(0, 1)), scale


def _nonzero(scale: np.ndarray) -> np.ndarray:
    """Scales of zero (nothing but zeros, or numbers too small for float32) become ones that lose nothing."""
    return np.where(scale == 0, np.float32(1), np.maximum(scale, _SMALLEST)).astype(np.float32)


def symmetric_scale(largest: np.ndarray, bits: int) -> np.ndarray:
    """Return what a code is worth where the largest magnitude, float32, becomes the largest code of `bits`."""
    return _nonzero(largest / np.float32(2 ** (bits - 1) - 1))
