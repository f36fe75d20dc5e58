"""What rivals in matrix products share: their operands as numbers, and the expected answer."""

from __future__ import annotations

import numpy as np

from ..cases import Case


def factors(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return the two matrices, ±1 in int8 or a gradient as it is, whose product the kernel gives."""
    if case.kernel == "xnor_matmul":
        return case.operands["a"], case.operands["b"].T
    g, bits = case.operands["g"], case.operands["bits"]
    return (g if case.kernel == "grad_input" else g.T), bits


def same(case: Case, answer: object) -> bool:
    """Say whether the answer holds exactly the expected numbers, in any type."""
    return np.array_equal(np.asarray(answer).astype(np.float64), case.expected)


def mismatches(case: Case, answer: object) -> bool:
    """Say whether the answer is the counts of differing values; ``n - 2 * count`` is the dot product."""
    counts = np.asarray(answer).astype(np.int64)
    return np.array_equal(counts if case.kernel == "hamming" else case.n - 2 * counts, case.expected)
