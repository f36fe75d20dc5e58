"""Processes that work on cores and send messages over links, as events in time.

A machine has cores, which its processes get in the order of their requests, and one network port in each direction,
which carries one message at a time. Messages within a machine need no port.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field

Name = Hashable


@dataclass(frozen=True)
class Work:
    """Keep a core busy for this many seconds."""

    seconds: float


@dataclass(frozen=True)
class Send:
    """Hand a message to the network, and go on."""

    to: Name
    nbytes: float


@dataclass(frozen=True)
class Receive:
    """Wait for the next message of a process, or of any if it is None."""

    sender: Name | None = None


Act = Work | Send | Receive
#: What a process does, step by step; a `Receive` yields the name of the sender.
Process = Generator[Act, Name, None]


@dataclass
class Machine:
    """The cores of a machine, and when its ports are free again.

    Parameters
    ----------
    cores : int
    """

    cores: int
    waiting: deque[Callable[[], None]] = field(default_factory=deque)
    out_free: float = 0.0
    in_free: float = 0.0
    sent: float = 0.0
    received: float = 0.0


class Simulation:
    """The events and their times.

    Parameters
    ----------
    latency : float
        Seconds from sending the last byte to receiving it.
    rate : float
        Bytes per second of a port.

    Examples
    --------
    >>> def ping(): yield Work(1); yield Send("pong", 100); yield Receive("pong")
    >>> def pong(): yield Receive("ping"); yield Work(2); yield Send("ping", 100)
    >>> simulation = Simulation(latency=0.5, rate=100)
    >>> simulation.add("ping", Machine(1), ping())
    >>> simulation.add("pong", Machine(1), pong())
    >>> simulation.run()
    6.0
    """

    def __init__(self, latency: float, rate: float = float("inf")):
        self.latency, self.rate = latency, rate
        self.now, self.busy = 0.0, 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._processes: dict[Name, Process] = {}
        self._machines: dict[Name, Machine] = {}
        self._boxes: dict[Name, deque[Name]] = {}
        self._wanted: dict[Name, Name | None] = {}
        self._serving: set[Name] = set()

    def add(self, name: Name, machine: Machine, process: Process, *, serves: bool = False) -> None:
        """Add a process to a machine; one that serves may wait for messages when all others have ended."""
        self._processes[name], self._machines[name], self._boxes[name] = process, machine, deque()
        if serves:
            self._serving.add(name)

    def run(self) -> float:
        """Let all processes end, and return when the last one did.

        Raises
        ------
        RuntimeError
            If some wait for each other forever.
        """
        for name in self._processes:
            self._at(0.0, lambda name=name: self._go(name, None))  # type: ignore[misc]
        while self._events:
            self.now, _, happens = heapq.heappop(self._events)
            happens()
        if waiting := self._wanted.keys() - self._serving:
            raise RuntimeError(f"processes must end, got {sorted(map(str, waiting))} that wait")
        return self.now

    def _at(self, time: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), happens))

    def _go(self, name: Name, given: Name) -> None:
        """Let a process continue until it has to wait."""
        process = self._processes[name]
        while True:
            try:
                act = process.send(given)
            except StopIteration:
                return
            given = None
            if isinstance(act, Work):
                self._work(name, act.seconds)
                return
            if isinstance(act, Send):
                self._send(name, act)
                continue
            found = self._taken(name, act.sender)
            if found is None:
                self._wanted[name] = act.sender
                return
            given = found

    def _work(self, name: Name, seconds: float) -> None:
        machine = self._machines[name]
        self.busy += seconds

        def ended() -> None:
            if machine.waiting:
                machine.waiting.popleft()()
            else:
                machine.cores += 1
            self._go(name, None)

        def begun() -> None:
            self._at(self.now + seconds, ended)

        if machine.cores:
            machine.cores -= 1
            begun()
        else:
            machine.waiting.append(begun)

    def _send(self, name: Name, act: Send) -> None:
        here, there = self._machines[name], self._machines[act.to]
        end = self.now
        if here is not there:
            end = max(end, here.out_free, there.in_free) + act.nbytes / self.rate
            here.out_free = there.in_free = end
            here.sent += act.nbytes
            there.received += act.nbytes
        self._at(end + self.latency, lambda: self._arrived(act.to, name))

    def _arrived(self, name: Name, sender: Name) -> None:
        self._boxes[name].append(sender)
        if name in self._wanted:
            found = self._taken(name, self._wanted[name])
            if found is not None:
                del self._wanted[name]
                self._go(name, found)

    def _taken(self, name: Name, sender: Name | None) -> Name | None:
        box = self._boxes[name]
        if sender is None:
            return box.popleft() if box else None
        if sender in box:
            box.remove(sender)
            return sender
        return None
