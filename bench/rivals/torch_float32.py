"""PyTorch's float32 products and convolutions of unpacked operands, as every library on top of it trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..cases import Case
from . import CannotDo, _products, _pytorch

NAME = "torch-float32"
_GRADIENTS = ("int8", "float32")  # float32 rounds the sums of int16
KERNELS = {
    "xnor_matmul": ("prepared",),
    "xnor_conv2d": ("prepared",),
    "grad_input": _GRADIENTS,
    "grad_weight": _GRADIENTS,
    "conv2d_grad_input": _GRADIENTS,
    "conv2d_grad_weight": _GRADIENTS,
}


def prepare(case: Case) -> Callable[[], object]:
    return _convolution(case) if "conv2d" in case.kernel else _pytorch.matmul(case, "float32")


def _convolution(case: Case) -> Callable[[], object]:
    """Return a convolution or its gradient on channels-last tensors, the faster layout on processors."""
    torch = _pytorch.module()
    size = case.shape[-1]
    if size % 2 == 0:
        raise CannotDo("PyTorch's gradients of kernels of an even size pad both sides alike")

    def tensor(name: str) -> Any:
        array = torch.from_numpy(case.operands[name]).float()
        return array.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    x, w = tensor("x"), tensor("w")
    if case.kernel == "xnor_conv2d":
        return lambda: torch.nn.functional.conv2d(x, w, padding="same")
    g = tensor("g")
    if case.kernel == "conv2d_grad_input":
        return lambda: torch.nn.grad.conv2d_input(x.shape, w, g, padding=size // 2)
    return lambda: torch.nn.grad.conv2d_weight(x, w.shape, g, padding=size // 2)


def check(case: Case, answer: object) -> bool:
    found = _pytorch.numbers(answer)
    return _products.same(case, found.transpose(0, 2, 3, 1) if found.ndim == 4 else found)
