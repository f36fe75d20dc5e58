"""Fine-tuning of the head alone, without consolidation."""

from __future__ import annotations

from bitlearn.continual.methods.method import Method
from bitlearn.continual.networks import packed_layers


class NaiveFrozen(Method):
    """Learn the whole network from the first task, then the last layer alone."""

    def __init__(self, networks, options, **limits):
        super().__init__(networks, options, **limits)
        # Up to here it is frozen after the first task, or before the first batch of a stream.
        self.cut = list(packed_layers(networks.model))[-1]
