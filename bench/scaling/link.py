"""The measured cost of a message between two processes on this machine, over the connection that workers use."""

from __future__ import annotations

import multiprocessing
import secrets
import time
from dataclasses import dataclass

from bitlearn.dask.wire import Connection, Listener, connect

_SMALL, _LARGE = 100, 2**22


def _echo(address: tuple[str, int], word: bytes) -> None:
    connection = connect(address, word, 1)
    while message := connection.receive():
        connection.send(message)
    connection.close()


@dataclass(frozen=True)
class Link:
    """The cost of a message.

    Parameters
    ----------
    latency : float
        Seconds in transit.
    message : float
        Core seconds at each end for one message sent and one received.
    copy : float
        Core seconds per byte, at either end.
    rate : float
        Bytes per second of a port, between machines.
    """

    latency: float
    message: float = 0.0
    copy: float = 0.0
    rate: float = float("inf")


def measured(rounds: int = 200) -> Link:
    """Measure the round trip of small and of large messages: the minimum of many, and the processor time."""
    word = secrets.token_bytes(32)
    listener = Listener("127.0.0.1", word)
    listener.expect(1)
    process = multiprocessing.get_context("spawn").Process(target=_echo, args=(listener.address, word))
    process.start()
    end = listener.arrived(1, 60)
    if end is None:
        raise TimeoutError("a process must report within 60 seconds, got none")
    connection = Connection(end, 60)
    try:
        least, busy = [], []
        for size, count in ((_SMALL, 5 * rounds), (_LARGE, rounds // 4)):
            message, each = bytes(size), []
            at_work = time.process_time()
            for _ in range(count):
                begun = time.perf_counter()
                connection.send(message)
                connection.receive()
                each.append(time.perf_counter() - begun)
            busy.append((time.process_time() - at_work) / count)
            least.append(min(each) / 2)
    finally:
        connection.send(b"")
        connection.close()
        process.join(10)
        listener.close()
    # For one end, a round trip is one message sent and one received; so is half a round trip for both ends together.
    small, large = busy
    return Link(max(least[0] - small, 0.0), small, (large - small) / (_LARGE - _SMALL) / 2)
