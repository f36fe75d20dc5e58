"""Between tensors and the arrays that kernels take, without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bitlearn.errors import brief

if TYPE_CHECKING:
    import torch

#: Words as PyTorch holds them: it has few operations on uint64.
_WORD = np.dtype("<u8")


def on_processor(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that lies in the processor's memory, as it must.

    Raises
    ------
    ValueError
        If it lies on another device.
    """
    if tensor.device.type != "cpu":
        raise ValueError(f"{name} must be on the CPU, got one on {tensor.device}; move it there with .cpu()")
    return tensor


def words(name: str, tensor: torch.Tensor) -> np.ndarray:
    """Return the packed words of an int64 tensor.

    Raises
    ------
    TypeError, ValueError
        If it has the wrong type or lies on another device.
    """
    array = on_processor(name, tensor).numpy() if not tensor.requires_grad else tensor.detach().numpy()
    if array.dtype != np.int64:
        raise TypeError(f"{name} must be packed words of dtype int64, as pack gives them, got {tensor.dtype}")
    return array.view(_WORD)


def reals(name: str, tensor: torch.Tensor) -> np.ndarray:
    """Return the real values of a tensor as C-contiguous float32; narrower ones are widened.

    Raises
    ------
    TypeError, ValueError
        If it has the wrong type or lies on another device.
    """
    import torch

    if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise TypeError(f"{name} must be float32, bfloat16 or float16, got {brief(tensor.dtype)}")
    return on_processor(name, tensor).detach().float().contiguous().numpy()


def empty_words(*shape: int) -> tuple[torch.Tensor, np.ndarray]:
    """Return a new int64 tensor and the words that it holds."""
    import torch

    tensor = torch.empty(shape, dtype=torch.int64)
    return tensor, tensor.numpy().view(_WORD)


def from_words(array: np.ndarray) -> Any:
    """Return words as an int64 tensor on the same memory."""
    import torch

    return torch.from_numpy(array.view(np.int64))
