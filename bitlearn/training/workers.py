"""The workers that hold the replicas in data-parallel training, the links to them, and the bytes sent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from bitlearn.ops import check
from bitlearn.training.replica import Blank, Replica, conversation


class WorkerLostError(ConnectionError):
    """A worker no longer answers, or did not answer in time."""


class Link(ABC):
    """The link between a training run and the worker that holds one of its replicas."""

    @abstractmethod
    def send(self, message: bytes) -> None:
        """Send a message; `WorkerLostError` if the worker is gone."""

    @abstractmethod
    def receive(self) -> bytes:
        """Return the answer to the last message; `WorkerLostError` if none comes."""

    def close(self) -> None:  # noqa: B027
        """Release the worker."""


class Workers(ABC):
    """The workers of `count` replicas, each of which may be lost and replaced.

    Parameters
    ----------
    count : int
        The number of parts that each batch is divided into.
    """

    def __init__(self, count: int):
        self.count = check.count("count", count, least=1)

    @abstractmethod
    def open(self, number: int, blank: Blank) -> Link:
        """Place the replica of this number on any worker that can take it, and return the link to it."""


class LocalWorkers(Workers):
    """Workers in this process, for tests and to simulate a cluster.

    Parameters
    ----------
    count : int

    Examples
    --------
    >>> LocalWorkers(3).count
    3
    """

    def open(self, number: int, blank: Blank) -> Link:
        """Return the link to a replica in this process."""
        return _LocalLink(blank.replica())


class _LocalLink(Link):
    def __init__(self, replica: Replica):
        self._conversation = conversation(replica)
        self._answer = next(self._conversation)

    def send(self, message: bytes) -> None:
        self._answer = self._conversation.send(message)

    def receive(self) -> bytes:
        return self._answer


@dataclass
class Traffic:
    """Bytes exchanged between a training run and its workers, including headers.

    Parameters
    ----------
    steps : int
        Steps made, including repeated ones.
    sent, received : int
        Bytes that all workers together received and returned within steps.
    examples : int
        Bytes of the batches.
    states : int
        All arrays of a training run, sent when workers agree on them and when a new worker receives them from a living
        one.
    lost : int
        How many times a worker was lost.
    """

    steps: int = 0
    sent: int = 0
    received: int = 0
    examples: int = 0
    states: int = 0
    lost: int = 0

    def __str__(self) -> str:
        """Return the text for a progress bar."""
        each = (self.sent + self.received) / max(self.steps, 1)
        return f"{each / 2**20:.3g} MiB per step" + (f", workers lost {self.lost} times" if self.lost else "")
