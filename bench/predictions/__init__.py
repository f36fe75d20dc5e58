"""Predictions: ours, and those of the same network in float32, run by onnxruntime and by compiled PyTorch.

A network is converted to float32 without loss (`stages`): weights of ±1, and a batch norm with its sign as a bias and
a sign, so that all predicted classes are equal. That is checked on some examples before anything is timed; then all
take turns in one process (`race`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlearn.nn import Model
from bitlearn.nn.normalization import Normalization

from .. import steps

OURS = "bitlearn"
#: The rivals, each a module of this folder.
RIVALS = {"onnxruntime": "onnx_runtime", "torch-compiled": "pytorch"}
WAYS = (OURS, *RIVALS)


#: Only whole networks: what a part of one predicts from bits is of no use.
NETWORKS = tuple(network for network in steps.SHAPES if network != steps.REPLAYED)


@dataclass(frozen=True)
class Task:
    """What to predict, and in which way."""

    network: str
    way: str
    batch_size: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {self.network!r}")
        if self.way not in WAYS:
            raise ValueError(f"way must be one of {', '.join(WAYS)}, got {self.way!r}")
        if self.batch_size < 1:
            raise ValueError(f"batch size must be at least 1, got {self.batch_size}")
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")


def model(network: str, *, tiny: bool = False) -> Model:
    """Return a network of ours with statistics and biases as after training: no round numbers."""
    found, rng = steps.model(network, "standard", tiny=tiny), np.random.default_rng(steps.SEED)
    fan_in = 1
    for _, layer in found.items():
        if "weight" in layer.parameters():
            fan_in = layer.parameters()["weight"][0].size
        if isinstance(layer, Normalization):
            deviation, shape = np.sqrt(fan_in), layer.bias.shape
            layer.bias[...] = rng.uniform(-0.5, 0.5, shape)
            layer.running_mean[...] = rng.uniform(-0.5, 0.5, shape) * deviation * layer.spec.unit
            layer.running_std[...] = rng.uniform(0.5, 1.5, shape) * deviation * layer.spec.unit
    return found


def examples(network: str, count: int) -> np.ndarray:
    """Return random codes."""
    return np.asarray(steps.batch(network, count)[0])
