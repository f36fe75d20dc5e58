"""NumPy's way to quantize with one symmetric scale: the largest magnitude, divide, round, narrow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cases import Case

NAME = "numpy-rint"
KERNELS = {"quantize_linear": ("8-bit", "16-bit")}


def prepare(case: Case) -> Callable[[], object]:
    values, kind = case.operands["values"], case.expected.dtype
    limit = np.float32(np.iinfo(kind).max)
    work = np.empty_like(values)

    def quantized() -> np.ndarray:
        scale = np.abs(values, out=work).max() / limit
        np.divide(values, scale, out=work)
        return np.rint(work, out=work).astype(kind)

    return quantized


def check(case: Case, answer: object) -> bool:
    return np.array_equal(np.asarray(answer), case.expected)
