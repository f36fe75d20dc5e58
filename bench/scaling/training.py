"""Steps of data-parallel training: the cost of one, measured part by part, and a simulation with any workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn.training import DataParallel, LocalWorkers
from bitlearn.training import workers as ways
from bitlearn.training.replica import Blank

from .link import Link
from .simulation import Machine, Process, Receive, Send, Simulation, Work

#: The processor time of this thread, in which replicas in this process work; other processes do not affect it.
_CLOCK = time.thread_time

Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Stage:
    """The part between two cuts of a step: the seconds of the leading process and of a worker, and their messages.

    Parameters
    ----------
    lead, lead_each : float
        Seconds of the leading process, and additional ones per worker.
    work, work_each : float
        Seconds of a worker, and additional ones per example of its part.
    down, down_each, up : float
        Bytes of the message to a worker, additional ones per example of its part, and bytes of its answer.
    """

    lead: float
    lead_each: float
    work: float
    work_each: float
    down: float
    down_each: float
    up: float


class _Timed(ways.Link):
    """A link to a replica in this process that records when it is used, and how long the replica works."""

    def __init__(self, link: ways.Link, notes: list[tuple[str, float, float, int]]):
        self._link, self._notes = link, notes

    def send(self, message: bytes) -> None:
        begun = _CLOCK()
        self._link.send(message)  # in this process, the answer comes at once
        self._notes.append(("down", begun, _CLOCK(), len(message)))

    def receive(self) -> bytes:
        begun = _CLOCK()
        answer = self._link.receive()
        self._notes.append(("up", begun, _CLOCK(), len(answer)))
        return answer


class _TimedWorkers(LocalWorkers):
    def __init__(self, count: int):
        super().__init__(count)
        self.notes: list[tuple[str, float, float, int]] = []

    def open(self, number: int, blank: Blank) -> ways.Link:
        return _Timed(super().open(number, blank), self.notes)


def parts(make: Callable[[], bl.nn.Model], form: Any, batch: Batch, count: int, steps: int = 30) -> np.ndarray:
    """Return the cost of each stage of a step with this many workers.

    Returns
    -------
    ndarray of float, shape (steps, 4, stages)
        Seconds of the leading process, and of a worker on average; bytes of a message down and up, on average.
    """
    workers = _TimedWorkers(count)
    trainer = DataParallel(make(), bl.optim.adam(), workers=workers, form=form, agree_every=10**6)
    found = []
    for step in range(steps + 2):
        workers.notes.clear()
        begun = _CLOCK()
        trainer.step(*batch, 0.001)
        if step < 2:  # these record the step and load what it needs
            continue
        notes = list(workers.notes)
        stages = [notes[first : first + 2 * count] for first in range(0, len(notes), 2 * count)]
        lead, end = [], begun
        for stage in stages:
            own = stage[-1][2] - end - sum(stop - start for _, start, stop, _ in stage)
            lead.append(own)
            end = stage[-1][2]
        work = [np.mean([stop - start for kind, start, stop, _ in stage if kind == "down"]) for stage in stages]
        down, up = (
            [np.mean([size for kind, _, _, size in stage if kind == each]) for stage in stages]
            for each in ("down", "up")
        )
        found.append((lead, work, down, up))
    return np.array(found)


def stages(one: np.ndarray, more: np.ndarray, rows: int, many: int, least: bool = True) -> list[Stage]:
    """Return the stages of a step.

    Parameters
    ----------
    one, more : ndarray
        Results of `parts` with one worker and with many.
    rows : int
        Examples in the measured batch.
    many : int
    least : bool
        Whether to use the minimum over the steps, or the mean.
    """
    each = [found.min(axis=0) if least else found.mean(axis=0) for found in (one, more)]
    found = []
    for (lead, work, down, up), (lead_m, work_m, down_m, _) in zip(each[0].T, each[1].T, strict=True):
        lead_each = max((lead_m - lead) / (many - 1), 0.0)
        work_each = max((work - work_m) / (rows - rows / many), 0.0)
        down_each = max((down - down_m) / (rows - rows / many), 0.0)
        found.append(
            Stage(
                max(lead - lead_each, 0.0), lead_each, max(work_m - work_each * rows / many, 0.0), work_each,
                down_m - down_each * rows / many, down_each, up,
            )
        )  # fmt: skip
    return found


@dataclass(frozen=True)
class Found:
    """The result of a simulation.

    Parameters
    ----------
    seconds : float
    busy : float
        Seconds of all cores together.
    link_bytes : float
        Bytes over the busiest link, both ways.
    """

    seconds: float
    busy: float
    link_bytes: float


def step(
    of: Sequence[Stage], rows: int, workers: int, link: Link, *, cores: int | None = None, fan_out: int | None = None
) -> Found:
    """Simulate a step.

    Parameters
    ----------
    of : sequence of Stage
    rows : int
        Examples in the whole batch.
    workers : int
    link : Link
    cores : int, optional
        The cores of one machine with all processes; by default each process has its own machine.
    fan_out : int, optional
        Of a tree whose inner nodes add the answers of this many and pass messages on; by default all workers are linked
        to the leading process.
    """
    simulation = Simulation(link.latency, link.rate)
    shared = None if cores is None else Machine(cores)
    machines: list[Machine] = []

    def machine() -> Machine:
        machines.append(shared or Machine(1))
        return machines[-1]

    part = rows / workers

    def leaves(count: int, name: str, parent: str | None) -> None:
        """Add a node above this many workers, and everything below it."""
        wide = count if fan_out is None else min(fan_out, count)
        sizes = [count * (i + 1) // wide - count * i // wide for i in range(wide)]
        children = [f"{name}.{i}" for i in range(wide)]
        simulation.add(name, machine(), _node(of, part, sizes, children, parent, link))
        for size, child in zip(sizes, children, strict=True):
            if size == 1:
                simulation.add(child, machine(), _worker(of, part, name, link))
            else:
                leaves(size, child, name)

    leaves(workers, "leader", None)
    seconds = simulation.run()
    return Found(seconds, simulation.busy, max(each.sent + each.received for each in machines))


def _worker(of: Sequence[Stage], part: float, parent: str, link: Link) -> Process:
    for stage in of:
        yield Receive(parent)
        down = stage.down + stage.down_each * part
        yield Work(stage.work + stage.work_each * part + link.message + link.copy * (down + stage.up))
        yield Send(parent, stage.up)


def _node(
    of: Sequence[Stage], part: float, sizes: Sequence[int], children: Sequence[str], parent: str | None, link: Link
) -> Process:
    """Act as the leading process, or as a node of a tree, which passes messages down and adds those going up."""
    for stage in of:
        if parent is None:
            yield Work(stage.lead)
        else:
            yield Receive(parent)
        for size, child in zip(sizes, children, strict=True):
            down = stage.down + stage.down_each * part * size
            yield Work(stage.lead_each + link.message / 2 + link.copy * down)
            yield Send(child, down)
        for child in children:
            yield Receive(child)
            yield Work(link.message / 2 + link.copy * stage.up)
        if parent is not None:
            yield Work(stage.lead + link.message)
            yield Send(parent, stage.up)
