"""The published networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bitlearn import nn
from bitlearn.nn.weights import CODE_SCALE as _INPUT_SCALE
from bitlearn.precision import Precision, policy
from bitlearn.rng import Key

#: Names of the contract that a later version brings.
PLANNED = ("resnete18", "birealnet18")
#: The side of the images that `cnv` and `binarynet` were made for.
IMAGE_SIZE = 32


class _Stack:
    """Layers being stacked: it counts the random streams, so that each layer draws from its own."""

    def __init__(self, precision: str | Precision, seed: int) -> None:
        self.precision = policy(precision)
        self.seed = seed
        self.layers: list[nn.Layer] = []

    def weighted(self, kind: Callable[..., nn.Layer], *sizes: int, **options: Any) -> None:
        key = Key(self.seed, stream=len(self.layers))
        self.layers.append(kind(*sizes, precision=self.precision, key=key, **options))

    def sign(self, channels: int, first: bool = False) -> None:
        scale = _INPUT_SCALE if first else 1.0
        self.layers.append(nn.BatchNormSign(channels, input_scale=scale, precision=self.precision))

    def head(self, inputs: int, classes: int, head: str) -> None:
        if head == "real":
            self.weighted(nn.Linear, inputs, classes)
        elif head == "binary":
            self.weighted(nn.BinaryLinear, inputs, classes)
            self.layers.append(nn.BatchNorm(classes, precision=self.precision))
        else:
            raise ValueError(f"head must be 'binary' or 'real', got {head!r}")

    def model(self, input_shape: tuple[int, ...]) -> nn.Sequential:
        return nn.Sequential(self.layers, input_shape=input_shape, precision=self.precision)


def mlp(
    input_shape: tuple[int, ...] = (28, 28, 1),
    classes: int = 10,
    *,
    hidden: tuple[int, ...] = (256, 256, 256, 256),
    head: str = "binary",
    precision: str | Precision = "standard",
    seed: int = 0,
) -> nn.Sequential:
    """Return the multilayer perceptron of arXiv 2102.04270: 784-256-256-256-256-10 on MNIST.

    Parameters
    ----------
    input_shape : tuple of int
        The shape of one example of int8 codes; flattened.
    classes : int
    hidden : tuple of int
        The widths of the hidden layers, at least one.
    head : {"binary", "real"}
        The classifier: binary weights and a batch norm, as published; or real weights, as continual learning wants it.
    precision : str or Precision
    seed : int

    Returns
    -------
    Sequential
        Each hidden layer is a linear layer and a batch norm with sign: ``linear1, sign1, linear2, ...``.

    Raises
    ------
    ValueError
        Where `head` or `precision` has no such name, or `hidden` is empty.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.models.mlp((8, 8, 1), hidden=(32,), head="real").names
    ['flatten1', 'linear1', 'sign1', 'head1']
    """
    if not hidden:
        raise ValueError("hidden must name at least one width, got none")
    stack = _Stack(precision, seed)
    if len(input_shape) > 1:
        stack.layers.append(nn.Flatten())
    inputs = int(np.prod(input_shape))
    for index, width in enumerate(hidden):
        stack.weighted(nn.BinaryLinear if index else nn.InputLinear, inputs, width)
        stack.sign(width, first=index == 0)
        inputs = width
    stack.head(inputs, classes, head)
    return stack.model(input_shape)


def _convolutional(
    input_shape: tuple[int, ...],
    classes: int,
    filters: tuple[int, ...],
    dense: tuple[int, ...],
    *,
    padding: int | str,
    pool_first: bool,
    head: str,
    precision: str | Precision,
    seed: int,
) -> nn.Sequential:
    """Stack pairs of 3×3 convolutions, pooled after every second one, and linear layers behind them.

    ``pool_first``: convolution, pool, batch norm and sign; else the pool comes behind the sign.
    """
    if len(input_shape) != 3 or input_shape[:2] != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(f"input_shape must be ({IMAGE_SIZE}, {IMAGE_SIZE}, channels), got {input_shape}")
    stack = _Stack(precision, seed)
    channels, shape = input_shape[2], tuple(input_shape)
    for index, count in enumerate(filters):
        stack.weighted(nn.BinaryConv2d if index else nn.InputConv2d, channels, count, padding=padding)
        pooled = index % 2 == 1 and (pool_first or index < len(filters) - 1)
        if pooled and pool_first:
            stack.layers.append(nn.MaxPool2d(2))
        stack.sign(count, first=index == 0)
        if pooled and not pool_first:
            stack.layers.append(nn.MaxPool2d(2))
        channels = count
    for layer in stack.layers:
        shape = layer.output_shape(shape)
    stack.layers.append(nn.Flatten())
    inputs = int(np.prod(shape))
    for width in dense:
        stack.weighted(nn.BinaryLinear, inputs, width)
        stack.sign(width)
        inputs = width
    stack.head(inputs, classes, head)
    return stack.model(input_shape)


def cnv(
    input_shape: tuple[int, ...] = (32, 32, 3),
    classes: int = 10,
    *,
    filters: tuple[int, ...] = (64, 64, 128, 128, 256, 256),
    dense: tuple[int, ...] = (512, 512),
    head: str = "binary",
    precision: str | Precision = "standard",
    seed: int = 0,
) -> nn.Sequential:
    """Return CNV: 3×3 convolutions without padding, 64-64-P-128-128-P-256-256, and 512-512-10; pools behind the signs.

    Parameters
    ----------
    input_shape : (32, 32, int)
        Height, width and channels of int8 codes.
    classes : int
    filters, dense : tuple of int
        The channels of the convolutions, pooled after every second one but the last, and the widths of the linear
        layers.
    head, precision, seed
        As `mlp`.

    Returns
    -------
    Sequential

    Raises
    ------
    ValueError
        As `mlp`; and where the images are not 32×32.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.models.cnv(filters=(8, 8), dense=(16,)).output_shape
    (10,)
    """
    return _convolutional(
        input_shape, classes, filters, dense, padding=0, pool_first=False, head=head, precision=precision, seed=seed
    )


def binarynet(
    input_shape: tuple[int, ...] = (32, 32, 3),
    classes: int = 10,
    *,
    filters: tuple[int, ...] = (128, 128, 256, 256, 512, 512),
    dense: tuple[int, ...] = (1024, 1024),
    head: str = "binary",
    precision: str | Precision = "standard",
    seed: int = 0,
) -> nn.Sequential:
    """Return BinaryNet (arXiv 1602.02830): padded 3×3 convolutions, 128-128-P-256-256-P-512-512-P, and 1024-1024-10.

    Parameters
    ----------
    input_shape : (32, 32, int)
        Height, width and channels of int8 codes.
    classes : int
    filters, dense : tuple of int
        The channels of the convolutions, pooled after every second one, and the widths of the linear layers.
    head, precision, seed
        As `mlp`.

    Returns
    -------
    Sequential
        Pools lie between a convolution and its batch norm.

    Raises
    ------
    ValueError
        As `mlp`; and where the images are not 32×32.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.models.binarynet(filters=(8, 8), dense=(16,)).names[:4]
    ['conv1', 'sign1', 'conv2', 'pool1']
    """
    return _convolutional(
        input_shape, classes, filters, dense, padding="same", pool_first=True, head=head, precision=precision, seed=seed
    )


MODELS: dict[str, Callable[..., nn.Sequential]] = {"mlp": mlp, "cnv": cnv, "binarynet": binarynet}


def build(name: str, input_shape: tuple[int, ...], classes: int, **options: Any) -> nn.Sequential:
    """Return a network by its name.

    Parameters
    ----------
    name : {"mlp", "cnv", "binarynet"}
    input_shape : tuple of int
        The shape of one example of int8 codes.
    classes : int
    **options
        As the function of that name takes them.

    Returns
    -------
    Sequential

    Raises
    ------
    ValueError
        Where there is none, or it is not built yet.

    Examples
    --------
    >>> build("mlp", (4,), 2, hidden=(8,)).output_shape
    (2,)
    """
    if name in PLANNED:
        raise ValueError(f"model {name!r} is not built yet; there are {', '.join(MODELS)}")
    if name not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {name!r}")
    return MODELS[name](input_shape, classes, **options)


def __getattr__(name: str) -> Any:
    if name in PLANNED:
        raise AttributeError(f"model {name!r} is not built yet; there are {', '.join(MODELS)}")
    raise AttributeError(f"module 'bitlearn.models' has no attribute {name!r}")
