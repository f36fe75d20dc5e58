"""NumPy's exclusive or and ``bitwise_count`` on packed words, one row of the result at a time, to stay in the cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cases import Case
from . import _products

NAME = "numpy-bitwise-count"
KERNELS = {"popcount": ("words",), "hamming": ("prepared", "words"), "xnor_matmul": ("prepared", "words")}


def prepare(case: Case) -> Callable[[], object]:
    if case.kernel == "popcount":
        words = case.operands["words"]
        return lambda: np.bitwise_count(words).sum(axis=-1, dtype=np.int64)
    a, b = case.operands["words_a"], case.operands["words_b"]
    out = np.empty(case.expected.shape, dtype=np.int64)

    def mismatches() -> np.ndarray:
        for row, result in zip(a, out, strict=True):
            np.bitwise_count(row ^ b).sum(axis=-1, dtype=np.int64, out=result)
        return out

    return mismatches


def check(case: Case, answer: object) -> bool:
    if case.kernel == "popcount":
        return np.array_equal(np.asarray(answer), case.expected)
    return _products.mismatches(case, answer)
