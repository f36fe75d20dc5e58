"""Latent replay with 1-bit latents: the packed bits at the network's cut are stored and replayed."""

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
        "The codec of latents, as for `bitlearn.continual.latent_codec`: by default bits, which loses "
        "nothing if they are bits, and signs with a scale per channel after a layer that outputs real values.",
    )


class LatentReplay(Rehearsal):
    """Learn the whole network from the first task, then the part after the cut from new and replayed bits.

    Notes
    -----
    arXiv 2401.09916, after arXiv 1912.01100. Values after a sign are already ±1, so storing one bit per value loses
    nothing. The part up to the cut keeps its weights and running statistics after the first task; the part after it
    uses the batch statistics of the mixed batch. The new examples' bits are computed once per task and kept while it is
    learned.

    For a cut at real values, or more bits per value, ``latents`` names the codec. New examples pass through it just
    like replayed ones.
    """

    name = "latent-replay"
    takes = LatentReplayOptions
    options: LatentReplayOptions

    @classmethod
    def stored(cls, networks: Networks, options: Options) -> tuple[tuple[int, ...], str]:
        """Return the shape and dtype that the codec stores at the cut."""
        assert isinstance(options, LatentReplayOptions)
        codec = latent_codec(networks.model.root.spec, options.latents)
        return codec.spec.shape, codec.dtype

    def chosen_cut(self) -> str | None:
        """Return the layer whose bits are stored; None if a lower part is frozen from the start."""
        if self.networks.lower is not None:
            return None
        return default_cut(self.networks.model, self.options.cut, self.options.latents)

    def stored_spec(self) -> Spec:
        """Return the type of the values at the cut."""
        model = self.networks.model
        return model.root.spec if self.cut is None else cuts(model)[self.cut].spec

    def empty_memory(self) -> ReplayBuffer:
        """Return an empty memory for what the codec stores."""
        self.codec = latent_codec(self.stored_spec(), self.options.latents)
        return self.memory_of(self.codec.spec.shape, self.codec.dtype)

    def encoded(self, x: Batch) -> Batch:
        """Return values at the cut as they are stored; the codec is fitted to the first ones."""
        if self.codec.plain or self.networks.lower is None:  # the first task is learned by the whole network
            return x
        if not self.codec.fitted:
            self.codec.fit(x)
        return self.codec.encode(x)

    def decoded(self, stored: Batch) -> Batch:
        """Return stored values as the upper part takes them."""
        return stored if self.codec.plain or self.networks.lower is None else self.codec.decode(stored)

    def arrays(self) -> Arrays:
        """Return the arrays of the memory, of a CWR* head, and of the codec."""
        return super().arrays() | under("codec.", self.codec.arrays())

    def restore(self, arrays: Arrays) -> None:
        """Restore the results of `arrays`."""
        super().restore(arrays)
        self.codec.check()
