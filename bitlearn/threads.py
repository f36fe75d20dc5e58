"""How many threads a call uses, and row ranges over Python threads for kernels that are not in C.

Calls of kernels in C share the pool of csrc/pool.c, where a thread that waits takes up a part within a microsecond.
Numba's and NumPy's kernels release the GIL too; a call of theirs starts threads and ends them. No OpenMP is needed.

A call starts no more threads than there are processors, and those of all such calls keep to the processors but one. So
callers in a thread pool (joblib's, dask's, a web server's) do not have k threads each. The cut into ranges never
depends on that, and neither does a result.

A signal's handler may raise in the main thread between any two calls there. Whatever has to be counted or taken is
therefore counted and taken in the helping threads themselves.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from _thread import LockType, allocate_lock, start_new_thread
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import cache
from typing import TypeVar

import numpy as np

from bitlearn.errors import brief

T = TypeVar("T")

_ENVIRONMENT = "BITLEARN_NUM_THREADS"
# What joblib and dask set for the processes that they start; other libraries' pools follow it too.
_WORKERS_SHARE = "OMP_NUM_THREADS"
MOST_THREADS = 256
#: The least work for a thread of its own, in operations on a word: a few times what starting one takes.
WORK_PER_THREAD = 2**21
#: The same of a kernel in C (csrc/pool.h).
WORK_PER_WAITING_THREAD = 2**18

_num_threads: int | None = None
_lock = threading.Lock()
#: Threads that help callers of `over_ranges` now.
_helping = 0


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= MOST_THREADS:
        raise ValueError(f"{name} must be an integer from 1 to {MOST_THREADS}, got {brief(value)}")
    return int(value)


@cache
def _from_environment() -> int:
    """Read once: a look into the environment takes longer than a small product."""
    text = os.environ.get(_ENVIRONMENT, "1")
    wanted = _positive(_ENVIRONMENT, int(text) if text.isdecimal() else text)
    share = os.environ.get(_WORKERS_SHARE, "")
    if multiprocessing.parent_process() is not None and share.isdecimal() and int(share) > 0:
        return min(wanted, int(share))
    return wanted


def set_num_threads(k: int) -> None:
    """Set how many threads a call uses if its ``threads`` argument is None, for the whole process.

    Parameters
    ----------
    k : int
        From 1 to 256.

    Raises
    ------
    ValueError
        If `k` is anything else.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.set_num_threads(1)
    >>> bl.get_num_threads()
    1
    """
    global _num_threads
    _num_threads = _positive("k", k)


def get_num_threads() -> int:
    """Return how many threads a call uses by default: that of `set_num_threads`, or ``BITLEARN_NUM_THREADS``, or 1.

    The environment is read once, at the first call that needs it. In a worker process started by joblib, dask or
    another user of `multiprocessing`, it is capped at that worker's share, ``OMP_NUM_THREADS``.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the environment variable is not an integer from 1 to 256.
    """
    return _from_environment() if _num_threads is None else _num_threads


def resolve(threads: int | None) -> int:
    """Return the number of threads that a call's ``threads`` argument asks for."""
    if threads is None:
        return _from_environment() if _num_threads is None else _num_threads
    return _positive("threads", threads)


def _forget_helpers() -> None:
    """A forked child has none of the threads, and a lock that one of them may have held."""
    global _lock, _helping
    _lock, _helping = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


@cache
def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _help(work: Callable[[], None], working: list[LockType], ended: LockType) -> None:
    """Do work of a call in a thread of its own."""
    working.append(ended)  # before any work is taken: whoever stops the call waits for what has been taken
    try:
        work()
    finally:
        ended.release()


def _wait(helpers: list[LockType]) -> None:
    """Wait until all have ended, whatever is raised meanwhile."""
    try:
        for ended in helpers:
            with ended:
                pass
    except BaseException:
        _wait(helpers)
        raise


def _helped(count: int, help: Callable[[], None], work: Callable[[], None], left: deque) -> None:
    """Have so many threads help with what is `left`, or as many as are to be had, while the caller works; wait for all.

    Where a signal's handler raises in the caller, what nobody has begun is left out, and what has begun is waited for.
    The threads are plain ones: to start one of `threading` takes locks, which a handler's exception can leave taken.
    """
    started: list[LockType] = []
    working: list[LockType] = []
    try:
        for _ in range(count):
            ended = allocate_lock()
            ended.acquire()
            # In the caller's context, whose backend and workspace are the work's. Each thread needs a copy of its own.
            given = _help, help, working, ended
            try:
                start_new_thread(copy_context().run, given)
            except RuntimeError:  # the process may have no more
                break
            started.append(ended)
        work()
        _wait(started)
    except BaseException:
        left.clear()
        _wait(working)
        raise


def over_ranges(function: Callable[[int, int], None], count: int, threads: int) -> None:
    """Call ``function(start, stop)`` for contiguous ranges that cover ``range(count)``, as many as threads.

    The ranges depend on `count` and `threads` alone; the caller takes them one after the other, and so does each
    helper that is to be had. Where ranges fail, all are tried, and the first one's exception is raised. What a signal's
    handler raises in the caller is raised once every range that has begun has ended; the others are left out.
    """
    threads = max(1, min(threads, count))
    if threads == 1:
        function(0, count)
        return
    bounds = [count * i // threads for i in range(threads + 1)]
    left = deque(range(threads))
    failures: dict[int, Exception] = {}

    def work() -> None:
        while left:
            try:
                i = left.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                function(bounds[i], bounds[i + 1])
            except Exception as error:
                failures[i] = error

    def help() -> None:
        """Work where a processor is left for it."""
        global _helping
        with _lock:
            if _helping >= processors() - 1:
                return
            _helping += 1
        try:
            work()
        finally:
            with _lock:
                _helping -= 1

    _helped(min(threads, processors()) - 1, help, work, left)
    if failures:
        raise failures[min(failures)]


def uninterrupted(function: Callable[[], T]) -> T:
    """Call a function where no signal's handler can raise: from the main thread, in another one.

    What a handler raises meanwhile is raised when the function has ended, or before it has begun. Where the process may
    have no other thread, the main thread calls it.
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    left, found, failures = deque([function]), [], []

    def work() -> None:
        try:
            found.append(left.popleft()())
        except BaseException as error:
            failures.append(error)

    _helped(1, work, lambda: None, left)
    if left:
        work()
    if failures:
        raise failures[0]
    return found[0]
