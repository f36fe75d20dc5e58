"""A network of ours as a chain of float32 stages, channels first, with the same predicted classes.

This is the fastest form for a rival: a batch norm with its sign becomes a sign and a bias that no sum of integers can
equal, folded into the product before it; the last batch norm is folded into the weights. All sums up to the last are
exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bitlearn import nn
from bitlearn.nn import Frozen, Layer
from bitlearn.nn.spec import CODE_UNIT
from bitlearn.ops.packing import unpack


@dataclass(frozen=True)
class Linear:
    """``x W^T + b``: weight (outputs, inputs)."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Conv2d:
    """A convolution of stride 1: weight (filters, channels, height, width), and zeros on each side."""

    weight: np.ndarray
    bias: np.ndarray
    padding: int


@dataclass(frozen=True)
class Pool:
    """The largest value of each window."""

    window: int


@dataclass(frozen=True)
class Sign:
    """-1 or 1; nothing is 0."""


@dataclass(frozen=True)
class Flatten:
    """Maps as one row, channels first."""


Stage = Linear | Conv2d | Pool | Sign | Flatten


def stages(frozen: Frozen) -> list[Stage]:
    """Return the stages of a network with only binary weights; if it only flattens its input, they start after that.

    Raises
    ------
    TypeError
        If it has another layer.
    """
    found: list[Stage] = []
    maps: tuple[int, ...] | None = None
    for path, layer in frozen.root.leaves():
        arrays = {key[len(path) + 1 :]: array for key, array in frozen.arrays.items() if key.startswith(f"{path}.")}
        if isinstance(layer, nn.Flatten):
            if found:
                maps = layer.spec.shape
                found.append(Flatten())
        elif isinstance(layer, nn.BinaryLinear | nn.BinaryConv2d):
            found.append(_product(layer, arrays["words"], maps))
            maps = None
        elif isinstance(layer, nn.MaxPool2d):
            found.append(Pool(layer.window))
        elif isinstance(layer, nn.BatchNormSign):
            # A sum reaches an integer bound exactly if it exceeds the bound minus a half, which no sum equals.
            _fold(found, 1.0, (0.5 - arrays["thresholds"].astype(np.float64)) * layer.spec.unit)
            found.append(Sign())
        elif isinstance(layer, nn.BatchNorm):
            mean, inverse = arrays["centre"].astype(np.float64)
            _fold(found, inverse, arrays["bias"] - mean * inverse)
        else:
            raise TypeError(f"a network must have binary weights alone to be made float32, got {layer!r}")
    return found


def _product(layer: nn.BinaryLinear | nn.BinaryConv2d, words: np.ndarray, maps: tuple[int, ...] | None) -> Stage:
    """Return the product without a bias."""
    wanted = layer.weight_shape
    # A kernel for codes is packed as one row, one for bits along its channels.
    n = wanted[-1] if words.ndim == len(wanted) else math.prod(wanted[1:])
    weight: np.ndarray = unpack(words, n, dtype=np.float32).reshape(wanted)
    bias = np.zeros(len(weight), dtype=np.float32)
    if isinstance(layer, nn.BinaryConv2d):
        padding = layer.kernel[0] // 2 if layer.padding == "same" else int(layer.padding)  # type: ignore[arg-type]
        return Conv2d(np.ascontiguousarray(weight.transpose(0, 3, 1, 2)), bias, padding)
    if maps is not None:
        weight = weight.reshape(-1, *maps).transpose(0, 3, 1, 2).reshape(len(weight), -1)
    return Linear(np.ascontiguousarray(weight), bias)


def _fold(found: list[Stage], factor: np.ndarray | float, bias: np.ndarray) -> None:
    """Make the last product, which pools may follow, return ``factor * y + bias``."""
    index = max(i for i, stage in enumerate(found) if isinstance(stage, Linear | Conv2d))
    stage = found[index]
    assert isinstance(stage, Linear | Conv2d)
    scaled = stage.weight * np.reshape(factor, (-1, *[1] * (stage.weight.ndim - 1)))
    found[index] = replace(stage, weight=scaled.astype(np.float32), bias=bias.astype(np.float32))


def inputs(chain: list[Stage], codes: np.ndarray) -> np.ndarray:
    """Return codes as float32 input of a chain: maps with channels first, or rows."""
    real = codes.astype(np.float32) * np.float32(CODE_UNIT)
    return (
        real.reshape(len(real), -1)
        if isinstance(chain[0], Linear)
        else np.ascontiguousarray(real.transpose(0, 3, 1, 2))
    )


def binary_products(root: Layer, batch: int) -> list[tuple[int, int, int]]:
    """Return the sizes (rows, outputs, terms) of each product of bits in an inference, including convolutions."""
    found = []
    for _, layer in root.leaves():
        if isinstance(layer, nn.BinaryLinear | nn.BinaryConv2d) and layer.spec.kind == "bits":
            outputs, *window = layer.weight_shape
            found.append((batch * layer.output.size // outputs, outputs, math.prod(window)))
    return found
