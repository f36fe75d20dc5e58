"""The published memory model of arXiv 2102.04270, in both of its versions.

With ``W`` weights, ``C`` batch-norm channels, ``X_l`` the input of weight layer ``l`` and ``m = max_l |X_l|`` over all
of them, including the network's own input::

    X        B * (sum_l |X_l| + classes)   float32 -> 1 bit
    dX, Y    B * m, one shared buffer      float32 -> float16
    dY       B * m, one buffer             float32 -> float16 (first version: 5 bits)
    W        W                             float32 -> float16 (none for Bop, whose binary weights are not counted)
    dW       W                             float32 -> 1 bit
    momenta  W each: Adam 2, SGD 1, Bop 1  float32 -> float16
    beta     C                             float32 -> float16
    masks    B * inputs of max pools       float32 -> 1 bit (final version only)

In residual networks (ResNetE-18, Bi-Real Net 18), whose shortcuts, stem and head are real, the inputs of binary layers
are bits on both sides, their outputs are kept too (float32 -> 1 bit), and all other activations and the gradients of
real weights are float32 -> float16. ``dY`` is as large as the largest output of any layer, with 16 bits in the first
version too.

The totals count one vector of size ``C``, although there are four (mu, psi, beta, dbeta), and the network's input at
one bit. They include neither the bits of the straight-through mask nor temporaries: see `bitlearn.memory.recorded`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from bitlearn import models, nn, optim
from bitlearn.errors import by_name
from bitlearn.memory.rows import AccountRow

#: The inputs and the classes of the published experiments: MNIST for the multilayer perceptron, CIFAR-10 and SVHN for
#: CNV and BinaryNet, ImageNet for the residual networks.
PUBLISHED = {
    "mlp": ((28, 28, 1), 10),
    "cnv": ((32, 32, 3), 10),
    "binarynet": ((32, 32, 3), 10),
    "resnete18": ((224, 224, 3), 1000),
    "birealnet18": ((224, 224, 3), 1000),
}

_NAMES = {1: "bool", 5: "power of two, 5 bits", 16: "float16", 32: "float32"}


def bytes_of(count: int, bits: int) -> int:
    """Return the bytes of `count` values of `bits` bits each."""
    return -(-count * bits // 8)


def build(model_name: str, precision: str = "standard") -> nn.Model:
    """Return a network for the inputs of its published experiment."""
    shape, classes = by_name("model", model_name, PUBLISHED)
    return models.build(model_name, shape, classes, precision=precision)


@dataclass(frozen=True)
class Layout:
    """The counts that the memory model uses; activations are those of one example.

    Parameters
    ----------
    weights, real_weights : int
        Weights of all layers, and those that are not binarised.
    channels : int
        The outputs of all weight layers.
    inputs : int
        The inputs of all weight layers and the network's output.
    largest : int
        The largest input of a weight layer.
    pooled : int
        The inputs of all max pools.
    before_pools : int
        The inputs of the last weight layer before each max pool.
    binary_inputs, binary_outputs, others : int
        The inputs and outputs of the binary layers, and all other activations: the network's input, outputs of real
        layers, and the means of pools.
    largest_binary_input, largest_output : int
        The largest input of a binary layer, and the largest output of any weight layer.
    """

    weights: int
    real_weights: int
    channels: int
    inputs: int
    largest: int
    pooled: int
    before_pools: int
    binary_inputs: int
    binary_outputs: int
    others: int
    largest_binary_input: int
    largest_output: int


@cache
def layout(model_name: str) -> Layout:
    """Return the counts of a published network, found by walking its layers.

    Examples
    --------
    >>> found = layout("mlp")
    >>> found.weights, found.channels, found.inputs, found.largest
    (399872, 1034, 1818, 784)
    """
    model = build(model_name)
    leaves = [layer for _, layer in model.items()]
    weighted = [layer for layer in leaves if "weight" in layer.parameters()]
    binary, real = ([each for each in weighted if bool(each.binary) == of] for of in (True, False))
    pools = [at for at, layer in enumerate(leaves) if layer.kind == nn.MaxPool2d.kind]
    before = [next(each for each in reversed(leaves[:at]) if each in weighted) for at in pools]
    means = [layer.output.size for layer in leaves if layer.kind == nn.AveragePool2d.kind]

    def weights(layers: list[nn.Layer]) -> int:
        return sum(each.parameters()["weight"].size for each in layers)

    return Layout(
        weights=weights(weighted),
        real_weights=weights(real),
        channels=sum(each.output.channels for each in weighted),
        inputs=sum(each.spec.size for each in weighted) + model.root.output.size,
        largest=max(each.spec.size for each in weighted),
        pooled=sum(leaves[at].spec.size for at in pools),
        before_pools=sum(each.spec.size for each in before),
        binary_inputs=sum(each.spec.size for each in binary),
        binary_outputs=sum(each.output.size for each in binary),
        others=model.root.spec.size + sum(each.output.size for each in real) + sum(means),
        largest_binary_input=max(each.spec.size for each in binary),
        largest_output=max(each.output.size for each in weighted),
    )


def rows(model_name: str, batch_size: int, optimizer: optim.Optimizer, accounting: str) -> tuple[AccountRow, ...]:
    """Return the published model's variables; see `bitlearn.memory.account`.

    Notes
    -----
    The published 4.17 of ``cnv`` can only be reproduced with asymmetric accounting, found by fitting: the standard side
    counts float32 masks of the size of the inputs of the convolutions before the pools (30x30x64 and 12x12x128), the
    low-memory side none. It is reproduced here under a name that says so; counting the pools' own inputs on both sides
    would give 3.92. It is the same with the 3.78 of the residual networks, which needs float32 masks of the stem's pool
    on the standard side only; counting both sides would give 3.70.

    Examples
    --------
    >>> rows("mlp", 100, optim.adam(), "paper-final")[0]
    AccountRow(variable='X', lifetime='forward to backward', standard_dtype='float32', standard_bytes=727200,
               low_memory_dtype='bool', low_memory_bytes=22725)
    """
    found = layout(model_name)
    final = accounting == "paper-final"
    if found.real_weights:
        activations = [
            ("X of binary layers", "forward to backward", found.binary_inputs, 1, 1),
            ("Y of binary layers", "forward to backward", found.binary_outputs, 32, 1),
            ("other activations", "forward to backward", found.others, 32, 16),
            ("dX", "transient", found.largest_binary_input, 32, 16),
            ("dY", "transient", found.largest_output, 32, 16),
        ]
    else:
        activations = [
            ("X", "forward to backward", found.inputs, 32, 1),
            ("dX, Y", "transient", found.largest, 32, 16),
            ("dY", "transient", found.largest, 32, 16 if final else 5),
        ]
    binary = found.weights - found.real_weights
    parameters = [
        ("W", "persistent", 0 if isinstance(optimizer, optim.Bop) else found.weights, 32, 16),
        ("dW", "step", binary, 32, 1),
        ("dW of real weights", "step", found.real_weights, 32, 16),
        ("momenta", "persistent", len(optimizer.moments) * found.weights, 32, 16),
        ("beta", "persistent", found.channels, 32, 16),
    ]
    table = [(name, life, batch_size * count, wide, narrow) for name, life, count, wide, narrow in activations]
    result = [
        AccountRow(name, lifetime, _NAMES[wide], bytes_of(count, wide), _NAMES[narrow], bytes_of(count, narrow))
        for name, lifetime, count, wide, narrow in [*table, *parameters]
        if count or name == "W"
    ]
    return (*result, *(_masks(model_name, batch_size, found) if final else ()))


def consistent_ratio(model_name: str, batch_size: int, rows: tuple[AccountRow, ...]) -> float | None:
    """Return the ratio if both sides counted pool masks, at the pools' inputs; None where the published rows do.

    Examples
    --------
    >>> found = rows("cnv", 100, optim.adam(), "paper-final")
    >>> round(consistent_ratio("cnv", 100, found), 2)
    3.92
    """
    if rows[-1].low_memory_dtype:
        return None
    count = batch_size * layout(model_name).pooled
    standard = sum(row.standard_bytes for row in rows[:-1]) + bytes_of(count, 32)
    return standard / (sum(row.low_memory_bytes for row in rows[:-1]) + bytes_of(count, 1))


def _masks(model_name: str, batch_size: int, found: Layout) -> Iterator[AccountRow]:
    name, lifetime, count = "pool masks", "forward to backward", batch_size * found.pooled
    if model_name == "cnv" or found.real_weights:
        count = batch_size * (found.before_pools if model_name == "cnv" else found.pooled)
        name = f"{name} (standard side only, as published)"
        yield AccountRow(name, lifetime, _NAMES[32], bytes_of(count, 32), "", 0)
    elif count:
        yield AccountRow(name, lifetime, _NAMES[32], bytes_of(count, 32), _NAMES[1], bytes_of(count, 1))
