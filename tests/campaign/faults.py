"""Memory, disk or patience at an end, at any point of a call: the right exception, nothing lost, and no deadlock.

What the system refuses comes from shim.c, which the process is started with (LD_PRELOAD).
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bitlearn import threads
from campaign.calls import cut_finely
from campaign.subjects import KINDS, Resuming, Saving, Subject
from campaign.tracing import at_place
from campaign.worker import Skipped, scratch

ROOT = Path(__file__).parents[2]
SHIM = ROOT / "build" / "campaign" / "shim.so"
#: Seconds after which a call has stopped for ever.
_PATIENCE = 60
_MEMORY, _WRITES = 1, 2
#: The smallest allocations that are refused: below are those of Python's own small objects.
_LEAST = 1024


def built() -> bool:
    """Compile the shim where that is wanted and there is a compiler; return whether it is there."""
    source = Path(__file__).with_name("shim.c")
    if shutil.which("gcc") and (not SHIM.exists() or SHIM.stat().st_mtime < source.stat().st_mtime):
        SHIM.parent.mkdir(parents=True, exist_ok=True)
        flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run(["gcc", *flags, str(source), "-o", str(SHIM), "-ldl"], check=True)
    return SHIM.exists()


def _at_work() -> dict[str, int]:
    """Return what is counted of threads: of those at work there are as many after a call as before."""
    return {name: value for name, value in vars(threads).items() if type(value) is int}


class Shim:
    """The library that has calls of the system fail."""

    def __init__(self) -> None:
        library = ctypes.CDLL(str(SHIM))
        library.campaign_arm.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_size_t, ctypes.c_int]
        library.campaign_seen.restype = ctypes.c_long
        self._arm, self.seen = library.campaign_arm, library.campaign_seen

    @contextlib.contextmanager
    def failing(self, kind: int, number: int, stays: bool) -> Iterator[None]:
        """Have call number so many, and perhaps all behind it, fail inside the block; none where it is -1."""
        self._arm(kind, number, _LEAST if kind == _MEMORY else 0, stays)
        try:
            yield
        finally:
            self._arm(0, -1, 0, 0)


#: NumPy raises SystemError where one of its own small allocations fails.
_RIGHT = {"memory": (MemoryError, SystemError), "write": (OSError,), "signal": (KeyboardInterrupt,)}


def _interrupt() -> None:
    raise KeyboardInterrupt


class Faults:
    """What makes calls with one fault each, and holds them against the same calls without."""

    def __init__(self) -> None:
        self.shim, inside = Shim(), scratch()
        self.subjects: list[Subject] = []
        for kind in KINDS:
            folder = inside / kind.__name__
            folder.mkdir()
            self.subjects.append(kind(folder))
        self._known: dict[tuple[Subject, str, int], tuple[int, Any]] = {}

    @staticmethod
    def kinds(subject: Subject) -> tuple[str, ...]:
        """Return what may befall a call."""
        return ("memory", "signal", "write") if isinstance(subject, (Saving, Resuming)) else ("memory", "signal")

    @contextlib.contextmanager
    def _fault(self, kind: str, number: int, stays: bool) -> Iterator[Callable[[], int]]:
        """Yield the number of points at which the fault could have come so far."""
        if kind == "signal":
            with at_place(number, _interrupt, of_signals=True) as counter:
                yield lambda: counter.seen
        else:
            with self.shim.failing(_MEMORY if kind == "memory" else _WRITES, number, stays):
                yield self.shim.seen

    def known(self, subject: Subject, kind: str) -> tuple[int, Any]:
        """Return at how many points a fault can come in a call, and what the call gives without."""
        key = subject, kind, subject.way
        if key not in self._known:
            with cut_finely(2):
                subject.fresh()
                subject.run()  # what is only done once is done
                subject.fresh()
                with self._fault(kind, -1, False) as seen:
                    wanted = subject.run()
                    self._known[key] = seen(), wanted
        return self._known[key]

    def attempt(self, subject: Subject, kind: str, number: int, stays: bool) -> None:
        """Make a call in which a fault comes at a point, and perhaps at all behind it, and then one without."""
        count, wanted = self.known(subject, kind)
        name = type(subject).__name__
        what = f"{name}, way {subject.way}, {kind} {number} of {count}{' and on' * stays}"
        with cut_finely(2):
            subject.fresh()
            at_work, raised = _at_work(), False
            try:
                with self._fault(kind, number, stays):
                    found = subject.run()
                assert found == wanted, f"{kind} that nobody heard of changed the result"
            except _RIGHT[kind]:
                raised = True
            except BaseException as error:
                raise AssertionError(f"{name}, {kind}: {type(error).__name__}: {error} | {what}") from error
            assert _at_work() == at_work, f"{name}, {kind}: threads stay busy | {what}"
            try:
                if raised:
                    subject.after_failure()
                subject.fresh()
                assert subject.run() == wanted, "another result behind a failure"
            except BaseException as error:
                raise AssertionError(f"{name}, after {kind}: {type(error).__name__}: {error} | {what}") from error

    def every(self, subject: Subject, kind: str) -> int:
        """Have each point of a call bring the fault in turn, alone and with all behind it; return how many there were.

        Signals have thousands of points, each behind a trace of all before it: tests/test_interruptions.py tries them.
        """
        points = 0
        for way in range(subject.ways):
            subject.way = way
            count, _ = self.known(subject, kind)
            assert count, f"{type(subject).__name__}: {kind} can fail nowhere"
            for number in range(count):
                faulthandler.dump_traceback_later(_PATIENCE, exit=True)
                self.attempt(subject, kind, number, stays=False)
                self.attempt(subject, kind, number, stays=True)
            points += count
        faulthandler.cancel_dump_traceback_later()
        return points


def start() -> Callable[[np.random.Generator], int]:
    """Return what makes a call with one fault."""
    if not built():
        raise Skipped("there is no gcc to compile shim.c")
    faults = Faults()

    def case(rng: np.random.Generator) -> int:
        faulthandler.dump_traceback_later(_PATIENCE, exit=True)
        subject = faults.subjects[rng.integers(len(faults.subjects))]
        kinds = faults.kinds(subject)
        kind = kinds[rng.integers(len(kinds))]
        subject.way = int(rng.integers(subject.ways))
        count, _ = faults.known(subject, kind)
        faults.attempt(subject, kind, int(rng.integers(count + 1)), rng.random() < 0.3)
        faulthandler.cancel_dump_traceback_later()
        return 3

    return case


def sweep() -> None:
    """Have every allocation and every write of the system fail in each call, one after the other."""
    if not built():
        raise Skipped("there is no gcc to compile shim.c")
    faults = Faults()
    for subject in faults.subjects:
        for kind in faults.kinds(subject):
            if kind != "signal":
                print(f"{type(subject).__name__:<14}{kind:<8}{faults.every(subject, kind):>6} points", flush=True)
