"""Gradients as their products take them: integers or floats, what one is worth, and exact sums with their scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bitlearn.errors import brief
from bitlearn.ops import check
from bitlearn.ops.dispatch import planes_pay, run
from bitlearn.ops.planes import check_width, width
from bitlearn.ops.quantize import channel_magnitudes
from bitlearn.ops.quantized import Quantized
from bitlearn.threads import resolve

_RESULT: dict[np.dtype, np.dtype] = {np.dtype(np.int8): np.dtype(np.int32), np.dtype(np.int16): np.dtype(np.int64)}
FLOAT32: np.dtype = np.dtype(np.float32)


@dataclass(frozen=True)
class GradientOperand:
    """A gradient made ready for the kernels: C-contiguous int8, int16 or float32 parts whose products are added."""

    parts: tuple[np.ndarray, ...]
    scale: np.ndarray | None
    zero_point: np.ndarray | int
    result: np.dtype
    #: What it was made of, as it was given.
    inputs: tuple[object, ...]
    bits: int | None = None

    def on_planes(self, rows: int, depth: int, columns: int, taps: int = 1, *, passes: int = 0) -> bool:
        """Whether bit planes are the faster way to a product of so many rows.

        Raises ValueError where a value needs more bits than was said, whichever way is taken; planes find that as they
        are split.
        """
        if self.bits is None:
            return False
        if not self.shifted and planes_pay(self.bits, rows, depth, columns, taps, passes=passes):
            return True
        check_width(self.parts[0], self.bits)
        return False

    @property
    def shifted(self) -> bool:
        """Whether any value stands for another number than itself times the scale."""
        return isinstance(self.zero_point, np.ndarray)

    @property
    def total(self) -> np.dtype:
        """The type of a sum before any scale."""
        return _RESULT.get(self.parts[0].dtype, FLOAT32)


def _of_axis(name: str, value: object, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Return a scalar, or the values along `axis` where that is the only axis they vary along."""
    array = np.asarray(value)
    if array.size == 1:
        return array.reshape(())
    along = [1] * len(shape)
    along[axis] = shape[axis]
    if array.shape != tuple(along):
        raise ValueError(f"{name} of g must be a scalar or of shape {tuple(along)} for this product, got {array.shape}")
    return array.reshape(-1)


def gradient(g: ArrayLike | Quantized, ndim: int, axis: int, bits: int | None = None) -> GradientOperand:
    """Check a gradient whose scales, if quantized, may vary along `axis` only, and that needs so many bits."""
    inputs: tuple[object, ...]
    if isinstance(g, Quantized):
        values, inputs = g.values, (g.values, g.scale, g.zero_point)
        scale = _of_axis("scale", g.scale, values.shape, axis)
        zero = g.zero_point  # mostly an int: `np.any` of one takes longer than the rest of these lines
        shifted = zero != 0 if isinstance(zero, int) else np.any(zero)
        zero_point = _of_axis("zero_point", zero, values.shape, axis) if shifted else 0
        result = FLOAT32
    else:
        values, inputs = check.array("g", g), (g,)
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):
                values = values.astype(np.float32, copy=False)
        scale, zero_point, result = None, 0, _RESULT.get(values.dtype, FLOAT32)
    if values.ndim != ndim:
        raise ValueError(f"g must have {ndim} dimensions, got shape {values.shape}")
    if values.dtype == np.int32 and isinstance(g, Quantized):
        # Powers of two reach 2**15, one past int16: two halves that fit, added exactly.
        values = np.ascontiguousarray(values)
        half = values >> 1
        parts: tuple[np.ndarray, ...] = (half.astype(np.int16), (values - half).astype(np.int16))
    elif values.dtype in (np.int8, np.int16, np.float32):
        parts = (check.ready(values, values.dtype),)
    else:
        raise TypeError(f"g must be int8, int16, floating or quantized, got dtype {brief(values.dtype)}")
    known = width(bits, g.bits if isinstance(g, Quantized) else None, values.dtype)
    return GradientOperand(parts, scale, zero_point, result, inputs, known)


def check_terms(g: GradientOperand, terms: int) -> None:
    """Raise where a sum of `terms` int8 products may leave int32."""
    if g.parts[0].dtype == np.int8 and terms >= 2**24:
        raise ValueError(f"an int8 g must be summed over fewer than {2**24} terms, got {terms}: use int16")


def check_room(g: GradientOperand, terms: int, out: np.ndarray) -> None:
    """Raise where sums of `terms` products, added to the integers of `out`, may leave its type."""
    if out.dtype.kind == "i":
        added = terms * 2 ** ((g.bits or 8 * g.parts[0].itemsize) - 1)
        most, found = np.iinfo(out.dtype).max - added, int(channel_magnitudes(out.reshape(1, 1, out.size))[0])
        if found > most:
            raise ValueError(
                f"out must hold magnitudes of at most {most} where sums of {terms} terms are added, got {found}"
            )


def _shaped(factor: np.ndarray, ndim: int) -> np.ndarray:
    """Return per-row factors so that they broadcast along the first of `ndim` axes."""
    return factor.reshape(-1, *[1] * (ndim - 1)) if factor.ndim else factor


def product(
    g: GradientOperand, shape: tuple[int, ...], kernel: Callable[[np.ndarray, np.ndarray], None], *, adds: bool
) -> np.ndarray:
    """Run ``kernel(part, out)`` for each part and return the sum, zero points taken out and scales applied."""
    total = np.zeros(shape, dtype=g.total)
    for index, part in enumerate(g.parts):
        each = total if adds or index == 0 else np.zeros(shape, dtype=g.total)
        kernel(part, each)
        if each is not total:
            total += each
    if g.shifted:
        units = np.zeros(shape, dtype=np.int32)
        kernel(np.ones(g.parts[0].shape, dtype=np.int8), units)
        total = total - units.astype(np.int64) * _shaped(np.asarray(g.zero_point), len(shape))
    if g.scale is None:
        return total
    return (total * _shaped(np.asarray(g.scale, dtype=np.float64), len(shape))).astype(np.float32)


#: Exact sums that are formed at a time where they get their scale at once: 1 MiB, for each thread.
_SUMS = 2**18


def scale_sums(sums: np.ndarray, g: GradientOperand, out: np.ndarray, rows: slice, threads: int | None) -> None:
    """Write exact sums, some of a result's rows, times the scale of g to `out`."""
    scale = np.array(g.scale, dtype=np.float64, ndmin=1)
    some = scale[rows] if scale.size > 1 else scale
    whole = len(sums), math.prod(sums.shape[1:])
    run("scale_sums", (sums.reshape(whole), some, out.reshape(whole)), threads=threads)


def scaled_product(
    g: GradientOperand,
    out: np.ndarray,
    kernel: Callable[[np.ndarray, np.ndarray], None],
    *,
    whole: bool,
    threads: int | None,
) -> None:
    """Run ``kernel(part, sums)`` on rows of a quantized gradient and write the sums, scaled, to rows of `out`.

    They get their scale while they are in the cache, a few rows at a time; or all at once, where the kernel is for the
    `whole` gradient.
    """
    if len(g.parts) > 1 or g.shifted:
        out[...] = product(g, out.shape, kernel, adds=False)
        return
    rows, values = len(out), math.prod(out.shape[1:])
    count = rows if whole else max(1, resolve(threads) * _SUMS // max(values, 1))
    sums = np.empty((min(count, rows), *out.shape[1:]), dtype=g.total)
    for start in range(0, rows, max(count, 1)):
        some = slice(start, min(start + count, rows))
        part = sums[: some.stop - start]
        kernel(g.parts[0][some], part)
        scale_sums(part, g, out[some], some, threads)
