"""PyTorch's bfloat16 product of ±1 matrices: its 8 bits of precision round large sums."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cases import Case
from . import _pytorch

NAME = "torch-bfloat16"
KERNELS = {"xnor_matmul": ("prepared",)}


def prepare(case: Case) -> Callable[[], object]:
    return _pytorch.matmul(case, "bfloat16")


def check(case: Case, answer: object) -> bool:
    # Sums are made in float32 and rounded once: half a unit in the last of 8 places.
    error = np.abs(_pytorch.numbers(answer) - case.expected)
    return error.shape == case.expected.shape and bool((error <= np.abs(case.expected) * 2.0**-8).all())
