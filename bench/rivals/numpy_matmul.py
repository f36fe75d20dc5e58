"""NumPy's float32 product of ±1 matrices: its BLAS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bitlearn.bench.kernels import Case
from bitlearn.bench.rivals import _answers

NAME = "numpy-float32"
KERNELS = ("xnor_matmul",)


def prepare(case: Case) -> Callable[[], object]:
    a, b = case.operands["a"], case.operands["b"].T
    out = np.empty(case.expected.shape, dtype=np.float32)
    return lambda: np.matmul(a, b, out=out)


def check(case: Case, answer: object) -> bool:
    return _answers.dots(case, answer)
