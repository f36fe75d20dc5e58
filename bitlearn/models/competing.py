"""Networks whose units compete for tasks (arXiv 2407.10758), and those with subnetworks, for comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bitlearn import nn
from bitlearn.precision import Precision


def _flatten(input_shape: tuple[int, ...]) -> list[nn.Layer]:
    return [nn.Flatten()] if len(input_shape) > 1 else []


def _check(hidden: tuple[int, ...], head: str) -> None:
    if not hidden:
        raise ValueError("hidden must name at least one width, got none")
    if head != "real":
        raise ValueError(f"head must be 'real', got {head!r}")


def _is_binary(weights: str) -> bool:
    if weights not in ("binary", "real"):
        raise ValueError(f"weights must be 'binary' or 'real', got {weights!r}")
    return weights == "binary"


def _competition(units: int, tasks: int, sampling: str = "hard") -> list[nn.Layer]:
    return [nn.Competition(units, tasks=tasks, sampling=sampling)] if units else []


def competing_mlp(
    input_shape: tuple[int, ...] = (28, 28, 1),
    classes: int = 10,
    *,
    hidden: tuple[int, ...] = (100, 100),
    units: int | tuple[int, ...] = 2,
    inputs: int = 0,
    tasks: int = 10,
    weights: str = "binary",
    head: str = "real",
    sampling: str = "hard",
    precision: str | Precision = "standard",
    seed: int = 0,
) -> nn.Model:
    """Return a multilayer perceptron whose hidden units compete for tasks, with binary or real weights.

    Parameters
    ----------
    input_shape : tuple of int
        The shape of one example of int8 codes; flattened.
    classes : int
    hidden : tuple of int
        The widths of the hidden layers, at least one; each must be a multiple of `units`.
    units : int or tuple of int
        Units per block, of which one wins each task, in every hidden layer or layer by layer. With 1 all win: tickets
        share the layer's weights. 0 for a dense network, in which none compete.
    inputs : int
        Inputs per block, of which one wins each task; 0 if all tasks see all inputs. The number of inputs must be a
        multiple of it.
    tasks : int
        The number of tasks, each with its posteriors.
    weights : {"binary", "real"}
        Binary weights and signs, or real weights and rectified linear units. Both have batch norms.
    head : {"real"}
        The classifier has real weights.
    sampling : {"hard", "soft"}
        As for `nn.Competition <bitlearn.nn.Competition>`; "soft" only with real weights.
    precision : str or Precision
    seed : int

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If `units` does not divide a width, or a setting has an invalid value.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.models.competing_mlp((4,), 2, hidden=(8,)).names
    ['linear1', 'sign1', 'competition1', 'head1']
    >>> bl.models.competing_mlp((4,), 2, hidden=(8,), weights="real").names
    ['linear1', 'norm1', 'relu1', 'competition1', 'head1']
    """
    _check(hidden, head)
    binary = _is_binary(weights)
    each = tuple(units) if isinstance(units, tuple | list) else (units,) * len(hidden)
    if len(each) != len(hidden):
        raise ValueError(f"units must be one number, or one for each of {len(hidden)} hidden layers, got {len(each)}")
    layers = [*_flatten(input_shape), *_competition(inputs, tasks)]
    for width, count in zip(hidden, each, strict=True):
        if binary:
            layers += [nn.BinaryLinear(width), nn.BatchNormSign()]
        else:
            layers += [nn.RealLinear(width), nn.BatchNorm(), nn.ReLU()]
        layers += _competition(count, tasks, sampling)
    return nn.Model([*layers, nn.Linear(classes)], tuple(input_shape), precision=precision, seed=seed)


def competing_cnv(
    input_shape: tuple[int, ...] = (32, 32, 3),
    classes: int = 10,
    *,
    filters: tuple[int, ...] = (64, 128, 256),
    dense: tuple[int, ...] = (512,),
    units: int = 2,
    tasks: int = 5,
    weights: str = "binary",
    head: str = "real",
    precision: str | Precision = "standard",
    seed: int = 0,
) -> nn.Model:
    """Return a convolutional network whose feature maps compete: 3×3 convolutions, each pooled; dense layers.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width and channels of int8 codes.
    classes : int
    filters, dense : tuple of int
        The channels of the convolutions, each followed by a 2×2 max pool, and the widths of the linear layers; each
        must be a multiple of `units`.
    units, tasks, weights, head, precision, seed
        As `competing_mlp`. Real maps are pooled before their batch norms too.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        As `competing_mlp`; also if the images are too small for the pools.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.models.competing_cnv((8, 8, 1), 2, filters=(8,), dense=()).names
    ['conv1', 'pool1', 'sign1', 'competition1', 'flatten1', 'head1']
    >>> bl.models.competing_cnv((8, 8, 1), 2, filters=(8,), dense=(), weights="real").names
    ['conv1', 'pool1', 'norm1', 'relu1', 'competition1', 'flatten1', 'head1']
    """
    _check(filters, head)
    if _is_binary(weights):
        maps, wide = [nn.BinaryConv2d(width) for width in filters], [nn.BinaryLinear(width) for width in dense]
        layers = _convolutional(maps, wide, lambda: [nn.BatchNormSign(), *_competition(units, tasks)])
    else:
        real, full = [nn.Conv2d(width) for width in filters], [nn.RealLinear(width) for width in dense]
        layers = _convolutional(real, full, lambda: [nn.BatchNorm(), nn.ReLU(), *_competition(units, tasks)])
    return nn.Model([*layers, nn.Linear(classes)], tuple(input_shape), precision=precision, seed=seed)


def _convolutional(
    convolutions: Sequence[nn.Layer], dense: Sequence[nn.Layer], after: Callable[[], list[nn.Layer]]
) -> list[nn.Layer]:
    """Return convolutions, each pooled, and dense layers; `after` makes what follows each of them."""
    layers: list[nn.Layer] = []
    for layer in convolutions:
        layers += [layer, nn.MaxPool2d(2), *after()]
    layers.append(nn.Flatten())
    for layer in dense:
        layers += [layer, *after()]
    return layers


def subnetwork_cnv(
    input_shape: tuple[int, ...] = (32, 32, 3),
    classes: int = 10,
    *,
    filters: tuple[int, ...] = (64, 128, 256),
    dense: tuple[int, ...] = (512,),
    share: float = 0.1,
    head: str = "real",
    precision: str | Precision = "standard",
    seed: int = 0,
) -> nn.Model:
    """Return `competing_cnv` of real weights with a subnetwork of each layer per task in place of winners, for ``wsn``.

    Parameters
    ----------
    input_shape, classes, filters, dense, head, precision, seed
        As `competing_cnv`.
    share : float
        In (0, 1]: the fraction of the weights of a convolution, or of a hidden layer, that a task uses.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If `share` is out of its range, or as `competing_cnv`.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.models.subnetwork_cnv((8, 8, 1), 2, filters=(8,), dense=(16,)).names
    ['conv1', 'pool1', 'norm1', 'relu1', 'flatten1', 'linear1', 'norm2', 'relu2', 'head1']
    """
    _check(filters, head)
    convolutions = [nn.SubnetworkConv2d(width, share=share) for width in filters]
    linear = [nn.SubnetworkLinear(width, share=share) for width in dense]
    layers = _convolutional(convolutions, linear, lambda: [nn.BatchNorm(), nn.ReLU()])
    return nn.Model([*layers, nn.Linear(classes)], tuple(input_shape), precision=precision, seed=seed)


def subnetwork_mlp(
    input_shape: tuple[int, ...] = (28, 28, 1),
    classes: int = 10,
    *,
    hidden: tuple[int, ...] = (100, 100),
    share: float = 0.1,
    head: str = "real",
    precision: str | Precision = "standard",
    seed: int = 0,
) -> nn.Model:
    """Return a multilayer perceptron of real weights and rectified linear units with a subnetwork per task (``wsn``).

    Parameters
    ----------
    input_shape, classes, hidden, head, precision, seed
        As `competing_mlp`.
    share : float
        In (0, 1]: the fraction of a hidden layer's weights that a task uses; each hidden layer is a
        `nn.SubnetworkLinear <bitlearn.nn.SubnetworkLinear>`.

    Returns
    -------
    Model
        Without biases, and without batch norms, whose statistics would be shared by tasks.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.models.subnetwork_mlp((4,), 2, hidden=(8,)).names
    ['linear1', 'relu1', 'head1']
    """
    _check(hidden, head)
    layers = _flatten(input_shape)
    for width in hidden:
        layers += [nn.SubnetworkLinear(width, share=share), nn.ReLU()]
    return nn.Model([*layers, nn.Linear(classes)], tuple(input_shape), precision=precision, seed=seed)
