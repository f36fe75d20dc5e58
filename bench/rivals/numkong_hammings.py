"""NumKong's counts of differing bits of all pairs of rows, the right-hand side packed ahead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cases import Case
from . import _products

NAME = "numkong"
KERNELS = {"hamming": ("prepared",), "xnor_matmul": ("prepared",)}


def prepare(case: Case) -> Callable[[], object]:
    import numkong

    a, b = (case.operands[name].view(np.uint8) for name in ("words_a", "words_b"))
    packed = numkong.hammings_pack(b, dtype="uint1")
    out = numkong.zeros(case.expected.shape, dtype="uint32")

    def mismatches() -> object:
        numkong.hammings_packed(a, packed, out=out)
        return out

    return mismatches


def check(case: Case, answer: object) -> bool:
    return _products.mismatches(case, answer)
