"""NumPy's float32 product of unpacked matrices: its BLAS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cases import Case
from . import _products

NAME = "numpy-float32"
#: Not for int16, whose sums float32 rounds.
KERNELS = {
    "xnor_matmul": ("prepared",),
    "grad_input": ("int8", "float32"),
    "grad_weight": ("int8", "float32"),
}


def prepare(case: Case) -> Callable[[], object]:
    a, b = (factor.astype(np.float32) for factor in _products.factors(case))
    out = np.empty(case.expected.shape, dtype=np.float32)
    return lambda: np.matmul(a, b, out=out)


def check(case: Case, answer: object) -> bool:
    return _products.same(case, answer)
