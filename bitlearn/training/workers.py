"""Where the replicas of a data-parallel training live, the ways to them, and how many bytes go there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from bitlearn.ops import check
from bitlearn.training.replica import Blank, Replica, conversation


class WorkerLostError(ConnectionError):
    """A worker does not answer any more, or not in time."""


class Link(ABC):
    """What stands between a training and the worker that holds one of its replicas."""

    @abstractmethod
    def send(self, message: bytes) -> None:
        """Send a message; `WorkerLostError` where the worker is gone."""

    @abstractmethod
    def receive(self) -> bytes:
        """Return the answer to the last message; `WorkerLostError` where none comes."""

    def close(self) -> None:  # noqa: B027
        """Let the worker go."""


class Workers(ABC):
    """Where replicas live: `count` of them, each at a worker that may be lost and found again.

    Parameters
    ----------
    count : int
        Into how many parts each batch is cut.
    """

    def __init__(self, count: int):
        self.count = check.count("count", count, least=1)

    @abstractmethod
    def open(self, number: int, blank: Blank) -> Link:
        """Have a replica of this number at a worker, whichever can take it, and return the way to it."""


class LocalWorkers(Workers):
    """Workers that are no more than copies in this process: for tests, and to simulate what a cluster would do.

    Parameters
    ----------
    count : int

    Examples
    --------
    >>> LocalWorkers(3).count
    3
    """

    def open(self, number: int, blank: Blank) -> Link:
        """Return the way to a replica in this process."""
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
    """Bytes that have gone between a training and its workers, headers included.

    Parameters
    ----------
    steps : int
        Steps that were made, those that were taken again included.
    sent, received : int
        What the workers got to go on with a step, and what they gave: of all workers together.
    examples : int
        The batches.
    states : int
        All arrays of a training, as workers agree on them, and as a new worker is given them by a living one.
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
        """Return what a progress bar shows."""
        each = (self.sent + self.received) / max(self.steps, 1)
        return f"{each / 2**20:.3g} MiB a step" + (f", workers lost {self.lost} times" if self.lost else "")
