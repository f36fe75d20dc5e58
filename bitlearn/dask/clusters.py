"""The way to a cluster: by the address of its scheduler, or a new one of processes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import dask
import distributed

from bitlearn.errors import sentence
from bitlearn.ops import check

#: A killed process comes back, however often; what Dask logs of that is told by us.
_LOCAL = {"distributed.deploy.lost-worker-timeout": "1 hour", "logging.distributed": "error"}


class SchedulerError(ConnectionError):
    """The scheduler of a cluster cannot be reached."""


class VersionError(ValueError):
    """A worker has another version of bitlearn."""


def connect(address: str, *, timeout: float = 5.0) -> distributed.Client:
    """Connect to the scheduler of a cluster.

    Parameters
    ----------
    address : str
        Such as ``tcp://scheduler.example.org:8786``; the default protocol is TCP.
    timeout : float
        Seconds.

    Returns
    -------
    distributed.Client

    Raises
    ------
    ValueError
        If that is not an address.
    SchedulerError
        A `ConnectionError`, if nobody answers within that time.

    Examples
    --------
    >>> connect("tcp://127.0.0.1:1", timeout=0.2)
    Traceback (most recent call last):
    ...
    bitlearn.dask.clusters.SchedulerError: the scheduler tcp://127.0.0.1:1 must answer within 0.2 seconds, got none
    """
    whole = address if "://" in address else f"tcp://{address}"
    try:
        parts = urlsplit(whole)
        known = bool(parts.hostname) and (parts.port is not None or parts.scheme == "inproc")
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"a scheduler must have an address such as tcp://host:8786, got {address!r}")
    try:
        return distributed.Client(whole, timeout=timeout)
    except (OSError, TimeoutError):
        raise SchedulerError(f"the scheduler {whole} must answer within {timeout:g} seconds, got none") from None
    except ValueError as error:  # a protocol that Dask does not know
        raise ValueError(f"a scheduler must have an address that Dask knows, got {address!r}: {error}") from None


@contextmanager
def local(workers: int) -> Iterator[distributed.Client]:
    """Start processes of one thread each, and connect to them; one that is killed is restarted.

    Parameters
    ----------
    workers : int

    Yields
    ------
    distributed.Client
        The calling script needs ``if __name__ == "__main__":``, like any that starts processes.
    """
    check.count("workers", workers, least=1)
    with (
        dask.config.set(_LOCAL),
        distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def connected(scheduler: str | None = None, workers: int | None = None) -> Iterator[distributed.Client]:
    """Connect to the scheduler at an address, or to new processes on this machine: `connect` or `local`.

    Parameters
    ----------
    scheduler : str, optional
    workers : int, optional
        One of the two.

    Yields
    ------
    distributed.Client
    """
    if (scheduler is None) == (workers is None):
        raise ValueError(f"one of scheduler and workers must be given, got {scheduler!r} and {workers!r}")
    if scheduler is None:
        assert workers is not None
        with local(workers) as client:
            yield client
    else:
        with connect(scheduler) as client:
            yield client


def known_workers(client: distributed.Client) -> dict[str, int]:
    """Return the addresses of the workers that the scheduler knows of, and their numbers of threads.

    Raises
    ------
    SchedulerError
        If it cannot be reached.
    """
    if client.status != "running":
        raise SchedulerError(f"the scheduler must be reachable, got a client that is {client.status}")
    try:
        return client.nthreads()
    except (OSError, TimeoutError) as error:
        raise SchedulerError(f"the scheduler must be reachable, got {sentence(error)}") from None
