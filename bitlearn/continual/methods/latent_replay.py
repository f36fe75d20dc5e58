"""Latent replay with 1-bit latents: what is replayed are the packed bits at which the network is cut."""

from __future__ import annotations

import numpy as np

from bitlearn.continual.methods.rehearsal import Rehearsal
from bitlearn.continual.networks import packed_layers
from bitlearn.nn.model import Model


def default_cut(model: Model, wanted: str | None) -> str:
    """Return the layer at which to cut: the one that is wanted, or the first whose bits are no larger than its input.

    Raises
    ------
    ValueError
        Where there is no such place.
    """
    sizes = packed_layers(model)
    if not sizes:
        raise ValueError(f"latent-replay must have a model with a sign layer, got the layers {', '.join(model.names)}")
    if wanted is None:
        codes = int(np.prod(model.input_shape))
        return next((name for name, size in sizes.items() if size <= codes), min(sizes, key=sizes.__getitem__))
    if wanted not in sizes:
        raise ValueError(f"cut must be a layer that gives packed bits, one of {', '.join(sizes)}, got {wanted!r}")
    return wanted


class LatentReplay(Rehearsal):
    """Learn the whole network from the first task, then the part after the cut from new and replayed bits.

    Notes
    -----
    arXiv 2401.09916, after arXiv 1912.01100. Values at a sign are ±1 already, so storing one bit a value loses nothing.
    The part up to the cut keeps its weights and running statistics after the first task; the part after it takes the
    batch statistics of the mixed batch. The new examples' bits are computed once a task and kept while it is learned.
    """

    name = "latent-replay"

    def chosen_cut(self) -> str | None:
        """Return the layer whose bits are stored; None where a lower part is frozen from the start."""
        return default_cut(self.networks.model, self.options.cut) if self.networks.lower is None else None
