"""Calls of kernels that are written down once and run in order, as often as wanted: in C where the kernels are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Protocol

import numpy as np

from bitlearn import threads as threading
from bitlearn.ops.dispatch import attribute, in_c, lookup, split

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
        return self.program.run()


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


def _run(segments: Sequence[_Segment]) -> int:
    """Run segments up to the first call whose check fails, and return its index, or else the number of calls."""
    done = 0
    for segment in segments:
        ran = segment.run()
        done += ran
        if ran < len(segment):
            break
    return done


class Program:
    """Calls in order, resolved for the choice of a backend that was in force when it was made.

    The memory of the arrays is the caller's to keep. A program is run by one thread at a time.
    """

    __slots__ = ("_segments", "_whole")

    def __init__(self, segments: list[_Segment], whole: int) -> None:
        self._segments, self._whole = segments, whole

    def __len__(self) -> int:
        return sum(map(len, self._segments))

    def run(self) -> int:
        """Run the calls up to the first whose check fails, and return its index, or else their number."""
        before, whole = self._segments[: self._whole], self._segments[self._whole :]
        done = _run(before)
        if done < sum(map(len, before)):
            return done
        return done + (threading.uninterrupted(lambda: _run(whole)) if whole else 0)


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


def compile_program(calls: Iterable[Call], threads: int | None = None, *, whole: bool = False) -> Program:
    """Write calls down as a program.

    Parameters
    ----------
    calls : iterable of (str or callable, tuple, ndarray or None)
        A kernel's name, or a callable that is run in Python; validated arguments, whose arrays are C-contiguous; and
        an array of one byte that must not be 0 after the call, or None.
    threads : int, optional
        How many threads share the rows of each kernel that has the work; None for the process's default.
    whole : bool
        Whether a signal's handler that raises must not part the kernels after the last callable.

    Returns
    -------
    Program
    """
    threads = threading.resolve(threads)
    segments: list[_Segment] = []
    interruptible = 0
    resolved = (_resolved(*call) for call in calls)
    for (of_c, is_kernel), group in groupby(resolved, key=lambda call: (call.in_c, call.is_kernel)):
        if of_c:
            # One by one: the views that a call names need not outlive it.
            written = ((call.function, call.arguments, call.check) for call in group)
            segments.append(_InC(attribute("cext", "compile")(written, threads)))  # type: ignore[operator]
        else:
            segments.append(_InPython([(call.in_python(threads), call.check) for call in group]))
        interruptible = interruptible if is_kernel else len(segments)
    in_one_call = len(segments) - interruptible == 1 and isinstance(segments[-1], _InC)
    return Program(segments, len(segments) if in_one_call or not whole else interruptible)


def run_beside(groups: Sequence[Sequence[tuple[str, tuple]]], threads: int) -> None:
    """Run groups of calls of kernels on so many threads, beside each other; those of a group in order."""
    resolved = [[(lookup(kernel), arguments) for kernel, arguments in group] for group in groups]
    if all(in_c(function) for group in resolved for function, _ in group) and attribute("cext", "HAS_THREADS"):
        attribute("cext", "run_groups")(resolved, threads)  # type: ignore[operator]
        return

    def work(start: int, stop: int) -> None:
        for function, arguments in chain.from_iterable(resolved[start:stop]):
            function(*arguments)

    threading.over_ranges(work, len(resolved), threads)
