"""NumPy's comparison and ``packbits``; bytes, not padded to words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bitlearn.bench.kernels import Case

NAME = "numpy-packbits"
KERNELS = ("pack",)


def prepare(case: Case) -> Callable[[], object]:
    values = case.operands["values"]
    return lambda: np.packbits(values >= 0, axis=-1, bitorder="little")


def check(case: Case, answer: object) -> bool:
    size = -(-case.n // 8)
    return np.array_equal(np.asarray(answer), case.expected.view(np.uint8)[..., :size])
