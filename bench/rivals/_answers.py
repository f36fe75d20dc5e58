"""What an answer is compared with: integers exactly, in whatever type a rival gives them."""

from __future__ import annotations

import numpy as np

from bitlearn.bench.kernels import Case


def dots(case: Case, answer: object) -> bool:
    """Say whether the answer is the ±1 dot products of an ``xnor_matmul``, in any type."""
    return np.array_equal(np.asarray(answer).astype(np.float64), case.expected)


def mismatches(case: Case, answer: object) -> bool:
    """Say whether the answer is the counts of differing values; ``n - 2 * count`` is the dot product."""
    counts = np.asarray(answer).astype(np.int64)
    return np.array_equal(counts if case.kernel == "hamming" else case.n - 2 * counts, case.expected)
