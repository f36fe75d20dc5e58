"""Calls of kernels that are written down once and run in order, as often as wanted: in C where the kernels are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np

from bitlearn import threads as threading
from bitlearn.ops.dispatch import attribute, in_c, lookup, run_in_c, split

#: A kernel's name, or any callable; its arguments; and a byte that must not be 0 after the call, or None.
Call = tuple[str | Callable, tuple, np.ndarray | None]


class _Segment(Protocol):
    def __len__(self) -> int: ...

    def run(self) -> int: ...


@dataclass(frozen=True)
class _InC:
    """Neighbouring calls of kernels in C."""

    program: _Segment

    def __len__(self) -> int:
        return len(self.program)

    def run(self) -> int:
        return run_in_c(self.program)


@dataclass(frozen=True)
class _InPython:
    """Neighbouring calls of anything else."""

    calls: list[tuple[Callable[[], None], np.ndarray | None]]

    def __len__(self) -> int:
        return len(self.calls)

    def run(self) -> int:
        for index, (call, check) in enumerate(self.calls):
            call()
            if check is not None and not check.any():
                return index
        return len(self.calls)


class Program:
    """Calls in order, resolved for the choice of a backend that was in force when it was made.

    The memory of the arrays is the caller's to keep. A program is run by one thread at a time.
    """

    __slots__ = ("_segments",)

    def __init__(self, segments: list[_Segment]) -> None:
        self._segments = segments

    def __len__(self) -> int:
        return sum(map(len, self._segments))

    def run(self) -> int:
        """Run the calls up to the first whose check fails, and return its index, or else their number."""
        done = 0
        for segment in self._segments:
            ran = segment.run()
            done += ran
            if ran < len(segment):
                break
        return done


@dataclass(frozen=True)
class _Resolved:
    """A call with its kernel found."""

    function: Callable
    arguments: tuple
    check: np.ndarray | None
    is_kernel: bool
    in_c: bool

    def in_python(self, threads: int) -> Callable[[], None]:
        if self.is_kernel and threads > 1:
            return lambda: split(self.function, self.arguments, threads)
        return lambda: self.function(*self.arguments)


def _resolved(kernel: str | Callable, arguments: tuple, check: np.ndarray | None) -> _Resolved:
    if check is not None and (check.dtype.itemsize, check.size) != (1, 1):
        raise ValueError(f"a check must be an array of one byte, got shape {check.shape} and dtype {check.dtype}")
    if not isinstance(kernel, str):
        return _Resolved(kernel, arguments, check, False, False)
    function = lookup(kernel)
    return _Resolved(function, arguments, check, True, in_c(function))


def compile_program(calls: Iterable[Call], threads: int | None = None) -> Program:
    """Write calls down as a program.

    Parameters
    ----------
    calls : iterable of (str or callable, tuple, ndarray or None)
        A kernel's name, or a callable that is run in Python; validated arguments, whose arrays are C-contiguous; and
        an array of one byte that must not be 0 after the call, or None.
    threads : int, optional
        How many threads share the rows of each kernel that has the work; None for the process's default.

    Returns
    -------
    Program
    """
    threads = threading.resolve(threads)
    segments: list[_Segment] = []
    for of_c, group in groupby((_resolved(*call) for call in calls), key=lambda call: call.in_c):
        if of_c:
            written = [(call.function, call.arguments, call.check) for call in group]
            segments.append(_InC(attribute("cext", "compile")(written, threads)))  # type: ignore[operator]
        else:
            segments.append(_InPython([(call.in_python(threads), call.check) for call in group]))
    return Program(segments)
