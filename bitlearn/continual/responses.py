"""Posteriors from a task's examples before it is trained: from its inputs, and from how units respond to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.bits import Bits
from bitlearn.nn.competition import Competition, posterior
from bitlearn.nn.frozen import Batch
from bitlearn.nn.model import Model
from bitlearn.nn.narrow import competitions, input_competition, narrow
from bitlearn.ops.packing import unpack


def response_logits(model: Model, task: int, x: Batch) -> dict[str, np.ndarray]:
    """Return, for each competition, the logarithm of the mean over examples of ``softmax_j(h)``.

    Parameters
    ----------
    model : Model
        It runs in inference form, with running statistics.
    task : int
        The task whose logits are added to the responses to find the winners of a competition; only winners feed the
        next one. Competing inputs have no response: see `input_logits`.
    x : ndarray or Bits, shape (count, ...)

    Returns
    -------
    dict of str to ndarray of float32, shape (blocks, units)
        `h` are the inputs of a competition, averaged over positions if they are maps, and divided by their standard
        deviation over all examples and units, so that the scale of a layer does not determine how sharp the posterior
        is.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.competing_mlp((2,), 2, hidden=(2,), units=2, weights="real")
    >>> model["linear1"].weight[...] = [[1.0, 0.0], [0.0, 1.0]]
    >>> found = response_logits(model, 0, np.array([[100, 0], [90, 10]], dtype=np.int8))
    >>> bool(found["competition1"][0, 0] > found["competition1"][0, 1])
    True
    """
    names, winners, found = model.names, dict[str, np.ndarray](), dict[str, np.ndarray]()
    of_inputs = input_competition(model)
    for name, layer in competitions(model).items():
        if name == of_inputs:
            winners[name] = layer.winners(task)
            continue
        lower = model.split(names[names.index(name) - 1])[0]
        values: Any = (narrow(lower, winners).model if winners else lower).apply(x)
        h = unpack(values.words, values.n, dtype=np.float32) if isinstance(values, Bits) else values
        h = h.reshape(len(h), -1, h.shape[-1]).mean(axis=1, dtype=np.float64)
        h /= max(float(h.std()), np.finfo(np.float32).tiny)
        mean = posterior(h.reshape(len(h), layer.blocks, layer.units)).mean(axis=0)
        found[name] = np.log(mean + np.finfo(np.float64).tiny).astype(np.float32)
        winners[name] = (found[name] + layer.logits[task]).argmax(axis=1)
    return found


def input_logits(layer: Competition, x: Batch) -> np.ndarray:
    """Return the logits of competing inputs: the posterior of each is its share of the block's standard deviations.

    Parameters
    ----------
    layer : Competition
        The competition of the network's inputs.
    x : ndarray of int8, shape (count, ...)

    Returns
    -------
    ndarray of float32, shape (blocks, units)
        Logarithms of the standard deviations over examples, and positions if there are maps. A standard deviation
        counts as at least 0.01, so that constant inputs have finite logits.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.competing_mlp((4,), 2, hidden=(2,), units=2, inputs=2)
    >>> x = np.array([[9, 0, 5, 30], [9, 2, 7, 10]], dtype=np.int8)
    >>> input_logits(model["competition1"], x).argmax(axis=1)
    array([1, 0])
    """
    values = np.asarray(x).reshape(-1, layer.spec.channels)
    found = np.log(np.maximum(values.std(axis=0, dtype=np.float64), 0.01))
    return layer.by_block(found).astype(np.float32)
