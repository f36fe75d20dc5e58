"""Training in lock step over the processes of an MPI job, by mpi4py, which must be installed.

The replicas and what they say to each other are those of `DataParallel <bitlearn.training.DataParallel>`; here the way
between them is MPI's messages.
"""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Any

try:
    from mpi4py import MPI
except (ImportError, RuntimeError) as error:  # the second where there is no MPI library
    reason = str(error).splitlines()[0]
    raise ImportError(f"bitlearn.mpi needs mpi4py and an MPI library: {reason}; pip install mpi4py mpich") from None

from bitlearn import version
from bitlearn.training import workers as training
from bitlearn.training.replica import Blank, Replica, conversation

#: Of a replica that begins, of the messages to it and from it, and of the end of the job's training.
_BEGIN, _TO, _FROM, _LET_GO, _END = 1, 2, 3, 4, 5


class Workers(training.Workers):
    """The processes of an MPI job, for `DataParallel <bitlearn.training.DataParallel>`: each holds a replica.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        By default all processes of the job. Each of them must create this object.

    Raises
    ------
    ValueError
        In all processes, if one has another version of bitlearn.

    Notes
    -----
    ``with Workers() as workers:`` gives the process of rank 0 the workers, including itself. The others serve until
    training has ended, and then get None. If a process is lost, MPI ends the job: `fit <bitlearn.training.fit>`
    continues from its checkpoint, with any number of processes. Custom layers must be importable in every process.

    Examples
    --------
    Run by ``mpiexec -n 4 python train.py``:

    >>> import numpy as np
    >>> import bitlearn as bl
    >>> from bitlearn.mpi import Workers
    >>> x = np.array([[100, -100, 3, 7], [-90, 80, 3, -7], [99, -80, 9, 1]], dtype=np.int8)
    >>> with Workers() as workers:
    ...     if workers is not None:
    ...         model = bl.models.mlp((4,), 2, hidden=(8,), precision="int8")
    ...         with bl.training.DataParallel(model, bl.optim.adam(), workers=workers) as trainer:
    ...             loss = trainer.step(x, np.array([0, 1, 0]), 0.001)
    """

    def __init__(self, comm: Any = None):
        self.comm = (MPI.COMM_WORLD if comm is None else comm).Dup()  # nobody else's messages get between
        super().__init__(self.comm.size)
        every = self.comm.allgather(version.VERSION)
        other = next((rank for rank, each in enumerate(every) if each != every[0]), None)
        if other is not None:
            raise ValueError(f"process {other} must have bitlearn {every[0]} as process 0 has, got {every[other]}")

    def open(self, number: int, blank: Blank) -> training.Link:
        """Place a replica on the process of this rank."""
        if number == 0:
            return _OwnLink(blank.replica())
        self.comm.send(blank, number, _BEGIN)
        return _MpiLink(self.comm, number)

    def __enter__(self) -> Workers | None:
        if self.comm.rank == 0:
            return self
        _serve(self.comm)
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.comm.rank == 0:
            for rank in range(1, self.comm.size):
                self.comm.send(None, rank, _END)
        self.comm.Free()


class _OwnLink(training.Link):
    """The way to the replica of the leading process, which works when all others have been told."""

    def __init__(self, replica: Replica):
        self._talk: Generator[bytes, bytes, None] = conversation(replica)
        next(self._talk)
        self._message = b""

    def send(self, message: bytes) -> None:
        self._message = message

    def receive(self) -> bytes:
        return self._talk.send(self._message)


class _MpiLink(training.Link):
    def __init__(self, comm: Any, rank: int):
        self._comm, self._rank = comm, rank
        #: What goes to the process while others are told, kept until it has gone and an answer has come.
        self._going: tuple[Any, bytes] | None = None

    def send(self, message: bytes) -> None:
        self._going = self._comm.Isend([message, MPI.BYTE], self._rank, _TO), message

    def receive(self) -> bytes:
        found = _received(self._comm, self._rank, _FROM)
        if self._going is not None:
            self._going[0].Wait()
            self._going = None
        return found

    def close(self) -> None:
        if self._going is not None:  # an answer is owed, without which the process would wait for ever
            self.receive()
        self._comm.send(None, self._rank, _LET_GO)


def _received(comm: Any, rank: int, tag: int) -> bytes:
    """Return the bytes of the next message, however many."""
    status = MPI.Status()
    comm.Probe(rank, tag, status)
    room = bytearray(status.Get_count(MPI.BYTE))
    comm.Recv([room, MPI.BYTE], rank, tag)
    return bytes(room)


def _serve(comm: Any) -> None:
    """Hold a replica, and another when it is let go, until the training ends."""
    status = MPI.Status()
    talk: Generator[bytes, bytes, None] | None = None
    while True:
        comm.Probe(0, MPI.ANY_TAG, status)
        tag = status.Get_tag()
        if tag == _TO:
            message = _received(comm, 0, _TO)
            assert talk is not None
            comm.Send([talk.send(message), MPI.BYTE], 0, _FROM)
            continue
        blank = comm.recv(source=0, tag=tag)
        if tag == _END:
            return
        talk = None
        if tag == _BEGIN:
            talk = conversation(blank.replica())
            next(talk)
