"""The totals of the published memory model, in MiB as the paper gives them."""

from __future__ import annotations

from bitlearn import memory

SOURCE = "README.md, Measured; arXiv 2102.04270, table of BinaryNet at batch 100 with Adam"


def totals() -> tuple[float, float]:
    """Return the whole MiB of a standard and of a low-memory step."""
    found = memory.account("binarynet", 100, "adam", "paper-final")
    return round(found.standard_bytes / 2**20), round(found.low_memory_bytes / 2**20)
