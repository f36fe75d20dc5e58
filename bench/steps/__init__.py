"""Whole training steps: ours under each policy, PyTorch's in each of its ways, and where the time of ours goes.

A way is how a step is made: one of our precision policies, or PyTorch emulating the policy ``standard`` in float32.
Each way has its own process (`worker`), which is told over a pipe to make some steps; the processes take turns
(`race`). Before anything is timed, PyTorch's first step is compared with ours (`verification`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bitlearn import models, nn, optim, precision
from bitlearn.bits import Bits
from bitlearn.nn import Model
from bitlearn.nn.frozen import Batch
from bitlearn.ops.packing import pack

#: The shape of one example for each network, and the settings that make a network of its kind as small as possible.
SHAPES: dict[str, tuple[int, ...]] = {
    "mlp": (28, 28, 1),
    "cnv": (32, 32, 3),
    "binarynet": (32, 32, 3),
    "replayed": (4, 4, 512),
}
#: The part of a network that latent replay trains: the last blocks, on bits (arXiv 2401.09916).
REPLAYED = "replayed"
_BLOCKS = 3
_TINY: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": (8, 8)},
    "cnv": {"filters": (8, 8), "dense": (8,)},
    "binarynet": {"filters": (8, 8), "dense": (8,)},
}
CLASSES = 10
SEED = 20260801

#: The rules of a step by name: Adam, or plain SGD; a policy with integer latent weights has its own rule instead of the
#: latter.
RULES = ("adam", "sgd")
#: The policy with the fewest bytes, with 8-bit latent weights too (arXiv 2401.09916); for its accuracy see dual.py.
QUANTIZED = replace(precision.policy("lowest-memory"), name="lowest-memory-latent8", latent=np.dtype(np.int8))
OURS = tuple(precision.POLICIES)
#: PyTorch's ways: the format of its images, its type of products, and whether the step is compiled (with fused Adam).
PYTORCH = {
    "torch-eager": {"channels_last": False, "bfloat16": False, "compiled": False},
    "torch-channels-last": {"channels_last": True, "bfloat16": False, "compiled": False},
    "torch-bfloat16": {"channels_last": True, "bfloat16": True, "compiled": False},
    "torch-compiled": {"channels_last": True, "bfloat16": False, "compiled": True},
    "torch-compiled-bfloat16": {"channels_last": True, "bfloat16": True, "compiled": True},
}
WAYS = (*OURS, *PYTORCH)
#: Those that take plain SGD.
SGD_WAYS = (*OURS, QUANTIZED.name, *PYTORCH)


@dataclass(frozen=True)
class Task:
    """What a process is to do: the steps of a network, in one way."""

    network: str
    way: str
    batch_size: int = 100
    threads: int = 1
    rule: str = "adam"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, got {self.rule!r}")
        if self.network not in SHAPES:
            raise ValueError(f"network must be one of {', '.join(SHAPES)}, got {self.network!r}")
        ways = WAYS if self.rule == "adam" else SGD_WAYS
        if self.way not in ways:
            raise ValueError(f"way must be one of {', '.join(ways)}, got {self.way!r}")
        if self.batch_size < 2:
            raise ValueError(f"batch size must be at least 2, got {self.batch_size}")
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")


def model(network: str, policy: str, *, tiny: bool = False) -> Model:
    """Return a network of ours with its initial weights, or the smallest of its kind."""
    if network == REPLAYED:
        channels = 8 if tiny else SHAPES[network][-1]
        blocks = [
            layer for _ in range(_BLOCKS) for layer in (nn.BinaryConv2d(channels, padding="same"), nn.BatchNormSign())
        ]
        given = QUANTIZED if policy == QUANTIZED.name else policy
        return nn.Model([*blocks, nn.Flatten(), nn.Linear(CLASSES)], nn.Spec.bits(SHAPES[network]), precision=given)
    options = _TINY[network] if tiny else {}
    return models.build(network, SHAPES[network], CLASSES, precision=policy, seed=0, **options)


def batch(network: str, size: int) -> tuple[Batch, np.ndarray]:
    """Return the codes or bits, and the labels, on which all steps are made: random, and the same in every process."""
    return batch_of(SHAPES[network], size, bits=network == REPLAYED)


def batch_of(shape: tuple[int, ...], size: int, *, bits: bool) -> tuple[Batch, np.ndarray]:
    """Return this many random examples of a shape, codes or their signs as bits, and labels."""
    rng = np.random.default_rng(SEED)
    codes = rng.integers(-128, 128, size=(size, *shape), dtype=np.int8)
    labels = rng.integers(0, CLASSES, size=size)
    return (Bits(pack(codes), codes.shape[-1]) if bits else codes), labels


def optimizer(rule: str = "adam", policy: str = "standard") -> optim.Optimizer:
    """Return the optimiser of a way of ours; PyTorch's has the same settings, except for integer latent weights."""
    if policy == QUANTIZED.name:
        return optim.quantized_sgd()
    return optim.adam() if rule == "adam" else optim.sgd(momentum=0.0)
