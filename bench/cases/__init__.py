"""The cases, one module per family of kernels: random operands of a shape, the timed call, and NumPy's answer.

A family has ``MEANING`` (what the sizes of its shapes are), ``FORMS`` (its kernels, and the forms in which each takes
its operands), ``GRIDS`` (the shapes of each kernel that are run if none is named), ``takes(kernel, form, shape)``
and ``make(kernel, form, shape, rng)``, which returns a `Case`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A kernel at a shape, its operands in one form.

    `call` runs it through the public function, with ``out=`` where it takes it. `operands` are what a rival is given:
    ``a`` and ``b`` as ±1 in int8, their packed ``words_a`` and ``words_b``... `operations` counts multiply-adds of a
    product, and values of a kernel of the format. `read` takes out of an answer what is compared with `expected`.
    """

    kernel: str
    form: str
    shape: Shape
    n: int
    operations: int
    unit: str
    call: Callable[[], object]
    expected: np.ndarray
    operands: dict[str, np.ndarray] = field(repr=False)
    read: Callable[[Any], np.ndarray] = np.asarray

    def answered_by(self, answer: object) -> bool:
        """Say whether an answer of ours is right in every bit."""
        found = self.read(answer)
        return found.dtype == self.expected.dtype and np.array_equal(found, self.expected)


def signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return random ±1 in int8: a byte a value, since shapes are large."""
    return rng.integers(0, 2, size=shape, dtype=np.int8) * np.int8(2) - np.int8(1)


def words(bits: np.ndarray) -> np.ndarray:
    """Pack by NumPy alone, since `pack` is among what is verified."""
    n = bits.shape[-1]
    packed = np.zeros((*bits.shape[:-1], 8 * math.ceil(n / 64)), dtype=np.uint8)
    packed[..., : math.ceil(n / 8)] = np.packbits(bits, axis=-1, bitorder="little")
    return packed.view("<u8")


def product(a: np.ndarray, b: np.ndarray, exact: type = np.float32) -> np.ndarray:
    """Return ``a @ b`` by NumPy's BLAS in a type that holds all of its sums exactly."""
    return np.matmul(a.astype(exact), b.astype(exact))
