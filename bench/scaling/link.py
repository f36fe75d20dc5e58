"""What a message costs between two processes of this machine: the connection on which workers talk, measured."""

from __future__ import annotations

import multiprocessing
import secrets
import time

from bitlearn.dask.wire import Connection, Listener, connect

_SMALL, _LARGE = 100, 2**22


def _echo(address: tuple[str, int], word: bytes) -> None:
    connection = connect(address, word, 1)
    while message := connection.receive():
        connection.send(message)
    connection.close()


def measured(rounds: int = 200) -> tuple[float, float]:
    """Measure the way there and back of small and of large messages: the least of many.

    Returns
    -------
    latency : float
        Seconds that a small message takes, one way.
    copy : float
        Seconds for a byte more, at either end.
    """
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
        least = []
        for size, count in ((_SMALL, 5 * rounds), (_LARGE, rounds // 4)):
            message, each = bytes(size), []
            for _ in range(count):
                begun = time.perf_counter()
                connection.send(message)
                connection.receive()
                each.append(time.perf_counter() - begun)
            least.append(min(each) / 2)
    finally:
        connection.send(b"")
        connection.close()
        process.join(10)
        listener.close()
    small, large = least
    return small, (large - small) / (_LARGE - _SMALL) / 2
