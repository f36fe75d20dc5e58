"""Latent replay with 1-bit latents: what is replayed are the packed bits at which the network is cut."""

from __future__ import annotations

from dataclasses import dataclass

from bitlearn.continual.latents import cuts, default_cut, latent_codec
from bitlearn.continual.methods.rehearsal import ConsolidatingOptions, Rehearsal
from bitlearn.continual.networks import Networks
from bitlearn.continual.options import Options
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.continual.settings import setting
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.nn.spec import Spec
from bitlearn.serialization import under


@dataclass(frozen=True)
class LatentReplayOptions(ConsolidatingOptions):
    """Options of ``latent-replay``."""

    latents: str | None = setting(
        None,
        "How latents are stored, as `bitlearn.continual.latent_codec` takes it: by default as bits, which loses "
        "nothing where they are bits, and as signs with a scale a channel behind a layer that gives real values.",
    )


class LatentReplay(Rehearsal):
    """Learn the whole network from the first task, then the part after the cut from new and replayed bits.

    Notes
    -----
    arXiv 2401.09916, after arXiv 1912.01100. Values at a sign are ±1 already, so storing one bit a value loses nothing.
    The part up to the cut keeps its weights and running statistics after the first task; the part after it takes the
    batch statistics of the mixed batch. The new examples' bits are computed once a task and kept while it is learned.

    Where real values are cut, or more bits a value are wanted, ``latents`` names the codec. New examples pass it
    as replayed ones do.
    """

    name = "latent-replay"
    takes = LatentReplayOptions
    options: LatentReplayOptions

    @classmethod
    def stored(cls, networks: Networks, options: Options) -> tuple[tuple[int, ...], str]:
        """Return the shape at the cut, and what the codec stores."""
        assert isinstance(options, LatentReplayOptions)
        codec = latent_codec(networks.model.root.spec, options.latents)
        return codec.spec.shape, codec.dtype

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
