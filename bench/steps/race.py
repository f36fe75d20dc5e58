"""The race: one process per way; they take turns, one at a time. One entry per way."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from types import TracebackType
from typing import Any

from . import PYTORCH, Task

Entry = dict[str, Any]
Command = Callable[[Task], list[str]]

#: Turns of each way. A turn is at least one step.
ROUNDS = 7
#: Ways that take longer than this per step run only in every second turn: enough for a median.
SLOW_SECONDS = 1.0
#: The steps whose memory is measured.
_PEAK_STEPS = 3

#: The keys that are null in an entry without a time.
FIGURES = (
    *("seconds", "min_seconds", "steps", "peak_bytes", "peak_bytes_how", "losses", "verified"),
    *("joules_modelled", "joules", "joules_how"),
)


class Failed(RuntimeError):
    """A process ended, or gave a wrong answer."""


def command(task: Task) -> list[str]:
    """Return the command of the process of a task."""
    return [sys.executable, "-m", "bitlearn.bench.steps.worker", json.dumps(asdict(task))]


class Runner:
    """The process of a task. If it cannot do the task, `reason` says why."""

    def __init__(self, task: Task, command: Command = command):
        self.task = task
        # The thread pools of other packages, BLAS and OpenMP, have as many threads as ours.
        held = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(task.threads))
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process is
        self._process = subprocess.Popen(
            command(task),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | held,
        )
        try:
            self.reason: str | None = self._answer().get("reason")
        except Failed:
            self.close()
            raise

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        """Send a command and return the answer.

        Raises
        ------
        Failed
            If the process has ended instead.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **options}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing answer shows it
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            last = ([line for line in self._errors.read().splitlines() if line.strip()] or ["no message"])[-1]
            raise Failed(f"the process of {self.task.way} on {self.task.network} ended with {code}: {last}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def cannot(task: Task) -> str | None:
    """Return why a way does not apply to a network; None if it does."""
    if task.network == "mlp" and task.way == "torch-channels-last":
        return "a network without convolutions has no maps to lay out: this is torch-eager"
    return None


def verify(task: Task, command: Command = command) -> dict[str, Any] | None:
    """Compare PyTorch's first step in some way with ours, in a process of its own; None if it is not installed.

    Raises
    ------
    Failed
        If they do not agree.
    """
    with Runner(task, command) as process:
        if process.reason is not None:
            return None
        found = process.ask("verify")
    if not found["agrees"]:
        raise Failed(
            f"{task.way} on {task.network} must agree with standard before it is timed, and differs by {found}"
        )
    return found


def race(
    tasks: Sequence[Task],
    seconds: float = 3.0,
    progress: Callable[[str], None] = lambda text: None,
    command: Command = command,
) -> list[Entry]:
    """Time the ways of one network in turns.

    Parameters
    ----------
    tasks : sequence of Task
        They differ only in their way.
    seconds : float
        About how long each way is timed over all turns, with at least one step per turn.
    progress : callable
        Told what is going on.
    command : callable
        The command of the process of a task.

    Returns
    -------
    list of dict
        An entry per task, in order.

    Raises
    ------
    Failed
        If a way of PyTorch's does not agree with ours, or a process ends.
    """
    entries = [asdict(task) | dict.fromkeys(FIGURES) | {"reason": cannot(task)} for task in tasks]
    with ExitStack() as stack:
        running: list[tuple[Entry, Runner, int]] = []
        for task, entry in zip(tasks, entries, strict=True):
            if entry["reason"] is not None:
                continue
            progress(f"{task.network} {task.way}: preparing")
            if task.way in PYTORCH:
                entry["verified"] = verify(task, command)
            process = stack.enter_context(Runner(task, command))
            entry["reason"] = process.reason
            if process.reason is None:
                entry |= process.ask("start")
                peak = process.ask("peak", steps=_PEAK_STEPS)
                entry["peak_bytes"], entry["peak_bytes_how"] = peak["peak_bytes"], peak["how"]
                (once,) = process.ask("run", steps=1)["seconds"]
                running.append((entry, process, max(1, round(seconds / ROUNDS / once))))
        times: dict[str, list[float]] = {entry["way"]: [] for entry, _, _ in running}
        joules: dict[str, list[float]] = {entry["way"]: [] for entry, _, _ in running}
        for turn in range(ROUNDS):
            for entry, process, steps in running:
                spent = times[entry["way"]]
                if turn % 2 and spent[0] > SLOW_SECONDS:
                    continue
                progress(f"{entry['network']} {entry['way']}: turn {turn + 1} of {ROUNDS}")
                found = process.ask("run", steps=steps)
                spent += found["seconds"]
                entry["joules_how"] = found["joules_how"]
                if found["joules"] is not None:
                    joules[entry["way"]].append(found["joules"])
        for entry, _, _ in running:
            spent = times[entry["way"]]
            entry |= {"seconds": statistics.median(spent), "min_seconds": min(spent), "steps": len(spent)}
            if used := joules[entry["way"]]:
                entry["joules"] = sum(used) / len(spent)
    return entries
