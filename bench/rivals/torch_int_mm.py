"""PyTorch's product of int8 matrices, ``torch._int_mm``, on operands that are ready and with ``out=``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cases import Case
from . import CannotDo, _products, _pytorch

NAME = "torch-int-mm"
KERNELS = {"xnor_matmul": ("prepared",), "grad_input": ("int8",), "grad_weight": ("int8",)}


def prepare(case: Case) -> Callable[[], object]:
    torch = _pytorch.module()
    left, right = _products.factors(case)
    a, b = torch.from_numpy(np.ascontiguousarray(left)), torch.from_numpy(right)
    out = torch.empty((a.shape[0], b.shape[1]), dtype=torch.int32)
    try:
        torch._int_mm(a, b, out=out)
    except RuntimeError as error:  # it refuses some shapes, by rules that differ between its versions
        raise CannotDo(str(error).splitlines()[0]) from error
    return lambda: torch._int_mm(a, b, out=out)


def check(case: Case, answer: object) -> bool:
    return _products.same(case, _pytorch.numbers(answer))
