"""A record with memory, which can be run repeatedly: in C if every kernel is in C, otherwise in Python."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from bitlearn.errors import NonFiniteError
from bitlearn.ops.dispatch import chosen
from bitlearn.ops.programs import compile_program
from bitlearn.program.arena import Arena, place
from bitlearn.program.record import Array, Buffer, Cut, Recorder
from bitlearn.threads import get_num_threads

T = TypeVar("T")


class Program:
    """A recorded program, ready to run.

    Parameters
    ----------
    recorder : Recorder
        The record; nothing may be added to it from now on.
    arena : Arena, optional
        Shared with programs that do not run at the same time. Without one, the program has its own memory.

    Notes
    -----
    Programs of one arena run in one thread at a time; a second thread gets an error. A program's arrays, including
    inputs, lose their contents when another one of the same arena runs, except for those from `Recorder.setting` and
    `Recorder.constant`.
    """

    def __init__(self, recorder: Recorder, arena: Arena | None = None):
        self.calls = recorder.calls
        self.buffers = recorder.buffers
        self.cuts = recorder.cuts
        self._bounds = [0, *(cut.at for cut in recorder.cuts), len(recorder.calls)]
        self.arena = Arena() if arena is None else arena
        settings = [b for b in recorder.buffers if b.memory is None and b.first == -1 and b.last is None]
        for buffer in settings:  # arrays that keep their values between runs have memory of their own
            buffer.memory = np.zeros(buffer.nbytes, dtype=np.uint8)
        self._offsets, self.nbytes = place(recorder.buffers, len(recorder.calls))
        self._flags = [flag.outside() for flag in recorder.flags]
        self._views: dict[Array, np.ndarray] = {}
        self._ready: tuple[Any, ...] = ()
        self._compiled: list[Any] = []
        self._singles: list[Any] | None = None
        self._block = np.empty(0, dtype=np.uint8)

    def _view(self, array: Array) -> np.ndarray:
        if array.buffer.memory is not None:
            return array.outside()
        return array.view(self._block[self._offsets.get(array.buffer, 0) :])

    def _prepare(self) -> None:
        """Allocate memory, and convert the calls, with its addresses, to the form that runs."""
        threads = get_num_threads()
        wanted = (chosen(), threads, self.arena.generation)
        if self._ready == wanted and self.arena.nbytes >= self.nbytes:
            return
        self._ready = ()  # if this is interrupted, start over
        self._block = self.arena.reserve(self.nbytes)
        self._views.clear()
        self._singles = None
        lasting, written = any(call.phase == "update" for call in self.calls), self._written()
        self._compiled = [
            compile_program(islice(written, stop - start), threads, whole=lasting and stop == len(self.calls))
            for start, stop in zip(self._bounds[:-1], self._bounds[1:], strict=True)
        ]
        self._ready = (chosen(), threads, self.arena.generation)

    def _written(self) -> Iterator[tuple[Any, tuple[Any, ...], np.ndarray | None]]:
        """Yield the calls with actual arrays in place of recorded ones."""
        for call in self.calls:
            arguments = tuple(self._view(each) if isinstance(each, Array) else each for each in call.arguments)
            yield call.kernel, arguments, None if call.check is None else self._view(call.check)

    def __getitem__(self, array: Array) -> np.ndarray:
        """Return the live memory of an array, to write an input or read an output."""
        self._prepare()
        found = self._views.get(array)
        if found is None:
            found = self._views[array] = self._view(array)
        return found

    def exclusively(self, work: Callable[[], T]) -> T:
        """Call a function that writes the inputs, runs and reads the results, while other threads are kept out.

        Parameters
        ----------
        work : callable

        Returns
        -------
        object
            What it returns.

        Raises
        ------
        RuntimeError
            If another thread is using a program of the same arena.
        """
        arena, thread = self.arena, threading.get_ident()
        if arena.user not in (0, thread):
            raise RuntimeError("a program must be run by one thread at a time, got a second one")
        with arena.lock:  # a thread that comes in between waits
            before, arena.user = arena.user, thread
            try:
                return work()
            finally:
                arena.user = before

    def _run_part(self, part: int) -> None:
        self._prepare()
        if not part:
            for flag in self._flags:
                flag[0] = 1
        stopped = self._bounds[part] + self._compiled[part].run()
        if stopped < self._bounds[part + 1]:
            call = self.calls[stopped]
            raise NonFiniteError(call.what or "a value", f"in layer {call.path!r}" if call.path else "")

    def parts(self) -> Iterator[Cut]:
        """Run the calls up to each cut in turn, and yield it: its arrays must be complete before the next is requested.

        Raises
        ------
        NonFiniteError, MemoryError, RuntimeError
            As `run`.

        Notes
        -----
        No other program of the same arena may run before the last part has.
        """
        for part in range(len(self.cuts) + 1):
            self.exclusively(lambda part=part: self._run_part(part))  # type: ignore[misc]
            if part < len(self.cuts):
                yield self.cuts[part]

    def run(self) -> None:
        """Run all calls.

        Raises
        ------
        NonFiniteError
            If a call found a value that is NaN or infinite, naming the layer; the calls after it have not run.
        MemoryError
            If there is not enough memory for the arrays; no call has run.
        RuntimeError
            If another thread is running a program of the same arena.
        ValueError
            If the program has cuts: see `parts`.

        Notes
        -----
        Calls in the phase "update" change lasting state. Kernel calls after the last Python function are always
        completed, whatever a signal handler raises meanwhile.
        """
        if self.cuts:
            raise ValueError(f"a program must have no cuts to be run as a whole, got {len(self.cuts)}")
        self.exclusively(lambda: self._run_part(0))

    def profile(self) -> Iterator[tuple[int, float]]:
        """Run the calls one by one, each as a separate program; yield the index and the seconds of each."""
        self._prepare()
        for flag in self._flags:
            flag[0] = 1
        if self._singles is None:
            self._singles = [compile_program([call], get_num_threads()) for call in self._written()]
        for index, single in enumerate(self._singles):
            begun = perf_counter()
            single.run()
            yield index, perf_counter() - begun

    def alive(self, call: int) -> list[Buffer]:
        """Return the buffers of the arena that are alive at a call."""
        return [
            buffer
            for buffer in self._offsets
            if buffer.first is not None and buffer.first <= call <= (math.inf if buffer.last is None else buffer.last)
        ]

    def fullest(self) -> tuple[int, list[Buffer]]:
        """Return the call at which most bytes are alive, and the buffers alive there."""
        if not self.calls:
            return 0, []
        change = np.zeros(len(self.calls) + 2, dtype=np.int64)
        for buffer in self._offsets:
            last = len(self.calls) if buffer.last is None else buffer.last
            change[max(buffer.first or 0, 0)] += buffer.nbytes
            change[last + 1] -= buffer.nbytes
        call = int(np.argmax(np.cumsum(change[: len(self.calls)])))
        return call, self.alive(call)

    @property
    def outside(self) -> list[Buffer]:
        """The buffers that live outside the arena."""
        return [buffer for buffer in self.buffers if buffer.memory is not None]
