"""Several callables timed in one run: verified first, then in turns, A B A B, so that all see the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import bitlearn as bl

#: Turns of each contender. Fewer give no quartiles; more only shorten the blocks, since the total time is fixed.
ROUNDS = 7

#: Turns of a contender whose single call takes longer than its total time: enough for a median.
SLOW_ROUNDS = 3


@contextmanager
def own_threads(count: int) -> Iterator[None]:
    """Make our kernels use this many threads in the ``with`` block."""
    before = bl.get_num_threads()
    bl.set_num_threads(count)
    try:
        yield
    finally:
        bl.set_num_threads(before)


class WrongAnswer(ValueError):
    """What is to be timed does not do the work."""


@dataclass(frozen=True)
class Contender:
    """What is timed: a call, whether its answer is right, and what it has to run in."""

    name: str
    call: Callable[[], object]
    check: Callable[[object], bool]
    within: Callable[[], AbstractContextManager] = nullcontext


@dataclass(frozen=True)
class Timing:
    """Seconds a call: the median and the quartiles of all turns; and the first call, which compiles what it needs."""

    seconds: float
    lower_quartile: float
    upper_quartile: float
    first_call_seconds: float
    repeats: int
    rounds: int


def block(contender: Contender, repeats: int) -> float:
    """Return the seconds of `repeats` calls."""
    call = contender.call
    with contender.within():
        begun = time.perf_counter()
        for _ in range(repeats):
            call()
        return time.perf_counter() - begun


def verify(contender: Contender) -> float:
    """Call once, check the answer, and return the seconds of the call.

    Raises
    ------
    WrongAnswer
    """
    with contender.within():
        begun = time.perf_counter()
        answer = contender.call()
        seconds = time.perf_counter() - begun
    if not contender.check(answer):
        raise WrongAnswer(f"{contender.name} must give the expected answer before it is timed, and gives another")
    return seconds


def calibrate(contender: Contender, seconds: float) -> int:
    """Return how many calls fill a block of `seconds`: doubled until the clock can be trusted, then scaled."""
    repeats = 1
    while (spent := block(contender, repeats)) < seconds / 4:
        repeats *= 2
    return max(1, round(repeats * seconds / spent)) if spent else repeats


def compare(contenders: Sequence[Contender], seconds: float = 0.2, rounds: int = ROUNDS) -> dict[str, Timing]:
    """Time contenders against each other.

    Parameters
    ----------
    contenders : sequence of Contender
        Their names differ.
    seconds : float
        About how long each is timed, all turns together. A call that takes longer is made once in each of
        `SLOW_ROUNDS` turns.
    rounds : int
        How many turns each has.

    Returns
    -------
    dict of str to Timing

    Raises
    ------
    WrongAnswer
        If one gives a wrong answer; none has been timed then.
    """
    names = [contender.name for contender in contenders]
    if len(set(names)) != len(names):
        raise ValueError(f"contenders must have names of their own, got {', '.join(names)}")
    first = {contender.name: verify(contender) for contender in contenders}
    repeats = {contender.name: calibrate(contender, seconds / rounds) for contender in contenders}
    turns: dict[str, list[float]] = {name: [] for name in names}
    # Spread over the run, so that a slow contender meets the same machine as the others.
    of_slow = {turn * (rounds - 1) // (SLOW_ROUNDS - 1) for turn in range(SLOW_ROUNDS)}
    for turn in range(rounds):
        for contender in contenders:
            times, count = turns[contender.name], repeats[contender.name]
            slow = turn > 0 and count == 1 and times[0] > seconds
            if not slow or turn in of_slow:
                times.append(block(contender, count) / count)
    result = {}
    for name, times in turns.items():
        lower, median, upper = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
        result[name] = Timing(median, lower, upper, first[name], repeats[name], len(times))
    return result
