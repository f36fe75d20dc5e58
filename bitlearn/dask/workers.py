"""The workers of a Dask cluster as those of a data-parallel training.

Dask finds a place for each replica, as one long task that leaves its worker's threads to others; messages go straight
between that task and the process that leads the training. So a lost worker is known by its closed socket, at once, and
the bytes of a step are counted where they leave.
"""

from __future__ import annotations

import itertools
import math
import secrets
import socket
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import distributed

from bitlearn import version
from bitlearn.dask.clusters import SchedulerError, VersionError, known_workers
from bitlearn.dask.wire import Connection, Listener, connect
from bitlearn.errors import sentence
from bitlearn.ops import check
from bitlearn.training import workers as training
from bitlearn.training.messages import packed, unpacked
from bitlearn.training.replica import MADE, Blank, conversation

#: The topic of Dask's event log under which lost workers are told of: ``client.get_events(EVENTS)``.
EVENTS = "bitlearn"
#: Seconds between two looks at whether a task that does not report has failed.
_LOOK = 0.2
#: Seconds for which a worker is left alone that did not take a replica.
_REST = 5.0


class Workers(training.Workers):
    """Workers of a Dask cluster, for `DataParallel <bitlearn.training.DataParallel>`.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    count : int, optional
        How many replicas there are; by default one for each worker that the cluster has now. They are distributed
        evenly, several on one worker if there are fewer workers.
    timeout : float
        Seconds within which a worker has to answer. One that does not is considered lost, and its replica is placed
        again.
    patience : float
        Seconds to wait for a worker that can take a replica, if there is none.
    host : str, optional
        The address at which workers can reach this machine; by default the one used to reach the scheduler.

    Raises
    ------
    ValueError
        If the cluster requires encryption, which these messages do not have.
    SchedulerError
        A `ConnectionError`, if the scheduler cannot be reached.
    TimeoutError
        If the cluster has no worker and gets none. During training, these two are raised by `DataParallel.step`.

    Notes
    -----
    A worker receives a task that describes the network, its optimiser and its loss, without arrays; custom layers must
    be importable there. Workers with another version of bitlearn are rejected. Each replica uses as many threads as
    bitlearn's settings on its worker say, by default one.

    Examples
    --------
    >>> import numpy as np
    >>> import bitlearn as bl
    >>> from distributed import Client
    >>> x = np.array([[100, -100, 3, 7], [-90, 80, 3, -7], [99, -80, 9, 1]], dtype=np.int8)
    >>> model = bl.models.mlp((4,), 2, hidden=(8,), precision="int8")
    >>> with Client(processes=False, n_workers=2, dashboard_address=None) as client, Workers(client) as workers:
    ...     with bl.training.DataParallel(model, bl.optim.adam(), workers=workers) as trainer:
    ...         loss = trainer.step(x, np.array([0, 1, 0]), 0.001)
    >>> 0 < loss < 2
    True
    """

    def __init__(
        self,
        client: distributed.Client,
        count: int | None = None,
        *,
        timeout: float = 60.0,
        patience: float = 60.0,
        host: str | None = None,
    ):
        for name, value in (("timeout", timeout), ("patience", patience)):
            if not value > 0:
                raise ValueError(f"{name} must be above 0 seconds, got {value}")
        if client.security.require_encryption:
            raise ValueError(
                "a cluster must not require encryption, which the messages of training do not have, got one"
            )
        self.client, self.timeout, self.patience = client, timeout, patience
        #: When a replica could not be placed at a worker: the scheduler may not know yet that it is gone.
        self._failed: dict[str, float] = {}
        known = self._alive()
        super().__init__(len(known) if count is None else check.count("count", count, least=1))
        self._word = secrets.token_bytes(32)
        self._listener = Listener(host or _own_address(client.scheduler.address), self._word)
        self._numbers = itertools.count(secrets.randbits(32))
        self.places: dict[int, str] = {}

    def _known(self) -> list[str]:
        """Return the addresses of the workers that the scheduler knows of."""
        return sorted(known_workers(self.client))

    def _alive(self) -> list[str]:
        """Return the addresses of the workers that there are and may be used, waiting for a first one."""
        end_at = time.monotonic() + self.patience
        while True:
            since = time.monotonic() - _REST
            found = [worker for worker in self._known() if self._failed.get(worker, -math.inf) < since]
            if found:
                return found
            if time.monotonic() > end_at:
                raise TimeoutError(f"a cluster must have a worker within {self.patience} seconds, got none")
            time.sleep(_LOOK)

    def open(self, number: int, blank: Blank) -> training.Link:
        """Place a replica on the worker that has the fewest, and return the link to it."""
        alive = self._alive()
        used = Counter(place for other, place in self.places.items() if other != number)
        worker = min(alive, key=lambda address: (used[address], alive.index(address)))
        self.places[number] = worker
        task = next(self._numbers)
        self._listener.expect(task)
        future = None
        try:
            future = self.client.submit(
                _serve, self._listener.address, self._word, task, blank, workers=[worker], pure=False, retries=0
            )
            return _DaskLink(self._met(task, future, worker), future, worker)
        except (VersionError, SchedulerError):
            raise
        except Exception as error:  # whatever Dask makes of a worker that goes meanwhile, or the task raises there
            self._listener.give_up(task)
            self._failed[worker] = time.monotonic()
            if future is not None:
                future.cancel()
            raise training.WorkerLostError(f"worker {worker} must take up a replica, got {sentence(error)}") from None

    def _met(self, task: int, future: Any, worker: str) -> Connection:
        """Return the connection of a task that has reported; raise where it fails, or does not in time."""
        end_at = time.monotonic() + self.timeout
        while True:
            end = self._listener.arrived(task, _LOOK)
            if end is not None:
                break
            if future.status in ("error", "cancelled", "lost"):
                future.result(timeout=self.timeout)
                raise OSError(f"a task that is {future.status}")
            if worker not in self._known():
                raise OSError("it is gone")
            if time.monotonic() > end_at:
                raise TimeoutError(f"no answer within {self.timeout} seconds")
        connection = Connection(end, self.timeout)
        try:
            _, _, values = unpacked(connection.receive())
        except EOFError as error:
            raise OSError(str(error)) from None
        if values != _identity():
            connection.close()
            raise VersionError(f"worker {worker} must have {_identity()}, got {values}")
        return connection

    def close(self) -> None:
        """Close the port at which workers report."""
        self._listener.close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _identity() -> dict[str, str]:
    """Return what must be the same at both ends."""
    return {"bitlearn": version.VERSION}


def _own_address(scheduler: str) -> str:
    """Return the address of this machine from which a scheduler is reached."""
    parts = urlsplit(scheduler)
    if parts.scheme == "inproc" or not parts.hostname:
        return "127.0.0.1"
    with socket.socket(socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((parts.hostname, parts.port or 1))
        return probe.getsockname()[0]


class _DaskLink(training.Link):
    def __init__(self, connection: Connection, future: Any, worker: str):
        self._connection, self._future, self.worker = connection, future, worker

    def _lost(self, error: Exception) -> training.WorkerLostError:
        reason = str(error) or type(error).__name__
        if self._future.client.status == "running":
            with suppress(OSError):  # of a scheduler that goes too
                self._future.client.log_event(EVENTS, {"lost": self.worker, "reason": reason})
        return training.WorkerLostError(f"worker {self.worker} must answer, got {reason}")

    def send(self, message: bytes) -> None:
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._lost(error) from None

    def receive(self) -> bytes:
        try:
            return self._connection.receive()
        except (OSError, EOFError) as error:
            raise self._lost(error) from None

    def close(self) -> None:
        self._connection.close()
        if self._future.client.status == "running":
            with suppress(OSError, distributed.CancelledError):
                self._future.cancel()


def _serve(address: Sequence[str | int], word: bytes, task: int, blank: Blank) -> None:
    """Hold a replica at a worker, until whoever leads the training hangs up."""
    distributed.secede()
    connection = connect((str(address[0]), int(address[1])), word, task)
    told = _Told(distributed.get_worker())
    try:
        connection.send(packed(b"h", values=_identity()))
        talk: Generator[bytes, bytes, None] = conversation(blank.replica())
        next(talk)
        while True:
            message = connection.receive()
            answer = talk.send(message)
            told.count(len(message), len(answer), answer[:1] == MADE)
            connection.send(answer)
    except (OSError, EOFError):
        return  # the training has ended, or goes on without this worker
    finally:
        connection.close()


class _Told:
    """What a replica does, as metrics of its worker: Dask sends them on, and its dashboard shows them."""

    def __init__(self, worker: distributed.Worker):
        self.steps, self.received, self.sent = 0, 0, 0
        self._at, self._steps, self._rate = time.monotonic(), 0, 0.0
        worker.metrics |= {
            "bitlearn steps": lambda _: self.steps,
            "bitlearn steps a second": lambda _: self._pace(),
            "bitlearn bytes received": lambda _: self.received,
            "bitlearn bytes sent": lambda _: self.sent,
        }

    def count(self, received: int, sent: int, is_step: bool) -> None:
        self.steps += is_step
        self.received += received
        self.sent += sent

    def _pace(self) -> float:
        """Return the steps a second since this was asked the last time, or a second ago."""
        now = time.monotonic()
        if now - self._at >= 1:
            self._rate = (self.steps - self._steps) / (now - self._at)
            self._at, self._steps = now, self.steps
        return round(self._rate, 2)
