"""Runs of one function with many settings, over the workers of a cluster: results as they come, each kept at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import distributed

from bitlearn import version
from bitlearn.dask.clusters import VersionError, known_workers
from bitlearn.errors import brief
from bitlearn.runs import Runs

#: Seconds between two looks at what has ended, and between two at whether the scheduler is there.
_LOOK, _LOOK_AT_SCHEDULER = 0.05, 2.0


def sweep(
    client: distributed.Client,
    function: Callable[[Any], Any],
    settings: Sequence[Mapping[str, Any]],
    runs: Runs | str | os.PathLike[str] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Call a function with each of many settings on the workers, and yield the results as they come.

    Parameters
    ----------
    client : distributed.Client
    function : callable
        ``function(one)`` receives one of `settings`, and returns a value that JSON can hold. Workers import it from its
        module.
    settings : sequence of mapping
        Such as every method with every seed and budget: values that JSON can hold, and paths.
    runs : Runs or path-like, optional
        Where results are kept, each in its own file as soon as it comes. Existing results are yielded at once, and not
        computed again. In a folder given as a path, file names start with the function's name.

    Yields
    ------
    number : int
        The index of the settings; those already kept come first.
    result : object

    Raises
    ------
    Exception
        Whatever a run raises. The other runs are cancelled; finished results are kept, and another call continues from
        there.
    ChildProcessError
        If a run's worker was lost repeatedly.
    SchedulerError
        If the scheduler goes away.
    ValueError
        If a worker has another version of bitlearn, or a file does not hold a run.

    Notes
    -----
    A run is a task: if its worker is lost, it starts afresh on another one. A worker has as many runs at a time as Dask
    gives it threads. In a worker process bitlearn works on as many threads as the worker has, by default one: see
    `get_num_threads`. If this process ends, runs that have started are cancelled.

    Examples
    --------
    >>> import operator, tempfile
    >>> from distributed import Client
    >>> settings = [{"x": x} for x in (2, 3)]
    >>> with Client(processes=False, n_workers=1, dashboard_address=None) as client:
    ...     print(sorted(sweep(client, operator.itemgetter("x"), settings, tempfile.mkdtemp())))
    [(0, 2), (1, 3)]
    """
    if runs is not None and not isinstance(runs, Runs):
        runs = Runs(runs, getattr(function, "__name__", "run"))
    waiting = []
    for number, one in enumerate(settings):
        found = None if runs is None else runs.result(one)
        if found is None:
            waiting.append(number)
        else:
            yield number, found
    if not waiting:
        return
    known_workers(client)
    futures = {
        client.submit(_run, function, dict(settings[number]), version.VERSION, pure=False, priority=-number): number
        for number in waiting
    }
    try:
        for future in _ended(client, list(futures)):
            number = futures[future]
            result = _result(future, settings[number])
            if runs is not None:
                runs.keep(settings[number], result)
            del futures[future]
            yield number, result
    finally:
        if futures and client.status == "running":
            client.cancel(list(futures))


def _ended(client: distributed.Client, futures: list[distributed.Future]) -> Iterator[distributed.Future]:
    """Yield futures as they end; raise where the scheduler goes away."""
    looked = time.monotonic()
    while futures:
        ended: list[distributed.Future] = []
        left: list[distributed.Future] = []
        for future in futures:
            (ended if future.done() else left).append(future)
        # A client that has lost its scheduler calls all of its futures cancelled.
        if client.status != "running" or any(future.status in ("cancelled", "lost") for future in ended):
            known_workers(client)
        if not ended:
            if time.monotonic() - looked > _LOOK_AT_SCHEDULER:
                known_workers(client)
                looked = time.monotonic()
            time.sleep(_LOOK)
        futures = left
        yield from ended


def _result(future: distributed.Future, settings: Mapping[str, Any]) -> Any:
    try:
        return future.result()
    except distributed.scheduler.KilledWorker:
        raise ChildProcessError(
            f"the run of {brief(dict(settings))} must end by itself, got workers that were lost with it"
        ) from None
    except distributed.CancelledError:
        raise ChildProcessError(f"the run of {brief(dict(settings))} must end, got one that was cancelled") from None


def _run(function: Callable[[Any], Any], settings: dict[str, Any], wanted: str) -> Any:
    """Be a task at a worker."""
    if wanted != version.VERSION:
        where = distributed.get_worker().address
        raise VersionError(f"worker {where} must have bitlearn {wanted}, got {version.VERSION}")
    return function(settings)
