"""The published memory model: the low-memory step."""

from __future__ import annotations

from bitlearn.bench.claims import _memory

ID = "paper-memory-low"
STATEMENT = "the published accounting of a low-memory BinaryNet step, batch 100, Adam, comes to 138 MiB"
SOURCE = _memory.SOURCE
BAR = ("==", 138)
UNIT = "MiB"


def measure() -> float:
    return _memory.totals()[1]
