"""NumKong's dot products of int8 rows, the right-hand side packed ahead: on tiles where the processor has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cases import Case
from . import _products

NAME = "numkong-int8"
KERNELS = {"xnor_matmul": ("prepared",), "grad_input": ("int8",), "grad_weight": ("int8",)}


def prepare(case: Case) -> Callable[[], object]:
    import numkong

    left, right = (np.ascontiguousarray(factor) for factor in _products.factors(case))
    packed = numkong.dots_pack(np.ascontiguousarray(right.T), dtype="int8")
    out = numkong.zeros((left.shape[0], right.shape[1]), dtype="int32")

    def product() -> object:
        numkong.dots_packed(left, packed, out=out)
        return out

    return product


def check(case: Case, answer: object) -> bool:
    return _products.same(case, answer)
