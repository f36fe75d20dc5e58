"""Fine-tuning of the last layers alone, without consolidation."""

from __future__ import annotations

from dataclasses import dataclass

from bitlearn import continual
from bitlearn.continual.networks import packed_layers
from bitlearn.continual.settings import setting


@dataclass(frozen=True)
class NaiveFrozenOptions(continual.Options):
    """What all methods are given, and what this one alone is."""

    last: str | None = setting(None, "The last layer that is frozen; by default the last one that gives packed bits.")


@continual.register
class NaiveFrozen(continual.Method):
    """Learn the whole network from the first task, then what comes after a layer alone."""

    takes = NaiveFrozenOptions

    def __init__(self, networks, options, **limits):
        super().__init__(networks, options, **limits)
        # Up to here it is frozen after the first task, or before the first batch of a stream; a learner that comes
        # from a file, or has a backbone, may be cut already.
        self.cut = None if networks.lower is not None else options.last or list(packed_layers(networks.model))[-1]
