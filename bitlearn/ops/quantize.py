"""Gradients in a few bits: integers, a scale and a zero point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from bitlearn.ops import check
from bitlearn.ops.dispatch import run
from bitlearn.rng import Key

Scheme = Literal["symmetric", "affine", "power-of-two"]
Rounding = Literal["nearest", "stochastic"]

_NO_NOISE = np.empty((0, 0), dtype=np.uint32)
_SMALLEST = np.finfo(np.float32).tiny


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
        axis = check.axis("axis", axis, x.ndim)
    if rounding == "stochastic" and (rng is None or scheme == "power-of-two"):
        raise ValueError(f"rounding 'stochastic' needs rng and a linear scheme, got rng={rng!r} and scheme {scheme!r}")

    moved = x if axis is None else np.moveaxis(x, axis, 0)
    count = 1 if axis is None else len(moved)
    rows = np.ascontiguousarray(moved).reshape(count, x.size // max(count, 1))
    high = rows.max(axis=1, initial=0)
    low = rows.min(axis=1, initial=0)
    if not (np.isfinite(high).all() and np.isfinite(low).all()):
        raise ValueError("g must be finite in float32, got NaN or infinity")
    noise = _NO_NOISE
    if rounding == "stochastic":
        key = rng if isinstance(rng, Key) else Key(check.count("rng", rng))
        noise = key.words(rows.size).reshape(rows.shape)

    largest = np.maximum(high, -low)
    if scheme == "power-of-two":
        values = np.empty(rows.shape, dtype=np.int32)
        exponents = 2 ** (bits - 1)
        run("quantize_power_of_two", (rows, largest, exponents, values))
        values[largest == 0] = 0
        mantissa, exponent = np.frexp(largest)
        # The value of code 1: 2**(-half - bias), with bias = half - round(log2(largest)).
        smallest = exponent.astype(np.int64) - (mantissa < np.sqrt(0.5)) - exponents
        scale = np.where(largest == 0, 1, np.ldexp(1.0, smallest)).astype(np.float32)
        zero_point = np.zeros(len(rows), dtype=np.int64)
    else:
        values = np.empty(rows.shape, dtype=np.int8 if bits <= 8 else np.int16)
        limit = 2 ** (bits - 1) - 1
        if scheme == "symmetric":
            scale = symmetric_scale(largest, bits)
            zero_point = np.zeros(len(rows), dtype=np.int64)
            run("quantize_linear", (rows, scale, zero_point, -limit, limit, noise, values))
        else:
            scale = _nonzero(((high.astype(np.float64) - low) / (2 * limit + 1)).astype(np.float32))
            zero_point = np.clip(np.rint(-low / scale), 0, 2 * limit + 1).astype(np.int64) - limit - 1
            zero_point[largest == 0] = 0
            run("quantize_linear", (rows, scale, zero_point, -limit - 1, limit, noise, values))

    if axis is None:
        return Quantized(values.reshape(x.shape), scale[0], int(zero_point[0]), bits)
    along = [1] * x.ndim
    along[axis] = len(rows)
    values = np.ascontiguousarray(np.moveaxis(values.reshape(moved.shape), 0, axis))
    symmetric = not zero_point.any()
    return Quantized(values, scale.reshape(along), 0 if symmetric else zero_point.reshape(along), bits)


def _nonzero(scale: np.ndarray) -> np.ndarray:
    """Scales of zero (nothing but zeros, or numbers too small for float32) become ones that lose nothing."""
    return np.where(scale == 0, np.float32(1), np.maximum(scale, _SMALLEST)).astype(np.float32)


def symmetric_scale(largest: np.ndarray, bits: int) -> np.ndarray:
    """Return what a code is worth where the largest magnitude, float32, becomes the largest code of `bits`."""
    return _nonzero(largest / np.float32(2 ** (bits - 1) - 1))


def requantize(values: np.ndarray, scale: float, bits: int) -> Quantized:
    """Quantize exact integer sums, worth `scale` each, to `bits` with one symmetric scale.

    Integers that fit are kept as they are. The quotients are in float64, exact for sums below 2**53.

    Examples
    --------
    >>> requantize(np.array([90, -200]), 0.5, 8).values.tolist()
    [57, -127]
    """
    kind = np.int8 if bits <= 8 else np.int16
    limit = 2 ** (bits - 1) - 1
    largest = max(int(values.max(initial=0)), -int(values.min(initial=0)))
    if largest <= limit:
        return Quantized(values.astype(kind), scale, 0, bits)
    step = largest / limit
    rows = np.ascontiguousarray(values).reshape(1, -1)
    codes = np.empty(rows.shape, dtype=kind)
    arguments = (rows, np.array([step]), np.zeros(1, dtype=np.int64), -limit, limit, _NO_NOISE, codes)
    run("quantize_linear", arguments)
    return Quantized(codes.reshape(values.shape), scale * step, 0, bits)
