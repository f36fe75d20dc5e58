"""The totals of the published memory model, in MiB as the paper gives them."""

from __future__ import annotations

from functools import partial

from bitlearn import memory

from . import Claim

_SOURCE = "README.md, Measured; arXiv 2102.04270, table of BinaryNet at batch 100 with Adam"


def _mebibytes(step: str) -> float:
    found = memory.account("binarynet", 100, "adam", "paper-final")
    return round({"standard": found.standard_bytes, "low-memory": found.low_memory_bytes}[step] / 2**20)


def _claim(name: str, step: str, total: int) -> Claim:
    return Claim(
        id=name,
        statement=f"the published accounting of a {step} BinaryNet step, batch 100, Adam, comes to {total} MiB",
        source=_SOURCE,
        bar=("==", total),
        unit="MiB",
        measure=partial(_mebibytes, step),
    )


CLAIMS = (
    _claim("paper-memory-low", "low-memory", 138),
    _claim("paper-memory-standard", "standard", 513),
)
