"""PyTorch doing what our networks do under ``standard``: float32 emulating bits, as libraries on top of it train.

Latent weights in float32, the sign by a straight-through estimator that keeps its argument, as in Larq and Brevitas;
batch norm with a bias and no gain; the same pools, loss and Adam. Only the worker imports this module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from bitlearn import nn, optim, precision
from bitlearn.bits import Bits
from bitlearn.nn import Model
from bitlearn.nn.frozen import Batch
from bitlearn.nn.normalization import MOMENTUM
from bitlearn.nn.spec import CODE_UNIT
from bitlearn.ops.packing import unpack

from . import PYTORCH, Task, batch, model, optimizer

#: PyTorch's own default. The variance of sums of bits is far larger, and ours adds nothing to it.
_EPSILON = 1e-5


class SignSTE(torch.autograd.Function):
    """sign(x) with sign(0) = +1; the gradient passes where |x| <= 1."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


class Sign(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        return SignSTE.apply(x)


class Linear(torch.nn.Module):
    def __init__(self, weight: np.ndarray):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.from_numpy(weight))

    def forward(self, x: Any) -> Any:
        return functional.linear(x, SignSTE.apply(self.weight))


class Head(torch.nn.Module):
    """As `Linear`, with real weights instead of signs."""

    def __init__(self, weight: np.ndarray):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.from_numpy(weight))

    def forward(self, x: Any) -> Any:
        return functional.linear(x, self.weight)


class Conv2d(torch.nn.Module):
    def __init__(self, weight: np.ndarray, padding: int):
        super().__init__()
        self.weight, self.padding = torch.nn.Parameter(torch.from_numpy(weight)), padding

    def forward(self, x: Any) -> Any:
        return functional.conv2d(x, SignSTE.apply(self.weight), padding=self.padding)


class Norm(torch.nn.Module):
    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, bias: np.ndarray):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.from_numpy(bias))
        self.register_buffer("mean", torch.zeros(len(bias)))
        self.register_buffer("variance", torch.ones(len(bias)))

    def forward(self, x: Any) -> Any:
        return functional.batch_norm(x, self.mean, self.variance, None, self.bias, True, 1 - MOMENTUM, _EPSILON)


#: The maps (height, width, channels) that a layer flattened to form the inputs of a matrix of weights.
Maps = tuple[int, ...] | None


def network_of(ours: Model) -> tuple[Any, dict[str, Maps]]:
    """Return PyTorch's network with the weights of ours, and its parameters by our names, in order."""
    layers: list[Any] = []
    names: dict[str, Maps] = {}
    maps: Maps = None
    for name, layer in ours.items():
        names |= {f"{name}.{key}": maps if key == "weight" else None for key in layer.parameters()}
        if isinstance(layer, nn.Flatten):
            layers.append(torch.nn.Flatten())
            maps = layer.spec.shape if len(layer.spec.shape) == 3 else None
        elif isinstance(layer, nn.BinaryLinear | nn.Linear):
            weight = _weight(layer.weight, maps)
            layers.append(Head(weight) if isinstance(layer, nn.Linear) else Linear(weight))
            maps = None
        elif isinstance(layer, nn.BinaryConv2d):
            padding = layer.kernel[0] // 2 if layer.padding == "same" else 0
            layers.append(Conv2d(_weight(layer.weight, None), padding))
        elif isinstance(layer, nn.MaxPool2d):
            layers.append(torch.nn.MaxPool2d(layer.window))
        else:
            assert isinstance(layer, nn.BatchNorm | nn.BatchNormSign)
            layers.append(Norm(layer.bias.copy()))
            if isinstance(layer, nn.BatchNormSign):
                layers.append(Sign())
    return torch.nn.Sequential(*layers), names


def _weight(array: np.ndarray, maps: Maps) -> np.ndarray:
    """Return a copy of weights in PyTorch's order, channels first."""
    if maps is not None:
        array = array.reshape(-1, *maps)
    turned = array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
    return np.ascontiguousarray(turned if maps is None else turned.reshape(len(array), -1)).copy()


def _our_order(gradient: np.ndarray, maps: Maps) -> np.ndarray:
    """Return the gradient of weights in our order, channels last."""
    if maps is not None:
        height, width, channels = maps
        return gradient.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(len(gradient), -1)
    return gradient.transpose(0, 2, 3, 1) if gradient.ndim == 4 else gradient


def _optimizer(rule: str, parameters: Any, fused: bool) -> Any:
    numbers = optimizer(rule)
    if isinstance(numbers, optim.Adam):
        betas = numbers.beta1, numbers.beta2
        return torch.optim.Adam(parameters, lr=numbers.learning_rate, betas=betas, eps=numbers.epsilon, fused=fused)
    return torch.optim.SGD(parameters, lr=numbers.rate(precision.policy("standard")), fused=fused)


class Training:
    """A network, its loss on a batch, and its optimiser, in one of PyTorch's ways."""

    def __init__(self, way: str, ours: Model, codes: Batch, labels: np.ndarray, rule: str = "adam"):
        self.way = PYTORCH[way]
        self.network, self.names = network_of(ours)
        self.input, self.labels = inputs(codes, self.way["channels_last"]), torch.from_numpy(labels)
        if self.way["channels_last"]:
            self.network = self.network.to(memory_format=torch.channels_last)
        self.optimizer = _optimizer(rule, self.network.parameters(), fused=self.way["compiled"])
        self.scores = torch.compile(self.network) if self.way["compiled"] else self.network

    def loss(self) -> tuple[Any, Any]:
        """Return the scores and the loss of the batch."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.way["bfloat16"]):
            scores = self.scores(self.input)
            return scores, functional.cross_entropy(scores, self.labels)

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the gradients of the backward pass, by our names and in our order."""
        pairs = zip(self.names.items(), self.network.parameters(), strict=True)
        return {name: _our_order(parameter.grad.contiguous().numpy(), maps) for (name, maps), parameter in pairs}

    def step(self) -> float:
        """Make one step and return its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()[1]
        loss.backward()
        self.optimizer.step()
        return loss.item()


def inputs(codes: Batch, channels_last: bool) -> Any:
    """Return a batch as PyTorch takes it: float32, with channels first; bits become -1 and +1."""
    if isinstance(codes, Bits):
        values = unpack(codes.words, codes.n, dtype=np.dtype(np.float32))
    else:
        values = codes.astype(np.float32) * np.float32(CODE_UNIT)
    real = torch.from_numpy(values).permute(0, 3, 1, 2)
    return real.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def prepare(task: Task) -> None:
    """Load everything that a step needs, including the compiler, with a step of the smallest network of the kind."""
    torch.set_num_threads(task.threads)
    Training(task.way, model(task.network, "standard", tiny=True), *batch(task.network, 2), task.rule).step()


def joules(task: Task) -> None:
    """Return nothing: PyTorch's step has no record whose energy could be modelled."""


def start(task: Task, codes: Batch, labels: np.ndarray) -> Callable[[], float]:
    """Return a step on this batch, which returns its loss."""
    return Training(task.way, model(task.network, "standard"), codes, labels, task.rule).step
