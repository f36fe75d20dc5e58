"""The obvious Numba code: three loops and a count of bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..cases import Case
from . import _products

NAME = "numba-loop"
KERNELS = {"hamming": ("prepared", "words"), "xnor_matmul": ("prepared", "words")}


@cache
def _compiled() -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    from llvmlite import ir
    from numba import njit, types
    from numba.extending import intrinsic

    @intrinsic
    def popcount(typing_context: Any, word: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (value,) = arguments
            kind = ir.FunctionType(value.type, [value.type])
            name = f"llvm.ctpop.i{value.type.width}"
            return builder.call(builder.module.declare_intrinsic(name, fnty=kind), [value])

        return types.uint64(types.uint64), code

    @njit
    def mismatches(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        for i in range(a.shape[0]):
            for j in range(b.shape[0]):
                count = np.uint64(0)
                for word in range(a.shape[1]):
                    count += popcount(a[i, word] ^ b[j, word])
                out[i, j] = count
        return out

    return mismatches


def prepare(case: Case) -> Callable[[], object]:
    function = _compiled()
    a, b = case.operands["words_a"], case.operands["words_b"]
    out = np.empty(case.expected.shape, dtype=np.int32)
    return lambda: function(a, b, out)


def check(case: Case, answer: object) -> bool:
    return _products.mismatches(case, answer)
