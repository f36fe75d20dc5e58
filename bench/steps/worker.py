"""A process that makes steps in one way on request: ``python -m bitlearn.bench.steps.worker TASK``.

It reads commands from standard input and answers each on standard output, one line of JSON per command. Its first line
says that it is ready, or why it cannot do its task.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from bitlearn.energy.meter import EnergyMeter
from bitlearn.memory.meter import PeakMeter

from . import PYTORCH, Task, batch, model, verification


def serve(task: Task, commands: Iterator[str], answer: Callable[[dict[str, Any]], None]) -> None:
    """Prepare a task and obey commands until they end.

    ``verify`` compares the first step of PyTorch with ours; ``start`` makes the network and its first steps; ``peak``
    measures the memory of some steps above the level after imports, data and a step of a tiny network; and ``run``
    times some steps, and measures their energy if the machine counts it.
    """
    try:
        way = importlib.import_module(f"{__package__}.{'pytorch' if task.way in PYTORCH else 'ours'}")
        way.prepare(task)
    except ModuleNotFoundError as error:
        answer({"reason": f"not installed: {error}"})
        return
    codes, labels = batch(task.network, task.batch_size)
    meter = PeakMeter()
    answer({"ready": True})
    step: Callable[[], float] | None = None
    for line in commands:
        command = json.loads(line)
        match command["do"]:
            case "verify":
                enough = batch(task.network, max(task.batch_size, verification.EXAMPLES))
                found = verification.of_pytorch(task.way, model(task.network, "standard"), *enough)
                answer(found | {"agrees": verification.agrees(found, verification.tolerance(task.way))})
            case "start":
                step = way.start(task, codes, labels)
                # The second step is the first with the optimiser's state in place.
                answer({"losses": [step(), step()], "joules_modelled": way.joules(task)})
            case "peak":
                assert step is not None
                with meter:
                    for _ in range(command["steps"]):
                        step()
                answer({"peak_bytes": meter.peak_bytes, "how": meter.how})
            case "run":
                assert step is not None
                with (joules := EnergyMeter()):
                    seconds = [_timed(step) for _ in range(command["steps"])]
                answer({"seconds": seconds, "joules": joules.joules, "joules_how": joules.how})


def _timed(step: Callable[[], float]) -> float:
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def _own_output() -> TextIO:
    """Return the pipe to the race, and redirect all other output to standard error."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


def main() -> None:
    """Serve the task that the only argument holds as JSON."""
    pipe = _own_output()

    def answer(found: dict[str, Any]) -> None:
        print(json.dumps(found), file=pipe, flush=True)

    serve(Task(**json.loads(sys.argv[1])), iter(sys.stdin.readline, ""), answer)


if __name__ == "__main__":
    main()
