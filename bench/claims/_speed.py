"""What the claims about speed share: one thread, turns taken in one run, answers verified, medians."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import bitlearn as bl

from .. import harness, kernels, records, rivals, runner
from ..cases import Case, Shape
from ..harness import Contender, own_threads
from . import Measured, NotHere

#: For each contender, all of its turns together.
SECONDS = 1.0
#: More turns than in the tables: a claim stands on one ratio.
ROUNDS = 15


def written(shape: Shape) -> str:
    """Return a shape for people."""
    return "×".join(map(str, shape))


def slug(shape: Shape) -> str:
    """Return a shape for a claim's id."""
    return "x".join(map(str, shape))


def prepared(kernel: str, shape: Shape) -> Case:
    """Return a case with a prepared operand."""
    return kernels.case(kernel, "prepared", shape)


def ours(case: Case, backend: str, name: str | None = None) -> Contender:
    """Return the contender of a variant, or of a backend, whose best variants may choose by sizes.

    Raises
    ------
    NotHere
        Where it is not available, or lacks the kernel.
    """
    try:
        with bl.use_backend(backend):
            variant = bl.which(case.kernel)
    except ValueError as error:
        raise NotHere(str(error)) from error
    if variant != backend and variant.split(":")[0] != backend:
        raise NotHere(f"{case.kernel} has no version of its own on {backend} here")
    (contender,), _ = runner.ours(case, [variant])
    return replace(contender, name=name or f"{case.kernel} on {backend}", within=partial(bl.use_backend, backend))


def rival(case: Case, name: str) -> Contender:
    """Return the contender of a rival.

    Raises
    ------
    NotHere
        Where it is not installed, cannot do the case, or cannot be held to one thread.
    """
    if not records.can_hold_threads():
        raise NotHere("threadpoolctl is not installed, which holds other packages to one thread")
    found, reasons = runner.theirs(case, rivals.load([name]))
    if not found:
        raise NotHere(f"{name}: {reasons[name]}")
    return found[0]


def on_threads(contender: Contender, count: int) -> Contender:
    """Return the contender that runs the same on so many threads."""

    @contextmanager
    def within() -> Iterator[None]:
        with own_threads(count), contender.within():
            yield

    return replace(contender, name=f"{contender.name}, threads={count}", within=within)


def race(contenders: Sequence[Contender]) -> dict[str, float]:
    """Return the median seconds of a call of each, by name: in turns, one thread where a contender says no other."""
    with own_threads(1), runner.held_threads(1):
        timings = harness.compare(contenders, SECONDS, ROUNDS)
    return {name: timing.seconds for name, timing in timings.items()}


def speed_up(ours: Contender, theirs: Contender) -> Measured:
    """Return how many times as fast the first is as the second."""
    seconds = race([ours, theirs])
    return Measured(seconds[theirs.name] / seconds[ours.name], {"seconds": seconds})
