"""Sums over examples of the products of the inputs to a network's layers."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from bitlearn.continual.networks import AT_A_TIME
from bitlearn.nn.frozen import Batch
from bitlearn.nn.model import Model
from bitlearn.nn.watch import Watch


def weighted(model: Model) -> dict[str, int]:
    """Return the layers whose rows of `weight` are multiplied by their inputs, by path, with the length of a row.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict of str to int

    Examples
    --------
    >>> import bitlearn as bl
    >>> weighted(bl.models.mlp((4,), 2, hidden=(8,), head="real"))
    {'linear1': 4, 'head1': 8}
    """
    found = {}
    for path, layer in model.items():
        none = np.zeros(layer.spec.array_shape(0), layer.spec.dtype)
        gram = layer.gram(none)
        if gram is not None:
            found[path] = len(gram)
    return found


def input_grams(
    model: Model, source: Callable[[np.ndarray], Batch], index: np.ndarray, names: Collection[str]
) -> dict[str, np.ndarray]:
    """Return ``sum r r^T`` over the inputs r that the weights of some layers are multiplied by, at inference.

    Parameters
    ----------
    model : Model
        It uses running statistics, as at inference.
    source : callable
        ``source(index)`` returns the model's input for the examples with these indices.
    index : ndarray of int
        The examples to use.
    names : collection of str
        Layers, from `weighted`.

    Returns
    -------
    dict of str to ndarray of float64, shape (fan_in, fan_in)
        Exact integers if the inputs are bits or codes: see `Layer.gram <bitlearn.nn.Layer.gram>`.
    """
    watch, layers = Watch(model.freeze(), names), dict(model.items())
    found: dict[str, np.ndarray] = {}
    for start in range(0, len(index), AT_A_TIME):
        seen = watch(source(index[start : start + AT_A_TIME]))
        for name, x in seen.items():
            gram = layers[name].gram(x)
            assert gram is not None  # `weighted` names no other layers
            found[name] = gram if name not in found else found[name] + gram
    return found
