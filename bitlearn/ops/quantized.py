"""Gradients in a few bits: integers, a scale and a zero point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.errors import brief
from bitlearn.ops import check

_LARGEST = np.finfo(np.float32).max
#: For each type of values: the fewest and the most bits, and from how many on the type holds nothing else.
_WIDTHS = {np.dtype(np.int8): (2, 8, 8), np.dtype(np.int16): (9, 16, 16), np.dtype(np.int32): (2, 5, 32)}


def _fits(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether an array of a shape broadcasts to a whole one."""
    return len(shape) <= len(whole) and all(
        size in (1, full) for size, full in zip(shape[::-1], whole[::-1], strict=False)
    )


def _own(values: np.ndarray) -> Any:
    """Return a read-only copy; of no dimensions, a scalar."""
    copy = values.copy()
    copy.flags.writeable = False
    return copy if copy.ndim else copy[()]


@dataclass(frozen=True, eq=False)
class Quantized:
    """Integers that stand for real numbers: ``g ≈ (values - zero_point) * scale``.

    Parameters
    ----------
    values : ndarray of int8 (2 to 8 bits), int16 (9 to 16 bits) or int32 (powers of two, 2 to 5 bits)
    scale : float or ndarray
        Positive: a scalar, or of a shape that broadcasts to that of `values` if an axis has its own scales.
    zero_point : int or ndarray of int64
        The code of zero: a scalar, or of the shape of `scale`; 0 for a symmetric scheme.
    bits : int
        How many bits a value takes.

    Raises
    ------
    TypeError
        If an array or a number has the wrong type.
    ValueError
        If a value needs more bits, a scale is not finite and positive, the zero point is not a code, or shapes do not
        fit.

    Notes
    -----
    Scales and zero points are copied and read-only; values are stored as they are passed.
    """

    values: np.ndarray
    scale: float | np.ndarray
    zero_point: int | np.ndarray
    bits: int

    def __post_init__(self) -> None:
        values = check.array("values", self.values)
        least, most, widest = _WIDTHS.get(values.dtype, (0, 0, 0))
        if not most:
            raise TypeError(f"values must be int8, int16 or int32, got dtype {brief(values.dtype)}")
        bits = check.count("bits", self.bits)
        if not least <= bits <= most:
            raise ValueError(f"bits must be from {least} to {most} for values of {values.dtype}, got {bits}")
        # Of powers of two, the largest code of 2 bits is 2, of 5 bits 2**15.
        high = 2 ** (bits - 1) - 1 if widest <= 16 else 2 ** (2 ** (bits - 1) - 1)
        low = -high - 1 if widest <= 16 else -high
        if bits < widest and values.size and (values.min() < low or values.max() > high):
            raise ValueError(
                f"values must be from {low} to {high} with {bits} bits, got {values.min()} to {values.max()}"
            )
        scale, zero = check.array("scale", self.scale), check.array("zero_point", self.zero_point)
        for name, each, kinds, wanted in (("scale", scale, "fiu", "real"), ("zero_point", zero, "iu", "whole")):
            if each.dtype.kind not in kinds:
                raise TypeError(f"{name} must be {wanted} numbers, got dtype {brief(each.dtype)}")
        if not _fits(scale.shape, values.shape) or zero.shape not in ((), scale.shape):
            raise ValueError(
                "scale must broadcast to the shape of values, and zero_point be a scalar or as scale, "
                f"got {values.shape}, {scale.shape} and {zero.shape}"
            )
        with np.errstate(over="ignore", under="ignore"):
            scales = scale.astype(np.float64)
        if not np.all((scales > 0) & (scales < np.inf)):
            raise ValueError(f"scale must be finite and positive, got {brief(self.scale)}")
        if np.any((zero < low) | (zero > high)) or (widest > 16 and zero.any()):
            raise ValueError(f"zero_point must be a code of {bits} bits, and 0 for int32, got {brief(self.zero_point)}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "scale", _own(scale))
        object.__setattr__(self, "zero_point", _own(zero.astype(np.int64)) if zero.ndim else int(zero))
        object.__setattr__(self, "bits", bits)

    def dequantize(self) -> np.ndarray:
        """Return the real numbers as float32.

        Returns
        -------
        ndarray of float32, shape of `values`
            ``(values - zero_point) * scale``, computed in float64, and limited to the largest float32, which the last
            code of the largest numbers may exceed.

        Examples
        --------
        >>> import bitlearn as bl
        >>> bl.quantize([1.0, -0.5, 0.0], 8).dequantize().round(2).tolist()
        [1.0, -0.5, 0.0]
        """
        with np.errstate(over="ignore"):
            wide = (self.values.astype(np.float64) - self.zero_point) * self.scale
        return np.clip(wide, -_LARGEST, _LARGEST).astype(np.float32)
