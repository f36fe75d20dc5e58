"""What the rivals on PyTorch share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import bitlearn as bl

from ..cases import Case
from . import _products


def module() -> Any:
    """Return torch, with as many threads as ours."""
    import torch

    torch.set_num_threads(bl.get_num_threads())
    return torch


def matmul(case: Case, dtype: str) -> Callable[[], object]:
    """Return the product in that type, with room for its result."""
    torch = module()
    kind = getattr(torch, dtype)
    a, b = (torch.from_numpy(factor).to(kind) for factor in _products.factors(case))
    out = torch.empty((a.shape[0], b.shape[1]), dtype=kind)
    return lambda: torch.matmul(a, b, out=out)


def numbers(answer: Any) -> np.ndarray:
    """Return a tensor as an array; NumPy has no bfloat16."""
    return answer.double().numpy()
