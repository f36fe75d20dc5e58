"""The published networks whose layers stand in a row."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from bitlearn import nn
from bitlearn.precision import Precision

#: The side of the images that `cnv` and `binarynet` were made for.
IMAGE_SIZE = 32


def _head(classes: int, head: str) -> list[nn.Layer]:
    if head == "real":
        return [nn.Linear(classes)]
    if head == "binary":
        return [nn.BinaryLinear(classes), nn.BatchNorm()]
    raise ValueError(f"head must be 'binary' or 'real', got {head!r}")


def _hidden(widths: tuple[int, ...]) -> list[nn.Layer]:
    return [layer for width in widths for layer in (nn.BinaryLinear(width), nn.BatchNormSign())]


def mlp(
    input_shape: tuple[int, ...] | nn.Spec = (28, 28, 1),
    classes: int = 10,
    *,
    hidden: tuple[int, ...] = (256, 256, 256, 256),
    head: str = "binary",
    precision: str | Precision = "standard",
    seed: int = 0,
) -> nn.Model:
    """Return the multilayer perceptron of arXiv 2102.04270: 784-256-256-256-256-10 on MNIST.

    Parameters
    ----------
    input_shape : tuple of int or Spec
        The shape of one example of int8 codes, or the type of the input (`nn.Spec.of` some examples); flattened.
    classes : int
    hidden : tuple of int
        The widths of the hidden layers, at least one.
    head : {"binary", "real"}
        The classifier: binary weights and a batch norm, as published; or real weights, as continual learning needs, and
        policies whose weight gradients are signs where a batch holds few of the classes (:ref:`many-classes`).
    precision : str or Precision
    seed : int

    Returns
    -------
    Model
        Each hidden layer is a linear layer and a batch norm with sign: ``linear1, sign1, linear2, ...``.

    Raises
    ------
    ValueError
        If `head` or `precision` has no such name, or `hidden` is empty.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.models.mlp((8, 8, 1), hidden=(32,), head="real").names
    ['flatten1', 'linear1', 'sign1', 'head1']
    """
    if not hidden:
        raise ValueError("hidden must name at least one width, got none")
    spec = input_shape if isinstance(input_shape, nn.Spec) else nn.Spec.codes(tuple(input_shape))
    flatten: list[nn.Layer] = [nn.Flatten()] if len(spec.shape) > 1 else []
    layers = [*flatten, *_hidden(hidden), *_head(classes, head)]
    return nn.Model(layers, spec, precision=precision, seed=seed)


def relu_mlp(
    input_shape: tuple[int, ...] = (28, 28, 1),
    classes: int = 10,
    *,
    hidden: tuple[int, ...] = (100, 100),
    head: str = "real",
    precision: str | Precision = "standard",
    seed: int = 0,
    norm: bool = False,
    unit: float = nn.Spec.codes(()).unit,
) -> nn.Model:
    """Return a multilayer perceptron of real weights and ReLUs, without biases: 784-100-100-10 (arXiv 2103.09762).

    Parameters
    ----------
    input_shape : tuple of int
        The shape of one example of int8 codes; flattened.
    classes : int
    hidden : tuple of int
        The widths of the hidden layers, at least one.
    head : {"real"}
    precision, seed
        As `mlp`.
    norm : bool
        Whether a batch norm stands before each ReLU. The head then begins at 0 instead of drawn weights, which networks
        without norms need to pass gradients on.
    unit : float
        The value of an input code of 1, a power of two.

    Returns
    -------
    Model
        ``flatten1, linear1, relu1, linear2, relu2, head1``, or ``linear1, norm1, relu1, ...``.

    Raises
    ------
    ValueError
        As `mlp`.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.relu_mlp((8, 8, 1), 10)
    >>> [weight.shape for weight in model.parameters().values()]
    [(100, 64), (100, 100), (10, 100)]
    """
    if not hidden:
        raise ValueError("hidden must name at least one width, got none")
    if head != "real":
        raise ValueError(f"head must be 'real' after real layers, got {head!r}")
    layers: list[nn.Layer] = [nn.Flatten()] if len(input_shape) > 1 else []
    for width in hidden:
        layers += [nn.RealLinear(width), *([nn.BatchNorm()] if norm else []), nn.ReLU()]
    layers.append(nn.Linear(classes, drawn=not norm))
    return nn.Model(layers, replace(nn.Spec.codes(tuple(input_shape)), unit=unit), precision=precision, seed=seed)


def _convolutional(
    input_shape: tuple[int, ...],
    classes: int,
    filters: tuple[int, ...],
    dense: tuple[int, ...],
    *,
    padding: int | Literal["same"],
    pool_first: bool,
    head: str,
    precision: str | Precision,
    seed: int,
) -> nn.Model:
    """Stack pairs of 3×3 convolutions, pooled after every second one, and linear layers after them.

    ``pool_first``: convolution, pool, batch norm and sign; else the pool comes after the sign.
    """
    if len(input_shape) != 3:
        raise ValueError(f"input_shape must be (height, width, channels), got {input_shape}")
    for side in input_shape[:2]:
        for index in range(len(filters)):
            side -= 0 if padding == "same" else 2
            side //= 2 if index % 2 == 1 and (pool_first or index < len(filters) - 1) else 1
            if side < 1:
                raise ValueError(
                    f"input_shape must have sides that {len(filters)} convolutions leave a pixel of, got "
                    f"{input_shape}: bitlearn.datasets.prepare(..., image_size={IMAGE_SIZE}) pads smaller images"
                )
    layers: list[nn.Layer] = []
    for index, count in enumerate(filters):
        pools: list[nn.Layer] = []
        if index % 2 == 1 and (pool_first or index < len(filters) - 1):
            pools = [nn.MaxPool2d(2)]
        first, last = (pools, []) if pool_first else ([], pools)
        layers += [nn.BinaryConv2d(count, padding=padding), *first, nn.BatchNormSign(), *last]
    layers += [nn.Flatten(), *_hidden(dense), *_head(classes, head)]
    return nn.Model(layers, tuple(input_shape), precision=precision, seed=seed)


def cnv(
    input_shape: tuple[int, ...] = (32, 32, 3),
    classes: int = 10,
    *,
    filters: tuple[int, ...] = (64, 64, 128, 128, 256, 256),
    dense: tuple[int, ...] = (512, 512),
    head: str = "binary",
    precision: str | Precision = "standard",
    seed: int = 0,
) -> nn.Model:
    """Return CNV: 3×3 convolutions without padding, 64-64-P-128-128-P-256-256, and 512-512-10; pools after the signs.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width and channels of int8 codes: of any size that leaves a pixel; the published one has 32×32. Larger
        images make the first linear layer larger.
    classes : int
    filters, dense : tuple of int
        The channels of the convolutions, pooled after every second one but the last, and the widths of the linear
        layers.
    head, precision, seed
        As `mlp`.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        As `mlp`; and if the images are too small.

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
) -> nn.Model:
    """Return BinaryNet (arXiv 1602.02830): padded 3×3 convolutions, 128-128-P-256-256-P-512-512-P, and 1024-1024-10.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width and channels of int8 codes: of any size that leaves a pixel; the published one has 32×32. Larger
        images make the first linear layer larger.
    classes : int
    filters, dense : tuple of int
        The channels of the convolutions, pooled after every second one, and the widths of the linear layers.
    head, precision, seed
        As `mlp`.

    Returns
    -------
    Model
        Each pool is between a convolution and its batch norm.

    Raises
    ------
    ValueError
        As `mlp`; and if the images are too small.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.models.binarynet(filters=(8, 8), dense=(16,)).names[:4]
    ['conv1', 'sign1', 'conv2', 'pool1']
    """
    return _convolutional(
        input_shape, classes, filters, dense, padding="same", pool_first=True, head=head, precision=precision, seed=seed
    )
