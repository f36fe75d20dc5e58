"""An exception at each point of some work where a signal's handler could raise one, one point after the other.

CPython runs handlers in the main thread, and only at certain points: as a Python function is entered, as a loop jumps
back, and behind a call, whose result is lost then. These are the points here, found by profile and trace functions in
place of a real signal, so that every run stops at the same one. (Raising between any two instructions would be wrong:
a ``with`` statement would be left before it releases its lock, which no signal can do.)

``points(work)`` counts them, ``interrupt(work, n)`` raises `Interruption` at the n-th, ``at_every_point`` does both.
With ``Failure`` in its place it is an allocation that fails: any function in C raises MemoryError as it is called, but
for those that end something and allocate nothing.
"""

from __future__ import annotations

import dis
import faulthandler
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from inspect import CO_GENERATOR
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeVar

import bitlearn

T = TypeVar("T")

Paths = str | tuple[str, ...]
PACKAGE = str(Path(bitlearn.__file__).parent)
#: Work that does not end within so many seconds waits for something that will not come: the process is ended.
PATIENCE = 120
MOST_POINTS, LAST_POINTS = 100, 20
_JUMPS_BACK = ("JUMP_BACKWARD", "POP_JUMP_BACKWARD")
_CALLS = ("CALL", "CALL_FUNCTION_EX", "CALL_KW")


class Interruption(KeyboardInterrupt):
    """What the handler raises."""


class Failure(MemoryError):
    """What a function in C raises that finds no memory."""


_ALLOCATE_NOTHING = ("__exit__", "release", "pop", "popleft", "clear", "get_ident", "close", "unlink")


@cache
def _instructions(code: CodeType) -> dict[int, tuple[str, int | None, int]]:
    """Return each instruction's name, its handler of exceptions and the next one's place, by its place."""
    table = dis.Bytecode(code).exception_entries
    found = list(dis.get_instructions(code))
    following = [each.offset for each in found[1:]] + [-1]

    def handler(offset: int) -> int | None:
        return next((entry.target for entry in table if entry.start <= offset < entry.end), None)

    return {each.offset: (each.opname, handler(each.offset), at) for each, at in zip(found, following, strict=True)}


class _Points:
    """Counts the points as they come, and raises at one of them.

    Parameters
    ----------
    stop : int or None
        The number of the point at which to raise, from 0.
    inside : str
        The beginning of the paths of the files whose points count.
    kind : class
        `Interruption` or `Failure`.
    """

    def __init__(self, stop: int | None, inside: Paths, kind: type[BaseException]) -> None:
        self.count, self.stop, self.inside, self.kind = 0, stop, inside, kind
        self._called: dict[FrameType, int] = {}  # frames whose last instruction was a call, and where the next one is

    def _counts(self, frame: FrameType) -> bool:
        path = frame.f_code.co_filename
        return path.startswith(self.inside) and path != __file__

    def _reached(self) -> None:
        self.count += 1
        if self.count - 1 == self.stop:
            sys.setprofile(None)
            sys.settrace(None)
            raise self.kind

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        """A function has been entered, or one in C has returned."""
        if not self._counts(frame):
            return
        if self.kind is Failure:
            if event == "c_call" and argument.__name__ not in _ALLOCATE_NOTHING:
                self._reached()
        elif event == "c_return":
            self._called.pop(frame, None)
            self._reached()
        elif event == "call" and not frame.f_code.co_flags & CO_GENERATOR:  # which is entered to be closed, too
            self._reached()

    def trace(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        """An instruction is about to run."""
        if self.kind is Failure or not self._counts(frame):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event != "opcode":
            return self.trace
        name, handler, following = _instructions(frame.f_code)[frame.f_lasti]
        called = self._called.pop(frame, None)
        if called == frame.f_lasti:  # behind a call of anything but a function in C
            self._reached()
        if name.startswith(_JUMPS_BACK):
            self._reached()
        if name in _CALLS and following >= 0 and _instructions(frame.f_code)[following][1] == handler:
            self._called[frame] = following
        return self.trace

    def run(self, work: Callable[[], T]) -> T:
        """Run some work."""
        before = sys.getprofile(), sys.gettrace()
        sys.settrace(self.trace)
        sys.setprofile(self.profile)
        try:
            return work()
        finally:
            sys.setprofile(before[0])
            sys.settrace(before[1])


def points(work: Callable[[], object], *, inside: Paths = PACKAGE, kind: type[BaseException] = Interruption) -> int:
    """Return how many points some work has."""
    counted = _Points(None, inside, kind)
    counted.run(work)
    return counted.count


def interrupt(
    work: Callable[[], object], n: int, *, inside: Paths = PACKAGE, kind: type[BaseException] = Interruption
) -> bool:
    """Run some work and raise an exception at its n-th point, from 0; return whether there was such a point.

    It must come out as it is; the work must end within some time.
    """
    counted = _Points(n, inside, kind)
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    try:
        counted.run(work)
    except kind:
        return True
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert counted.count <= n, f"the exception at point {n} was lost"
    return False


def at_every_point(
    begin: Callable[[], T],
    work: Callable[[T], object],
    *,
    every: int = 0,
    first: int = 0,
    inside: Paths = PACKAGE,
    kind: type[BaseException] = Interruption,
) -> Iterator[tuple[int, T]]:
    """Interrupt some work at each of its points; yield the number of each and what it left.

    Parameters
    ----------
    begin : callable
        Makes what the work is done on, anew for each point.
    work : callable
        Called with it.
    every, first : int
        At every k-th alone from the first on, and at the last `LAST_POINTS`. By default at all, or at about
        `MOST_POINTS`, evenly spread.
    inside : str
        The beginning of the paths of the files whose points count: the package's.
    kind : class
        `Interruption` or `Failure`.
    """
    whole = begin()
    count = points(lambda: work(whole), inside=inside, kind=kind)
    every = every or max(1, count // MOST_POINTS)
    for n in sorted({*range(first, count, every), *range(max(count - LAST_POINTS, first), count + 1)}):
        state = begin()
        if interrupt(lambda state=state: work(state), n, inside=inside, kind=kind):  # type: ignore[misc]
            yield n, state


def at_points(numbers: Iterable[int], work: Callable[[], T], *, inside: Paths = PACKAGE) -> Iterator[tuple[int, T]]:
    """Interrupt work that catches the exception at some points, as far as there are such; yield what it returns."""
    for n in numbers:
        counted = _Points(n, inside, Interruption)
        found = counted.run(work)
        if counted.count <= n:
            return
        yield n, found
