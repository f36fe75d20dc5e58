"""Experience replay: raw examples are stored, and the whole network is trained on new and stored ones."""

from __future__ import annotations

from bitlearn.continual.methods.rehearsal import ConsolidatingOptions, Rehearsal


class Replay(Rehearsal):
    """Train the whole network on every task, on new and replayed examples.

    Notes
    -----
    The experience replay of arXiv 1902.10486. Examples are stored as the network takes them: int8 codes, a byte a
    value, as many as a raw image has where it is not padded or scaled to another size; packed bits where it takes
    these. The memory is balanced over the classes, a reservoir inside each.

    Where a lower part is frozen from the start, raw examples are stored all the same, and pass that part again whenever
    they are replayed.
    """

    name, raw = "replay", True
    takes = ConsolidatingOptions
