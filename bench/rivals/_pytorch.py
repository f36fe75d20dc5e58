"""What the rivals on PyTorch share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import bitlearn as bl
from bitlearn.bench.kernels import Case


def operands(case: Case, dtype: str):
    """Return torch, and ``a`` and the transposed ``b`` of a product in that type; threads as ours."""
    import torch

    torch.set_num_threads(bl.get_num_threads())
    a, b = (torch.from_numpy(case.operands[name]).to(getattr(torch, dtype)) for name in ("a", "b"))
    return torch, a, b.T


def matmul(case: Case, dtype: str) -> Callable[[], object]:
    """Return the product in that type."""
    torch, a, b = operands(case, dtype)
    return lambda: torch.matmul(a, b)


def numbers(answer) -> np.ndarray:
    """Return a tensor as an array; NumPy has no bfloat16."""
    return answer.double().numpy()
