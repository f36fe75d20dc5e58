"""Fine-tuning of the head alone, without consolidation."""

from __future__ import annotations

from bitlearn import continual
from bitlearn.continual.networks import packed_layers


@continual.register
class NaiveFrozen(continual.Method):
    """Learn the whole network from the first task, then the last layer alone."""

    def __init__(self, networks, options, **limits):
        super().__init__(networks, options, **limits)
        # Up to here it is frozen after the first task, or before the first batch of a stream; a learner that comes
        # from a file, or has a backbone, may be cut already.
        self.cut = None if networks.lower is not None else list(packed_layers(networks.model))[-1]
