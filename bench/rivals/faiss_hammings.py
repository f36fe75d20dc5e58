"""Faiss's counts of differing bits of all pairs of rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cases import Case
from . import _products

NAME = "faiss"
KERNELS = {"hamming": ("prepared", "words"), "xnor_matmul": ("prepared", "words")}


def prepare(case: Case) -> Callable[[], object]:
    import faiss

    a, b = (case.operands[name].view(np.uint8) for name in ("words_a", "words_b"))
    out = np.empty(case.expected.shape, dtype=np.int32)

    def mismatches() -> np.ndarray:
        pointers = faiss.swig_ptr(a), faiss.swig_ptr(b)
        faiss.hammings(*pointers, len(a), len(b), a.shape[1], faiss.swig_ptr(out))
        return out

    return mismatches


def check(case: Case, answer: object) -> bool:
    return _products.mismatches(case, answer)
