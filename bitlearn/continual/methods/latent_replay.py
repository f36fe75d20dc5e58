"""Latent replay with 1-bit latents: what is replayed are the packed bits at which the network is cut."""

from __future__ import annotations

import numpy as np

from bitlearn.continual.latents import cuts, latent_codec
from bitlearn.continual.methods.rehearsal import Rehearsal
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.nn.model import Model
from bitlearn.nn.spec import Spec
from bitlearn.serialization import under


def default_cut(model: Model, wanted: str | None, latents: str | None = None) -> str:
    """Return the layer at which to cut.

    Parameters
    ----------
    model : Model
    wanted : str or None
        One of `bitlearn.continual.cuts`; by default the first one where an example takes no more bytes than its codes,
        or else the one with the fewest. Packed bits are preferred to real values.
    latents : str, optional
        The codec, as `bitlearn.continual.latent_codec` takes it.

    Raises
    ------
    ValueError
        Where there is no such place.
    """
    found = cuts(model)
    if wanted is not None:
        if wanted not in found:
            raise ValueError(
                f"cut must be a layer that gives packed bits or real values to others that learn, one of "
                f"{', '.join(found) or 'none'}, got {wanted!r}"
            )
        return wanted
    packed = {name: cut for name, cut in found.items() if cut.spec.kind == "bits"}
    sizes = {name: latent_codec(cut.spec, latents).nbytes for name, cut in (packed or found).items()}
    if not sizes:
        raise ValueError(f"latent-replay must have a model that can be cut, got the layers {', '.join(model.names)}")
    codes = int(np.prod(model.input_shape))
    return next((name for name, size in sizes.items() if size <= codes), min(sizes, key=sizes.__getitem__))


class LatentReplay(Rehearsal):
    """Learn the whole network from the first task, then the part after the cut from new and replayed bits.

    Notes
    -----
    arXiv 2401.09916, after arXiv 1912.01100. Values at a sign are ±1 already, so storing one bit a value loses nothing.
    The part up to the cut keeps its weights and running statistics after the first task; the part after it takes the
    batch statistics of the mixed batch. The new examples' bits are computed once a task and kept while it is learned.

    Where real values are cut, or more bits a value are wanted, `Options.latents` names the codec. New examples pass it
    as replayed ones do.
    """

    name = "latent-replay"

    def chosen_cut(self) -> str | None:
        """Return the layer whose bits are stored; None where a lower part is frozen from the start."""
        if self.networks.lower is not None:
            return None
        return default_cut(self.networks.model, self.options.cut, self.options.latents)

    def stored_spec(self) -> Spec:
        """Return what flows at the cut."""
        model = self.networks.model
        return model.root.spec if self.cut is None else cuts(model)[self.cut].spec

    def empty_memory(self) -> ReplayBuffer:
        """Return a memory of what the codec stores."""
        self.codec = latent_codec(self.stored_spec(), self.options.latents)
        return self.memory_of(self.codec.spec.shape, self.codec.dtype)

    def encoded(self, x: Batch) -> Batch:
        """Return what is stored of values at the cut, from the first of which the codec learns what it has to know."""
        if self.codec.plain or self.networks.lower is None:  # the first task is learned by the whole network
            return x
        if not self.codec.fitted:
            self.codec.fit(x)
        return self.codec.encode(x)

    def decoded(self, stored: Batch) -> Batch:
        """Return what the upper part takes."""
        return stored if self.codec.plain or self.networks.lower is None else self.codec.decode(stored)

    def arrays(self) -> Arrays:
        """Return the arrays of the memory and of a CWR* head, and what the codec knows."""
        return super().arrays() | under("codec.", self.codec.arrays())

    def restore(self, arrays: Arrays) -> None:
        """Take up what `arrays` gave."""
        super().restore(arrays)
        self.codec.check()
