"""Experience replay: raw examples are stored, and the whole network is trained on new and stored ones."""

from __future__ import annotations

from bitlearn.continual.methods.rehearsal import ConsolidatingOptions, Rehearsal


class Replay(Rehearsal):
    """Train the whole network on every task, on new and replayed examples.

    Notes
    -----
    The experience replay of arXiv 1902.10486. Examples are stored as the network takes them: int8 codes, one byte per
    value, which is as much as a raw image unless it is padded or resized; or packed bits if the network takes these.
    The memory is balanced over the classes, with a reservoir within each.

    Even if a lower part is frozen from the start, raw examples are stored, and run through that part each time they are
    replayed.
    """

    name, raw = "replay", True
    takes = ConsolidatingOptions
