"""What is measured once per network for several claims: a training step under each policy and each PyTorch variant.

Two policies of ours are compared in a race of their own, in which nothing of PyTorch takes the machine's memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from .. import steps
from ..steps.race import Entry, race
from . import Claim, Measured, NotHere

SOURCE = "docs/benchmarks.rst, whole training steps"
THREADS, BATCH = 2, 100

EAGER, COMPILED = ("torch-eager",), ("torch-compiled",)
FLOAT32 = tuple(way for way, options in steps.PYTORCH.items() if not options["bfloat16"])
ANY = tuple(steps.PYTORCH)
_RULES = {"adam": "Adam", "sgd": "SGD without momentum"}


@cache
def _entries(network: str, batch: int, rule: str) -> dict[str, Entry]:
    """Return the entries of all ways, raced once a process."""
    ways = steps.WAYS if rule == "adam" else (steps.QUANTIZED.name, *steps.PYTORCH)
    tasks = [steps.Task(network, way, batch, THREADS, rule) for way in ways]
    return {entry["way"]: entry for entry in race(tasks)}


def _measure(
    needs: Callable[[], None],
    network: str,
    policy: str,
    batch: int,
    rule: str,
    ways: tuple[str, ...],
    figure: str,
    of_fastest: bool,
) -> Measured:
    """Return how many times as much as ours the least of these ways takes, or the fastest: seconds or peak_bytes."""
    needs()
    entries = _entries(network, batch, rule)
    found = {way: entries[way][figure] for way in ways if entries[way]["seconds"] is not None}
    if not found:
        raise NotHere("; ".join(f"{way}: {entries[way]['reason']}" for way in ways))
    if of_fastest:
        fastest = min(found, key=lambda way: entries[way]["seconds"])
        found = {fastest: found[fastest]}
    return Measured(min(found.values()) / entries[policy][figure], {figure: found | {policy: entries[policy][figure]}})


@cache
def _two(network: str, policy: str, other: str) -> dict[str, float]:
    tasks = [steps.Task(network, way, BATCH, THREADS) for way in (policy, other)]
    return {entry["way"]: entry["seconds"] for entry in race(tasks)}


def _share(needs: Callable[[], None], network: str, policy: str, other: str) -> Measured:
    needs()
    seconds = _two(network, policy, other)
    return Measured(seconds[policy] / seconds[other], {"seconds": seconds})


def share(network: str, policy: str, other: str, bar: float, *, needs: Callable[[], None]) -> Claim:
    """Return the claim of a step that takes so much of the time of one under another policy, raced with it."""
    return Claim(
        id=f"step-{network}-{policy}-of-{other}",
        statement=f"a training step of {network} under {policy} takes {bar:g} of the time of one under {other}"
        f" (batch {BATCH}, {THREADS} threads, Adam)",
        source=SOURCE,
        bar=("<=", bar),
        unit="of the time",
        measure=partial(_share, needs, network, policy, other),
    )


def claim(
    name: str,
    network: str,
    policy: str,
    bar: float,
    rival: str,
    ways: tuple[str, ...],
    *,
    needs: Callable[[], None],
    batch: int = BATCH,
    rule: str = "adam",
    memory: bool = False,
    of_fastest: bool = False,
    where: str = "",
) -> Claim:
    """Return the claim of a step that is so many times as fast as the fastest of some ways, or takes as little memory.

    `needs` raises `NotHere` where the bar is for other machines, which `where` names.
    """
    figure = "peak_bytes" if memory else "seconds"
    measure: Callable[[], Measured] = partial(_measure, needs, network, policy, batch, rule, ways, figure, of_fastest)
    gain = f"takes 1/{bar:g} of the peak memory of" if memory else f"is {bar:g} times as fast as"
    return Claim(
        id=f"step-{network}-{policy}-{name}",
        statement=f"a training step of {network} under {policy} {gain} {rival} (batch {batch}, {THREADS} threads,"
        f" {_RULES[rule]}, the same network{where})",
        source=SOURCE,
        bar=(">=", bar),
        unit="times as little memory" if memory else "times as fast",
        measure=measure,
    )
