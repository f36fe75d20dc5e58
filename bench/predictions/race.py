"""The race of predictions: each way's classes are compared with ours, then all take turns on one prepared batch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np

from .. import harness, runner
from ..harness import Contender, WrongAnswer, own_threads
from . import OURS, RIVALS, Task, examples, model
from .stages import inputs, stages

Entry = dict[str, Any]

#: The number of batches of other examples on which a way must predict the same as ours before it is timed.
CHECKED = 20
#: Turns of each way.
ROUNDS = 15
#: The keys that are null in an entry without a time.
FIGURES = ("seconds", "lower_quartile", "upper_quartile", "first_call_seconds", "verified")


@contextmanager
def threads_of_all(count: int) -> Iterator[None]:
    """Limit the threads of ours and of other libraries."""
    with own_threads(count), runner.held_threads(count):
        yield


def contender(task: Task, tiny: bool = False) -> Contender:
    """Return a way of predicting, which has given the same classes as ours on other examples.

    Raises
    ------
    ImportError
        If it is not installed.
    WrongAnswer
        If it predicts another class.
    """
    frozen = model(task.network, tiny=tiny).freeze()
    codes = examples(task.network, (1 + CHECKED) * task.batch_size)
    first, *others = np.split(codes, 1 + CHECKED)
    wanted = [frozen.predict(each) for each in (first, *others)]
    if task.way == OURS:
        return Contender(OURS, lambda: frozen.predict(first), lambda answer: np.array_equal(answer, wanted[0]))  # type: ignore[arg-type]
    module = importlib.import_module(f"{__package__}.{RIVALS[task.way]}")
    chain = stages(frozen)
    call, memory = module.prepare(chain, inputs(chain, first), task.threads)
    found = []
    for each in (*others, first):
        memory[...] = inputs(chain, each)
        found.append(call())
    if not np.array_equal(found, [*wanted[1:], wanted[0]]):
        raise WrongAnswer(f"{task.way} must predict the classes that ours does on {task.network} before it is timed")
    return Contender(task.way, call, lambda answer: np.array_equal(answer, wanted[0]))  # type: ignore[arg-type]


def race(
    tasks: Sequence[Task],
    seconds: float = 1.0,
    progress: Callable[[str], None] = lambda text: None,
    *,
    tiny: bool = False,
) -> list[Entry]:
    """Time the ways of predicting with one network in turns.

    Parameters
    ----------
    tasks : sequence of Task
        They differ only in their way.
    seconds : float
        About how long each way is timed over all turns.
    progress : callable
        Told what is going on.
    tiny : bool
        Whether to use the smallest network of the kind.

    Returns
    -------
    list of dict
        An entry per task, in order.

    Raises
    ------
    WrongAnswer
        If a way predicts another class than ours.
    """
    entries = [{"measures": "prediction"} | asdict(task) | dict.fromkeys(FIGURES) | {"reason": None} for task in tasks]
    contenders = []
    with threads_of_all(tasks[0].threads):
        for task, entry in zip(tasks, entries, strict=True):
            progress(f"{task.network} {task.way}: preparing")
            try:
                contenders.append(contender(task, tiny))
            except ImportError as error:
                entry["reason"] = runner.why_not_imported(error)
        progress(f"{tasks[0].network}: {ROUNDS} turns of each")
        timings = harness.compare(contenders, seconds, ROUNDS)
    for entry in entries:
        if (timing := timings.get(entry["way"])) is not None:
            entry |= {
                "seconds": timing.seconds,
                "lower_quartile": timing.lower_quartile,
                "upper_quartile": timing.upper_quartile,
                "first_call_seconds": timing.first_call_seconds,
                "verified": (1 + CHECKED) * entry["batch_size"],
            }
    return entries
