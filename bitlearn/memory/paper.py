"""The published memory model of arXiv 2102.04270, in both of its versions.

With ``W`` weights, ``C`` channels of batch norm, ``X_l`` the input of weight layer ``l`` and ``m = max_l |X_l|`` over
all of them, the network's own input included::

    X        B * (sum_l |X_l| + classes)   float32 -> 1 bit
    dX, Y    B * m, one shared buffer      float32 -> float16
    dY       B * m, one buffer             float32 -> float16 (first version: 5 bits)
    W        W                             float32 -> float16 (none for Bop, whose binary weights are not counted)
    dW       W                             float32 -> 1 bit
    momenta  W each: Adam 2, SGD 1, Bop 1  float32 -> float16
    beta     C                             float32 -> float16
    masks    B * inputs of max pools       float32 -> 1 bit (final version only)

The totals count one vector of ``C``, not the four that there are (mu, psi, beta, dbeta), and the network's input at one
bit. Neither the bits of the straight-through mask nor temporaries are in it: see `bitlearn.memory.recorded`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from bitlearn import models, nn, optim
from bitlearn.memory.rows import AccountRow

#: The inputs of the published experiments: MNIST for the multilayer perceptron, CIFAR-10 and SVHN for the others.
INPUT_SHAPES = {"mlp": (28, 28, 1), "cnv": (32, 32, 3), "binarynet": (32, 32, 3)}
CLASSES = 10

_NAMES = {1: "bool", 5: "power of two, 5 bits", 16: "float16", 32: "float32"}


def bytes_of(count: int, bits: int) -> int:
    """Return the bytes of `count` values of `bits` bits each."""
    return -(-count * bits // 8)


@dataclass(frozen=True)
class Layout:
    """The counts that the model is made of, the activations for one example.

    Parameters
    ----------
    weights, channels : int
        Of all layers.
    inputs : int
        The inputs of all weight layers and the network's output.
    largest : int
        The largest input of a weight layer.
    pooled : int
        The inputs of all max pools.
    before_pools : int
        The inputs of the last weight layer before each max pool.
    """

    weights: int
    channels: int
    inputs: int
    largest: int
    pooled: int
    before_pools: int


@cache
def layout(model_name: str) -> Layout:
    """Return the counts of a published network, found by walking its layers.

    Examples
    --------
    >>> layout("mlp")
    Layout(weights=399872, channels=1034, inputs=1818, largest=784, pooled=0, before_pools=0)
    """
    # A name without an input shape is unknown or not built yet: `build` says which.
    shape: tuple[int, ...] = INPUT_SHAPES.get(model_name, (1,))
    model = models.build(model_name, shape, CLASSES)
    weights: list[int] = []
    channels: list[int] = []
    inputs: list[int] = []
    pooled: list[int] = []
    before_pools: list[int] = []
    for _, layer in model.items():
        size, parameters = layer.spec.size, layer.parameters()
        if "bias" in parameters:
            channels.append(parameters["bias"].size)
        if "weight" in parameters:
            weights.append(parameters["weight"].size)
            inputs.append(size)
        if layer.kind == nn.MaxPool2d.kind:
            pooled.append(size)
            before_pools.append(inputs[-1])
    return Layout(sum(weights), sum(channels), sum(inputs) + CLASSES, max(inputs), sum(pooled), sum(before_pools))


def rows(model_name: str, batch_size: int, optimizer: optim.Optimizer, accounting: str) -> tuple[AccountRow, ...]:
    """Return the published model's variables; see `bitlearn.memory.account`.

    Notes
    -----
    The published 4.17 of ``cnv`` comes out only with an asymmetric bookkeeping, found by fitting: the standard side
    pays for float32 masks of the size of the inputs of the convolutions before the pools (30x30x64 and 12x12x128),
    the low-memory side for none. It is reproduced here under a name that says so; the pools' own inputs on both sides
    would give 3.92.

    Examples
    --------
    >>> rows("mlp", 100, optim.adam(), "paper-final")[0]
    AccountRow(variable='X', lifetime='forward to backward', standard_dtype='float32', standard_bytes=727200,
               low_memory_dtype='bool', low_memory_bytes=22725)
    """
    found = layout(model_name)
    final = accounting == "paper-final"
    latent = 0 if isinstance(optimizer, optim.Bop) else found.weights
    table = [
        ("X", "forward to backward", batch_size * found.inputs, 1),
        ("dX, Y", "transient", batch_size * found.largest, 16),
        ("dY", "transient", batch_size * found.largest, 16 if final else 5),
        ("W", "persistent", latent, 16),
        ("dW", "step", found.weights, 1),
        ("momenta", "persistent", len(optimizer.moments) * found.weights, 16),
        ("beta", "persistent", found.channels, 16),
    ]
    result = [
        AccountRow(name, lifetime, _NAMES[32], bytes_of(count, 32), _NAMES[bits], bytes_of(count, bits))
        for name, lifetime, count, bits in table
    ]
    return (*result, *(_masks(model_name, batch_size, found) if final else ()))


def _masks(model_name: str, batch_size: int, found: Layout) -> Iterator[AccountRow]:
    if model_name == "cnv":
        name = "pool masks (standard side only, as published)"
        yield AccountRow(name, "forward to backward", _NAMES[32], bytes_of(batch_size * found.before_pools, 32), "", 0)
    elif found.pooled:
        count = batch_size * found.pooled
        yield AccountRow(
            "pool masks", "forward to backward", _NAMES[32], bytes_of(count, 32), _NAMES[1], bytes_of(count, 1)
        )
