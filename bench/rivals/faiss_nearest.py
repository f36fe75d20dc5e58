"""Faiss's exhaustive search of an index of bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cases import Case

NAME = "faiss-flat"
KERNELS = {"nearest": ("words",)}


def prepare(case: Case) -> Callable[[], object]:
    import faiss

    from . import CannotDo

    if case.n % 8:
        raise CannotDo(f"an index holds whole bytes, not {case.n} bits")
    queries, base = (case.operands[name].view(np.uint8) for name in ("words_a", "words_b"))
    bits, k = case.n, case.shape[3]
    index = faiss.IndexBinaryFlat(bits)
    index.add(np.ascontiguousarray(base[:, : bits // 8]))
    codes = np.ascontiguousarray(queries[:, : bits // 8])
    return lambda: index.search(codes, k)


def check(case: Case, answer: tuple) -> bool:
    distances, indices = answer
    return np.array_equal(np.stack([indices, distances]), case.expected)
