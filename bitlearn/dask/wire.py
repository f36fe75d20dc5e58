"""Messages over a socket, each with its length before it; who connects says a word first that only a cluster knows."""

from __future__ import annotations

import hmac
import socket
import struct
import threading
import time
from contextlib import suppress

_LENGTH = struct.Struct("<Q")
#: What a worker says first: the word of the training, and the number of the task that it is.
_GREETING = struct.Struct("<32sQ")
#: A message of more bytes is none of ours.
_MOST = 2**40


class Connection:
    """One end of a socket on which messages go.

    Parameters
    ----------
    end : socket
    timeout : float or None
        Seconds that a message may take to come, or to be taken.
    """

    def __init__(self, end: socket.socket, timeout: float | None):
        end.settimeout(timeout)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._end = end

    def send(self, message: bytes) -> None:
        """Send a message; OSError where the other end is gone."""
        if len(message) < 2**14:  # one packet for both
            self._end.sendall(_LENGTH.pack(len(message)) + message)
        else:
            self._end.sendall(_LENGTH.pack(len(message)))
            self._end.sendall(message)

    def receive(self) -> bytes:
        """Return the next message; OSError (EOFError where the other end has closed) where none comes."""
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        if length > _MOST:
            raise OSError(f"a message must have at most {_MOST} bytes, got {length}")
        return self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        room = bytearray(count)
        view, at = memoryview(room), 0
        while at < count:
            got = self._end.recv_into(view[at:])
            if not got:
                raise EOFError("the other end has closed")
            at += got
        return bytes(room)

    def close(self) -> None:
        """Close the socket; the other end is told."""
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()


#: The bytes before each message.
OVERHEAD = _LENGTH.size


def connect(address: tuple[str, int], word: bytes, task: int) -> Connection:
    """Return a connection to a `Listener`, as a task that it waits for."""
    end = socket.create_connection(address, timeout=60)
    end.sendall(_GREETING.pack(word, task))
    return Connection(end, None)


class Listener:
    """A port at which tasks report.

    Parameters
    ----------
    host : str
        An address of this machine.
    word : bytes
        32 random bytes: whoever does not say them is hung up on.
    """

    def __init__(self, host: str, word: bytes):
        self._socket = socket.create_server((host, 0), backlog=256)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._word, self._arrived = word, dict[int, socket.socket]()
        self._waited_for: set[int] = set()
        self._news, self._is_open = threading.Condition(), True
        threading.Thread(target=self._listen, name="bitlearn listener", daemon=True).start()

    def _listen(self) -> None:
        while self._is_open:
            try:
                end, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._greet, args=(end,), daemon=True).start()

    def _greet(self, end: socket.socket) -> None:
        """Take in whoever says the word and is waited for, within ten seconds."""
        try:
            end.settimeout(10)
            greeting = b""
            while len(greeting) < _GREETING.size:
                more = end.recv(_GREETING.size - len(greeting))
                if not more:
                    raise EOFError
                greeting += more
            word, task = _GREETING.unpack(greeting)
            if not hmac.compare_digest(word, self._word):
                raise OSError
        except (OSError, EOFError):
            end.close()
            return
        with self._news:
            if task in self._waited_for:
                self._arrived[task] = end
                self._news.notify_all()
            else:
                end.close()

    def expect(self, task: int) -> None:
        """Take in a task of this number when it reports."""
        with self._news:
            self._waited_for.add(task)

    def arrived(self, task: int, timeout: float) -> socket.socket | None:
        """Return the socket of a task, or None where it has not reported in so many seconds."""
        end_at = time.monotonic() + timeout
        with self._news:
            while task not in self._arrived:
                if not self._news.wait(max(end_at - time.monotonic(), 0)):
                    return None
            self._waited_for.discard(task)
            return self._arrived.pop(task)

    def give_up(self, task: int) -> None:
        """Hang up on a task if it reports still."""
        with self._news:
            self._waited_for.discard(task)
            late = self._arrived.pop(task, None)
        if late is not None:
            late.close()

    def close(self) -> None:
        """Close the port."""
        self._is_open = False
        with suppress(OSError):  # which wakes the thread that waits
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
