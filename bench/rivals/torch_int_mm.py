"""PyTorch's product of int8 matrices, ``torch._int_mm``; it has no ``out=`` that is faster."""

from __future__ import annotations

from collections.abc import Callable

from bitlearn.bench.kernels import Case
from bitlearn.bench.rivals import CannotDo, _answers, _pytorch

NAME = "torch-int-mm"
KERNELS = ("xnor_matmul",)


def prepare(case: Case) -> Callable[[], object]:
    torch, a, b = _pytorch.operands(case, "int8")
    try:
        torch._int_mm(a, b)
    except RuntimeError as error:  # it refuses some shapes, by rules that differ between its versions
        raise CannotDo(str(error).splitlines()[0]) from error
    return lambda: torch._int_mm(a, b)


def check(case: Case, answer: object) -> bool:
    return _answers.dots(case, _pytorch.numbers(answer))
