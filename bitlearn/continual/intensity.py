"""Which kernel taps a network uses to learn new tasks: a measure, and an experiment that trains one tap at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.nn.losses import Loss, SoftmaxCrossEntropy
from bitlearn.nn.model import Model
from bitlearn.optim import Optimizer, mask
from bitlearn.training.epochs import accuracy
from bitlearn.training.gradients import Gradients
from bitlearn.training.loop import fit
from bitlearn.training.options import Options


def knowledge_intensity(
    model: Model, batches: Iterable[tuple[Batch, np.ndarray]], loss: Loss | None = None
) -> dict[str, np.ndarray]:
    """Return, for each convolution, how much of the gradient of new examples falls on each position of its kernels.

    Parameters
    ----------
    model : Model
        Not changed. With constant batch norms (`Model.fixed <bitlearn.nn.Model.fixed>`) examples do not influence each
        other.
    batches : iterable of (ndarray or Bits, ndarray of int)
        New examples and their outputs.
    loss : Loss, optional
        Softmax cross-entropy by default.

    Returns
    -------
    dict of str to ndarray of float64, shape (kh, kw)
        By the layer's path; each sums to 1, or is 0 if there was no gradient.

    Notes
    -----
    ``KI(p, q) = mean over filters d and channels c of |sum over batches of dL/dW[d, p, q, c]|``, over its sum. arXiv
    2406.08830 uses such an intensity without giving a formula; this is our reading, based on the importance of channels
    in its authors' code.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.binarynet(filters=(8, 8), dense=(), head="real").fixed()
    >>> model["head1"].weight[...] = 0.1 * np.random.default_rng(0).normal(size=model["head1"].weight.shape)
    >>> x = np.random.default_rng(0).integers(-128, 128, (4, 32, 32, 3), dtype=np.int8)
    >>> found = knowledge_intensity(model, [(x, np.arange(4))])
    >>> {name: (kernel.shape, f"{kernel.sum():.3f}") for name, kernel in found.items()}
    {'conv1': ((3, 3), '1.000'), 'conv2': ((3, 3), '1.000')}
    """
    sums = {name: np.zeros(array.shape) for name, array in model.parameters().items() if array.ndim == 4}
    size = 0

    def look(name: str, gradient: np.ndarray) -> None:
        if name in sums:
            sums[name] += gradient.astype(np.float64) * size

    gradients = Gradients(model, SoftmaxCrossEntropy() if loss is None else loss, look)
    for x, y in batches:
        size = len(y)
        gradients(x, y)
    found = {}
    for name, total in sums.items():
        places = np.abs(total).mean(axis=(0, 3))
        found[name.rpartition(".")[0]] = places / (places.sum() or 1.0)
    return found


def one_tap(
    model: Model,
    layer: str,
    train: Examples,
    test: Examples,
    optimizer: Optimizer,
    options: Options,
    *,
    told: Callable[[int, int, float], object] = lambda row, column, found: None,
) -> np.ndarray:
    """Return, for each tap of a convolution, the accuracy on new examples if only it and the head are trained.

    Parameters
    ----------
    model : Model
        A network with constant batch norms. Its weights are the same afterwards.
    layer : str
        The path of a convolution.
    train, test : Examples
    optimizer : Optimizer
    options : Options
        As for `bitlearn.training.fit`.
    told : callable
        ``told(row, column, accuracy)`` is called after each tap.

    Returns
    -------
    ndarray of float64, shape (kh, kw)

    Raises
    ------
    ValueError
        If the layer is not a convolution, or the statistics of batch norms still change.
    """
    name = f"{layer}.weight"
    weight, head = model.parameters().get(name), model.names[-1]
    if weight is None or weight.ndim != 4:
        raise ValueError(f"layer must be a convolution, got {layer!r}")
    moving = [path for path, leaf in model.items() if not leaf.settled]
    if moving:
        raise ValueError(f"batch norms must be constant, as Model.fixed makes them, got {moving[0]!r}, which is not")
    begun = {key: array.copy() for key, array in model.state().items()}
    found = np.zeros(weight.shape[1:3])
    for row, column in np.ndindex(found.shape):
        masks = {key: np.zeros(array.shape, dtype=bool) for key, array in model.parameters().items()}
        masks[name][:, row, column] = True
        masks[f"{head}.weight"][...] = True
        fit(model, optimizer, train, options, transforms=(mask(masks),))
        found[row, column] = accuracy(model, test)
        told(row, column, float(found[row, column]))
        for key, array in model.state().items():
            array[...] = begun[key]
    return found
