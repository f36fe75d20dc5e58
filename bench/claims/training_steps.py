"""Whole training steps against PyTorch doing the same network in float32 emulation, in time and in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from .. import steps
from ..steps.race import Entry, race
from . import Claim, Measured, NotHere

_SOURCE = "docs/benchmarks.rst, whole training steps"
_THREADS, _BATCH = 2, 100

_EAGER, _COMPILED = ("torch-eager",), ("torch-compiled",)
_FLOAT32 = tuple(way for way, options in steps.PYTORCH.items() if not options["bfloat16"])
_ANY = tuple(steps.PYTORCH)


@cache
def _entries(network: str) -> dict[str, Entry]:
    """Return the entries of all ways, raced once a process."""
    tasks = [steps.Task(network, way, _BATCH, _THREADS) for way in steps.WAYS]
    return {entry["way"]: entry for entry in race(tasks)}


def _measure(network: str, policy: str, ways: tuple[str, ...], figure: str) -> Measured:
    """Return how many times as much as ours the least of these ways takes: "seconds" or "peak_bytes"."""
    entries = _entries(network)
    found = {way: entries[way][figure] for way in ways if entries[way]["seconds"] is not None}
    if not found:
        raise NotHere("; ".join(f"{way}: {entries[way]['reason']}" for way in ways))
    return Measured(min(found.values()) / entries[policy][figure], {figure: found | {policy: entries[policy][figure]}})


def _claim(name: str, network: str, policy: str, bar: float, rival: str, ways: tuple[str, ...], memory: bool) -> Claim:
    figure = "peak_bytes" if memory else "seconds"
    measure: Callable[[], Measured] = partial(_measure, network, policy, ways, figure)
    gain = f"takes 1/{bar:g} of the peak memory of" if memory else f"is {bar:g} times as fast as"
    return Claim(
        id=f"step-{network}-{policy}-{name}",
        statement=f"a training step of {network} under {policy} {gain} {rival} (batch {_BATCH}, {_THREADS} threads,"
        " Adam, the same network)",
        source=_SOURCE,
        bar=(">=", bar),
        unit="times as little memory" if memory else "times as fast",
        measure=measure,
    )


CLAIMS = (
    _claim("over-eager", "binarynet", "int8", 5.0, "eager float32 PyTorch", _EAGER, False),
    _claim("over-float32", "binarynet", "int8", 3.5, "the fastest float32 PyTorch", _FLOAT32, False),
    _claim("over-eager", "binarynet", "low-memory", 2.5, "eager float32 PyTorch", _EAGER, False),
    _claim("memory-of-eager", "binarynet", "low-memory", 5.0, "eager float32 PyTorch", _EAGER, True),
    _claim("memory-of-smallest", "binarynet", "low-memory", 3.5, "the smallest PyTorch", _ANY, True),
    _claim("over-eager", "mlp", "int8", 2.5, "eager float32 PyTorch", _EAGER, False),
    _claim("over-compiled", "mlp", "int8", 1.5, "compiled float32 PyTorch", _COMPILED, False),
)
