"""Compiled PyTorch on the network in float32; maps have channels last, which its compiler handles faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .stages import Conv2d, Flatten, Linear, Pool, Stage


class Network(torch.nn.Module):
    """A chain of stages that returns classes."""

    def __init__(self, chain: list[Stage]):
        super().__init__()
        self.kinds = [type(stage) for stage in chain]
        self.sizes = [getattr(stage, "padding", getattr(stage, "window", 0)) for stage in chain]
        for index, stage in enumerate(chain):
            if isinstance(stage, Linear | Conv2d):
                self.register_buffer(f"weight{index}", torch.from_numpy(stage.weight.copy()))
                self.register_buffer(f"bias{index}", torch.from_numpy(stage.bias.copy()))

    def forward(self, x: Any) -> Any:
        for index, (kind, size) in enumerate(zip(self.kinds, self.sizes, strict=True)):
            if kind is Linear:
                x = functional.linear(x, getattr(self, f"weight{index}"), getattr(self, f"bias{index}"))
            elif kind is Conv2d:
                weight, bias = getattr(self, f"weight{index}"), getattr(self, f"bias{index}")
                x = functional.conv2d(x, weight, bias, padding=size)
            elif kind is Pool:
                x = functional.max_pool2d(x, size)
            else:
                x = x.flatten(1) if kind is Flatten else torch.sign(x)
        return x.argmax(1)


def prepare(
    chain: list[Stage], x: np.ndarray, threads: int, *, compiled: bool = True
) -> tuple[Callable[[], np.ndarray], np.ndarray]:
    """Return a function that returns the classes of a batch, and the memory of the batch, which may be written."""
    torch.set_num_threads(threads)
    network: Any = Network(chain).eval()
    real = torch.from_numpy(x.copy())
    if x.ndim == 4:
        network = network.to(memory_format=torch.channels_last)
        real = real.contiguous(memory_format=torch.channels_last)
    call = torch.compile(network) if compiled else network

    @torch.inference_mode()
    def classes() -> np.ndarray:
        return call(real).numpy()

    return classes, real.numpy()
