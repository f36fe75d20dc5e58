"""PyTorch's float32 product of ±1 matrices."""

from __future__ import annotations

from collections.abc import Callable

from bitlearn.bench.kernels import Case
from bitlearn.bench.rivals import _answers, _pytorch

NAME = "torch-float32"
KERNELS = ("xnor_matmul",)


def prepare(case: Case) -> Callable[[], object]:
    return _pytorch.matmul(case, "float32")


def check(case: Case, answer: object) -> bool:
    return _answers.dots(case, _pytorch.numbers(answer))
