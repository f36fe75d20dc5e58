"""Where the time of a training step of ours goes: by kernel, by layer and phase, and outside of kernels.

A step is a recorded program, and its record says which kernel each call runs, for which layer and in which phase. A
step is timed as a whole, as is the loop in it that runs the calls; in other steps the calls run one by one, and each is
timed. Without a profile, a step costs nothing extra.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from bitlearn.ops import programs
from bitlearn.program import Call, Program
from bitlearn.threads import get_num_threads
from bitlearn.training import Trainer

from . import batch, model, optimizer, roofline

PASSES = ("forward", "backward", "update")
#: The rows for time outside kernels and outside layers.
OUTSIDE = "outside kernels"
LOSS = "loss"

#: Warm-up steps, which are not counted, and steps whose calls are timed one by one.
_FIRST, _SINGLY = 2, 5
_EMPTY_CALLS = 200

_clock = time.perf_counter


@dataclass
class Step:
    """The seconds of one step: in total, by kernel, and by layer and phase.

    The kernels and what is outside them sum to the step, and so do the layers and what is outside kernels. `roofs` has
    the least time of each kernel, from `roofline.of_program`.
    """

    seconds: float = 0.0
    outside: float = 0.0
    kernels: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    layers: dict[str, dict[str, float]] = field(default_factory=dict)
    roofs: dict[str, dict[str, Any]] = field(default_factory=dict)


@contextmanager
def _instead(owner: Any, name: str, function: Callable) -> Iterator[None]:
    """Replace an attribute by another function in the ``with`` block."""
    own = vars(owner).get(name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def whole(trainer: Trainer, x: Any, y: np.ndarray) -> tuple[float, float]:
    """Make a step; return its seconds, and how many of them its kernels ran."""
    inside, run = [], programs.Program.run

    def timed(program: programs.Program) -> int:
        begun = _clock()
        ran = run(program)
        inside.append(_clock() - begun)
        return ran

    with _instead(programs.Program, "run", timed):
        begun = _clock()
        trainer.step(x, y, trainer.optimizer.rate(trainer.model.precision))
        return _clock() - begun, sum(inside)


def singly(trainer: Trainer, x: Any, y: np.ndarray) -> list[float]:
    """Make a step whose calls run one by one; return the seconds of each."""
    program: Program = trainer.recorded(len(y)).program
    found: list[float] = []
    with _instead(program, "run", lambda: found.extend(seconds for _, seconds in program.profile())):
        trainer.step(x, y, trainer.optimizer.rate(trainer.model.precision))
    return found


def _empty_call() -> float:
    """Return the seconds of a call that does nothing, which are the overhead of timing calls one by one."""
    byte = np.zeros((1, 1), dtype=np.uint8)
    program = programs.compile_program([("copy", (byte, byte.copy()), None)])
    spent = []
    for _ in range(_EMPTY_CALLS):
        begun = _clock()
        program.run()
        spent.append(_clock() - begun)
    return median(spent)


def divided(calls: list[Call], seconds: list[float], inside: float, names: list[str]) -> Step:
    """Divide the time inside kernels among the calls, in proportion to the seconds of each.

    Parameters
    ----------
    calls : list of Call
    seconds : list of float
        Of each call.
    inside : float
        Of all calls in one run.
    names : list of str
        The layers, in the order of the network.

    Returns
    -------
    Step
        Without time outside kernels.
    """
    share = inside / sum(seconds)
    kernels: dict[str, float] = defaultdict(float)
    layers = {name: dict.fromkeys(PASSES, 0.0) for name in [*names, LOSS]}
    for call, each in zip(calls, seconds, strict=True):
        kernels[call.name] += each * share
        layer = layers.setdefault(call.path or LOSS, dict.fromkeys(PASSES, 0.0))
        layer[call.phase if call.phase in PASSES else "forward"] += each * share
    return Step(inside, 0.0, dict(kernels), dict(Counter(call.name for call in calls)), layers)


def timed(trainer: Trainer, x: Any, y: np.ndarray, steps: int) -> tuple[float, float]:
    """Make some steps, after two that are not counted; return the result of `whole` for the median step."""
    found = [whole(trainer, x, y) for _ in range(_FIRST + steps)][_FIRST:]
    return sorted(found)[steps // 2]


def started(network: str, policy: str) -> Trainer:
    """Return the trainer of a network of ours with its initial weights."""
    return Trainer(model(network, policy), optimizer())


def profile(network: str, policy: str, batch_size: int, steps: int = 9) -> Step:
    """Return where the time of a step goes: medians of some steps, after two that are not counted.

    Parameters
    ----------
    network, policy : str
    batch_size : int
    steps : int
    """
    trainer, (x, y) = started(network, policy), batch(network, batch_size)
    seconds, inside = timed(trainer, x, y, steps)
    empty = _empty_call()
    spent = zip(*(singly(trainer, x, y) for _ in range(_SINGLY)), strict=True)
    # A call that does almost nothing may seem faster than an empty one.
    each = [max(median(one) - empty, empty / 100) for one in spent]
    program = trainer.recorded(batch_size).program
    step = divided(program.calls, each, inside, trainer.model.names)
    step.seconds, step.outside = seconds, seconds - inside
    step.roofs = roofline.of_program(program, roofline.measured(get_num_threads()))
    return step
