"""The published memory model: the standard step."""

from __future__ import annotations

from bitlearn.bench.claims import _memory

ID = "paper-memory-standard"
STATEMENT = "the published accounting of a standard BinaryNet step, batch 100, Adam, comes to 513 MiB"
SOURCE = _memory.SOURCE
BAR = ("==", 513)
UNIT = "MiB"


def measure() -> float:
    return _memory.totals()[0]
