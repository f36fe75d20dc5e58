"""Posteriors that a task's examples tell before it is trained: of its inputs, and of how units respond."""

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
    """Return the logarithms of the mean over examples of ``softmax_j(h)``, for each competition.

    Parameters
    ----------
    model : Model
        Its running statistics are those of inference.
    task : int
        Its logits say who has won in the competitions before each: their likeliest units alone feed it. Inputs that
        compete have no response; see `input_logits`.
    x : ndarray or Bits, shape (count, ...)

    Returns
    -------
    dict of str to ndarray of float32, shape (blocks, units)
        `h` are what flows into a competition, of maps the mean over positions, divided by their standard deviation over
        all examples and units, so that the scale of a layer does not decide how sure the posterior is.

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
    """Return the logits of inputs that compete: each one's posterior is its share of the block's standard deviations.

    Parameters
    ----------
    layer : Competition
        Of the network's inputs.
    x : ndarray of int8, shape (count, ...)

    Returns
    -------
    ndarray of float32, shape (blocks, units)
        Logarithms of the standard deviations over examples, and over positions of maps; of at least a hundredth of a
        code, so that inputs which never change are finite.

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
