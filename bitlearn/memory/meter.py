"""The resident memory of this process, measured independently of the arrays' own accounting."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType

_STATUS = Path("/proc/self/status")
_STATM = Path("/proc/self/statm")
_CLEAR_REFS = Path("/proc/self/clear_refs")
#: Written to `_CLEAR_REFS`, this resets the high-water mark to the current resident memory (proc(5)).
_RESET_PEAK = b"5"
_SAMPLE_SECONDS = 0.001


class _Source(ABC):
    """A way to find the highest resident memory of a block."""

    how: str

    @abstractmethod
    def now(self) -> int:
        """Return the bytes currently resident."""

    @abstractmethod
    def start(self) -> None:
        """Begin a block."""

    @abstractmethod
    def stop(self) -> int:
        """End a block and return its highest resident bytes."""


class _HighWaterMark(_Source):
    """Linux: the kernel's own high-water mark, which catches every peak, however short."""

    how = "the kernel's high-water mark of resident memory (VmHWM), reset before each block"

    def now(self) -> int:
        return self._field("VmRSS")

    def start(self) -> None:
        _CLEAR_REFS.write_bytes(_RESET_PEAK)

    def stop(self) -> int:
        return self._field("VmHWM")

    @staticmethod
    def _field(name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
        if found is None:
            raise OSError(f"{_STATUS} must have a field {name}, got none")
        return 1024 * int(found[1])


class _Sampling(_Source):
    """Linux where the mark cannot be reset: a thread samples every millisecond, and may miss a shorter peak."""

    how = "resident memory sampled every millisecond (/proc/self/statm); shorter peaks may be missed"

    def __init__(self) -> None:
        self._peak = 0
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def now(self) -> int:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def start(self) -> None:
        self._peak = self.now()
        self._done.clear()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self._peak = max(self._peak, self.now())

    def stop(self) -> int:
        assert self._thread is not None
        self._done.set()
        self._thread.join()
        return max(self._peak, self.now())


class _ProcessMaximum(_Source):
    """macOS and other Unixes: the highest value since the process began, which cannot be reset."""

    how = "the highest resident memory since the process began (getrusage); an earlier, higher peak would show instead"

    def now(self) -> int:
        import resource

        # Kibibytes on most systems, bytes on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def start(self) -> None:
        pass

    def stop(self) -> int:
        return self.now()


class _WindowsPeak(_Source):
    """Windows: the peak working set since the process began; the baseline is the current working set."""

    how = "the peak working set since the process began; an earlier, higher peak would show instead"

    def _counters(self) -> tuple[int, int]:
        """Return the working set and its peak."""
        from ctypes import wintypes

        class Counters(ctypes.Structure):
            _fields_ = (
                ("cb", wintypes.DWORD),
                ("PageFaultCount", wintypes.DWORD),
                ("PeakWorkingSetSize", ctypes.c_size_t),
                ("WorkingSetSize", ctypes.c_size_t),
                ("others", ctypes.c_size_t * 6),
            )

        counters = Counters(cb=ctypes.sizeof(Counters))
        library = ctypes.CDLL("kernel32.dll")
        library.GetCurrentProcess.restype = wintypes.HANDLE
        query = library.K32GetProcessMemoryInfo
        query.argtypes = (wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD)
        if not query(library.GetCurrentProcess(), ctypes.byref(counters), counters.cb):
            raise OSError("GetProcessMemoryInfo must return the memory of this process, got an error")
        return counters.WorkingSetSize, counters.PeakWorkingSetSize

    def now(self) -> int:
        return self._counters()[0]

    def start(self) -> None:
        pass

    def stop(self) -> int:
        return self._counters()[1]


def _source() -> _Source:
    """Return the best source that works here."""
    if sys.platform == "win32":
        return _WindowsPeak()
    try:
        mark = _HighWaterMark()
        mark.start()
        mark.stop()
        return mark
    except OSError:
        return _Sampling() if _STATM.exists() else _ProcessMaximum()


def _settle() -> None:
    """Release free memory, so that it is neither in the baseline nor reused unnoticed by a block."""
    gc.collect()
    if sys.platform == "linux":
        # Only glibc has it; other C libraries release free memory by themselves.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class PeakMeter:
    """The highest resident memory inside one or more blocks, above the level when the meter was created.

    Attributes
    ----------
    baseline_bytes : int
        The resident memory when the meter was created, after a garbage collection.
    peak_bytes : int
        The highest of all blocks so far, above the baseline; 0 before the first one.
    how : str
        How it was measured, and the limits of that.

    Notes
    -----
    On Linux, the kernel's high-water mark is reset when a block is entered (``5`` to ``/proc/self/clear_refs``) and
    read when it is left, so no peak is missed; if that is not permitted, a thread samples. On macOS the mark cannot be
    reset, so the highest value since the process began is used, for the baseline as well: a block that stays below an
    earlier peak shows nothing. It is the memory of the whole process, including other threads, imports and caches. Free
    memory is released before a block (``malloc_trim``, with glibc). Blocks of one meter must not be nested, and two
    meters must not measure at the same time.

    Examples
    --------
    >>> import numpy as np
    >>> meter = PeakMeter()
    >>> with meter:
    ...     total = int(np.ones(2**23, dtype=np.int8).sum())
    >>> meter.peak_bytes >= 0, total
    (True, 8388608)
    """

    def __init__(self) -> None:
        self._source = _source()
        self.how = self._source.how
        _settle()
        self.baseline_bytes = self._source.now()
        self._highest = self.baseline_bytes

    @property
    def peak_bytes(self) -> int:
        """The highest resident memory of all blocks so far, above the baseline."""
        return max(self._highest - self.baseline_bytes, 0)

    def __enter__(self) -> PeakMeter:
        """Begin a block; a meter may measure many, one after another."""
        _settle()
        self._source.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._highest = max(self._highest, self._source.stop())
