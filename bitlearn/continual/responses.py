"""A posterior that is found from how units respond to a task's examples: one reading of arXiv 2407.10758."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.bits import Bits
from bitlearn.nn.competition import posterior
from bitlearn.nn.frozen import Batch
from bitlearn.nn.model import Model
from bitlearn.nn.narrow import competitions, narrow
from bitlearn.ops.packing import unpack


def response_logits(model: Model, task: int, x: Batch) -> dict[str, np.ndarray]:
    """Return the logarithms of the mean over examples of ``softmax_j(h)``, for each competition.

    Parameters
    ----------
    model : Model
        Its running statistics are those of inference.
    task : int
        Its logits say who has won in the competitions before each: their likeliest units alone feed it.
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
    for name, layer in competitions(model).items():
        lower = model.split(names[names.index(name) - 1])[0]
        values: Any = (narrow(lower, winners).model if winners else lower).apply(x)
        h = unpack(values.words, values.n, dtype=np.float32) if isinstance(values, Bits) else values
        h = h.reshape(len(h), -1, h.shape[-1]).mean(axis=1, dtype=np.float64)
        h /= max(float(h.std()), np.finfo(np.float32).tiny)
        mean = posterior(h.reshape(len(h), layer.blocks, layer.units)).mean(axis=0)
        found[name] = np.log(mean + np.finfo(np.float64).tiny).astype(np.float32)
        winners[name] = (found[name] + layer.logits[task]).argmax(axis=1)
    return found
