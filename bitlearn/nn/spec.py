"""What flows from layer to layer, as a type."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bitlearn.bits import WORD, Bits, words_for
from bitlearn.errors import brief
from bitlearn.ops import check

#: What one input code is worth: codes of -128 to 127 stand for real numbers in [-1, 1).
CODE_UNIT = 2.0**-7

Kind = Literal["codes", "bits", "sums", "real"]
_TYPES: dict[str, tuple[type, ...]] = {
    "codes": (np.int8,),
    "bits": (np.uint64,),
    "sums": (np.int16, np.int32),
    "real": (np.float32,),
}


@dataclass(frozen=True)
class Spec:
    """The type of a value between two layers.

    Parameters
    ----------
    shape : tuple of int
        The shape of one example, in values.
    kind : {"codes", "bits", "sums", "real"}
        int8 input codes, packed ±1 bits, exact integer sums, or float32.
    dtype : dtype
        The type of the array: uint64 words for bits.
    unit : float
        What 1 stands for, a power of two: 1/128 for input codes and their sums.

    Raises
    ------
    TypeError, ValueError
        If there is no such type.

    Examples
    --------
    >>> Spec.bits((8, 8, 65)).array_shape(2)
    (2, 8, 8, 2)
    """

    shape: tuple[int, ...]
    kind: Kind
    dtype: np.dtype
    unit: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.shape, (tuple, list)):
            raise TypeError(f"shape must be a tuple of sizes, got {brief(self.shape)}")
        object.__setattr__(self, "shape", tuple(check.count("a size", size) for size in self.shape))
        check.choice("kind", self.kind, tuple(_TYPES))
        check.dtype(f"the dtype of {self.kind}", self.dtype, _TYPES[self.kind])
        if not (isinstance(self.unit, float) and 0 < self.unit < math.inf and math.frexp(self.unit)[0] == 0.5):
            raise ValueError(f"unit must be a power of two, a float, got {brief(self.unit)}")

    @classmethod
    def codes(cls, shape: tuple[int, ...]) -> Spec:
        """Return the type of input codes: int8, in units of 1/128."""
        return cls(shape, "codes", np.dtype(np.int8), CODE_UNIT)

    @classmethod
    def bits(cls, shape: tuple[int, ...]) -> Spec:
        """Return the type of packed ±1 values."""
        return cls(shape, "bits", np.dtype(WORD))

    @classmethod
    def sums(cls, shape: tuple[int, ...]) -> Spec:
        """Return the type of exact sums in int16, in units of 1."""
        return cls(shape, "sums", np.dtype(np.int16))

    @classmethod
    def real(cls, shape: tuple[int, ...]) -> Spec:
        """Return the type of float32 values."""
        return cls(shape, "real", np.dtype(np.float32))

    @classmethod
    def of(cls, batch: np.ndarray | Bits) -> Spec:
        """Return the type of some examples: int8 input codes, or packed bits.

        Examples
        --------
        >>> import bitlearn as bl
        >>> x = np.array([[0.5], [1.5], [40.0]])
        >>> print(Spec.of(bl.datasets.prepare(x, codes="thermometer", bits=5).codes(x)))
        bits of shape (5,)
        """
        return cls.bits(batch.shape[1:]) if isinstance(batch, Bits) else cls.codes(batch.shape[1:])

    @property
    def size(self) -> int:
        """How many values an example has."""
        return math.prod(self.shape)

    @property
    def channels(self) -> int:
        """The last axis."""
        return self.shape[-1]

    def array_shape(self, batch: int) -> tuple[int, ...]:
        """Return the shape of the array of a batch: its last axis counts words if it holds bits."""
        if self.kind == "bits":
            return (batch, *self.shape[:-1], words_for(self.shape[-1]))
        return (batch, *self.shape)

    def reshaped(self, shape: tuple[int, ...]) -> Spec:
        """Return the type of the same values in another shape."""
        return replace(self, shape=shape)

    def __str__(self) -> str:
        return f"{self.kind} of shape {self.shape}"


def sum_type(terms: int) -> np.dtype:
    """Return the smallest type that holds a ±1 sum of so many terms exactly."""
    return np.dtype(np.int16 if terms <= 2**15 - 1 else np.int32)


def code_sum_type(terms: int) -> np.dtype:
    """Return the smallest type that holds a sum of so many codes, of magnitude 128 at most, exactly."""
    return sum_type(128 * terms)
