"""A product of packed rows with weights as Dask tasks: the measured cost of one, and a simulation of many."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bitlearn as bl
from bitlearn import streams
from bitlearn.dask.arrays import weights_of
from bitlearn.rng import Key

from .link import Link
from .simulation import Machine, Process, Receive, Send, Simulation, Work
from .training import Found

#: Values per row, and columns of the weights.
N, COLUMNS = 1024, 1024
#: Bytes of the messages per task: measured sizes of Dask's messages vary with its key; they are small for any link.
_MESSAGE = 1500.0
#: How many tasks a worker has: the current one and the next.
_AT_HAND = 2


@dataclass(frozen=True)
class Costs:
    """Seconds per task.

    Parameters
    ----------
    client : float
        Of the client: it makes all tasks before the first is sent out.
    scheduler : float
        Of the process of client and scheduler, without the client's part.
    worker : float
        Of a worker's process, without the computation.
    row : float
        Per row, read from a file in memory and multiplied with all columns.
    """

    client: float
    scheduler: float
    worker: float
    row: float


def of_rows(path: str, weights: Any, first: int, count: int) -> np.ndarray:
    """Return in how many rows of a file the product with each column is at least 0: read, multiply and reduce."""
    words = np.ascontiguousarray(np.load(path, mmap_mode="r")[first : first + count])
    signs = bl.xnor_matmul_sign(words, weights, N, 0)
    return bl.popcount(bl.transpose_bits(signs, COLUMNS))


def written(folder: Path, rows: int) -> tuple[str, np.ndarray]:
    """Write random rows to a file, and return its path and random weights."""

    def words(count: int, seed: int) -> np.ndarray:
        return Key(seed, stream=streams.RANDOM_CODES).words(2 * count * N // 64).view(np.uint64).reshape(count, -1)

    path = folder / "rows.npy"
    np.save(path, words(rows, 0))
    return str(path), words(COLUMNS, 1)


def _nothing(number: int) -> int:
    return number


def overheads(client: Any, tasks: int = 20, rounds: int = 20) -> tuple[float, float, float]:
    """Return the core seconds of a task that does nothing: of the client, of the rest of its process, and of a worker.

    They are means over rounds of as many tasks as the product has, since fewer tasks cost more each.
    """
    made = 0.0
    for number in range(rounds + 1):
        if number == 1:  # the first one loads modules
            there, here, made = busy_workers(client), time.process_time(), 0.0
        begun = time.thread_time()
        futures = [client.submit(_nothing, task, pure=False) for task in range(tasks)]
        made += time.thread_time() - begun
        client.gather(futures)
    here = time.process_time() - here
    there = busy_workers(client) - there
    count = tasks * rounds
    return made / count, (here - made) / count, there / count


def row_seconds(client: Any, path: str, weights: np.ndarray, rows: int, rounds: int = 20) -> tuple[float, float]:
    """Return the seconds per row, by the processor time of one thread: the minimum of several rounds, and their mean.

    They are measured in a worker: Dask's environment returns freed memory to the system at once, so each task gets new
    pages.
    """
    return client.submit(_row_seconds, path, weights, rows, rounds, pure=False).result()


def _row_seconds(path: str, weights: np.ndarray, rows: int, rounds: int) -> tuple[float, float]:
    each, prepared = [], bl.pack_weights(weights, N)
    for _ in range(rounds):
        begun = time.thread_time()
        of_rows(path, prepared, 0, rows)
        each.append((time.thread_time() - begun) / rows)
    return min(each), sum(each) / rounds


def measured(client: Any, path: str, weights: np.ndarray, rows: int, chunk: int, rounds: int) -> tuple[float, float]:
    """Return the minimum time of the whole product over a cluster, and the processor time of all its processes."""
    (there,) = client.scatter([weights], broadcast=True)
    seconds = []
    for number in range(rounds + 1):
        if number == 1:  # the first one lays out the weights
            before = busy(client)
        begun = time.perf_counter()
        futures = [client.submit(_task, path, there, first, chunk, pure=False) for first in range(0, rows, chunk)]
        client.gather(futures)
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:]), (busy(client) - before) / rounds


def busy(client: Any) -> float:
    """Return the processor time of this process and of all workers so far."""
    return time.process_time() + busy_workers(client)


def busy_workers(client: Any) -> float:
    """Return the processor time of all workers so far."""
    return sum(client.run(time.process_time).values())


def _task(path: str, weights: np.ndarray, first: int, count: int) -> np.ndarray:
    return of_rows(path, weights_of(weights, N), first, count)


def product(
    costs: Costs, rows: float, chunk: float, workers: int, link: Link, *, source: float = float("inf"),
    cores: int | None = None,
) -> Found:  # fmt: skip
    """Simulate the product.

    Parameters
    ----------
    costs : Costs
    rows, chunk : float
    workers : int
    link : Link
    source : float
        Bytes per second that a store delivers to all workers together, which bounds the time from below.
    cores : int, optional
        The cores of one machine with all processes; by default each process has its own machine.

    Returns
    -------
    Found
        Its link is that of the scheduler.
    """
    simulation = Simulation(link.latency, link.rate)
    shared = None if cores is None else Machine(cores)
    scheduler = shared or Machine(1)
    tasks = -(-int(rows) // int(chunk))
    names = [f"worker {i}" for i in range(min(workers, tasks))]
    simulation.add("scheduler", scheduler, _scheduler(costs, tasks, names))
    for name in names:
        simulation.add(name, shared or Machine(1), _worker(costs, chunk), serves=True)
    seconds = max(simulation.run(), rows * N / 8 / source)
    return Found(seconds, simulation.busy, scheduler.sent + scheduler.received)


def _scheduler(costs: Costs, tasks: int, names: list[str]) -> Process:
    """Give each worker a few tasks, and another one for each that ends."""
    waiting = tasks
    yield Work(costs.client * tasks)
    for name in names * _AT_HAND:
        if waiting:
            waiting -= 1
            yield Work(costs.scheduler / 2)
            yield Send(name, _MESSAGE)
    for _ in range(tasks):
        ended = yield Receive()
        yield Work(costs.scheduler / 2)
        if waiting:
            waiting -= 1
            yield Work(costs.scheduler / 2)
            yield Send(ended, _MESSAGE)


def _worker(costs: Costs, chunk: float) -> Process:
    while True:
        yield Receive("scheduler")
        yield Work(costs.worker + costs.row * chunk)
        yield Send("scheduler", _MESSAGE)
