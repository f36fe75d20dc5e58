"""NumPy's comparison and ``packbits``; bytes, not padded to words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cases import Case

NAME = "numpy-packbits"
KERNELS = {"pack": ("float32", "float64", "float16", "int8", "bool")}


def prepare(case: Case) -> Callable[[], object]:
    values = case.operands["values"]
    if values.dtype == bool:
        return lambda: np.packbits(values, axis=-1, bitorder="little")
    return lambda: np.packbits(values >= 0, axis=-1, bitorder="little")


def check(case: Case, answer: object) -> bool:
    size = -(-case.n // 8)
    return np.array_equal(np.asarray(answer), case.expected.view(np.uint8)[..., :size])
