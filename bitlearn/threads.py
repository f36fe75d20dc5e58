"""Row ranges over a few Python threads: the kernels release the GIL, so OpenMP is not needed.

To wake such a thread takes as long as many a kernel, since it has to be given the GIL first. Short kernels cut their
rows in C (csrc/pool.h), and have the threads that they use counted here.

The threads of a process that are inside split calls are counted, and a call borrows only as many helpers as there are
processors left. So callers in a thread pool (joblib's, dask's, a web server's) do not start k threads each. The cut
into ranges never depends on that, and neither does a result.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import cache, partial
from queue import SimpleQueue

import numpy as np

from bitlearn.errors import brief

_ENVIRONMENT = "BITLEARN_NUM_THREADS"
# What joblib and dask set for the processes that they start; other libraries' pools follow it too.
_WORKERS_SHARE = "OMP_NUM_THREADS"
MOST_THREADS = 256
#: The least work for a thread of its own, in operations on a word: about twice what waking one and its answer take.
WORK_PER_THREAD = 2**21
#: The same of a kernel that has its own threads (csrc/pool.h).
WORK_PER_WAITING_THREAD = 2**18

_num_threads: int | None = None
_tasks: SimpleQueue[tuple[Callable[[], None], threading.Lock]] = SimpleQueue()
_lock = threading.Lock()
# Helper threads there are; of them, lent to calls; threads inside split calls, callers and helpers.
_helpers = _lent = _busy = 0


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
    """Set how many threads a call uses where its ``threads`` argument is None, for the whole process.

    Parameters
    ----------
    k : int
        From 1 to 256.

    Raises
    ------
    ValueError
        Where `k` is anything else.

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
    """Return how many threads a call uses by default: `set_num_threads`, else ``BITLEARN_NUM_THREADS``, else 1.

    The environment is read once, at the first call that wants it. In a worker process that joblib, dask or another user
    of `multiprocessing` has started, the variable counts up to that worker's share, ``OMP_NUM_THREADS``.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        Where the environment variable is not an integer from 1 to 256.
    """
    return _from_environment() if _num_threads is None else _num_threads


def resolve(threads: int | None) -> int:
    """Return the number of threads that a call's ``threads`` argument asks for."""
    if threads is None:
        return _from_environment() if _num_threads is None else _num_threads
    return _positive("threads", threads)


def _forget_helpers() -> None:
    """A forked child has what is known of the helpers, but none of their threads: it makes its own."""
    global _tasks, _lock, _helpers, _lent, _busy
    _tasks, _lock, _helpers, _lent, _busy = SimpleQueue(), threading.Lock(), 0, 0, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


@cache
def _processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _help(tasks: SimpleQueue[tuple[Callable[[], None], threading.Lock]]) -> None:
    """Do what is wanted, for ever: a `ThreadPoolExecutor` spends more time on a call than many a product takes."""
    while True:
        work, done = tasks.get()
        work()
        del work  # and with it the call's arrays, while this waits for the next
        done.release()


def acquire(wanted: int) -> int:
    """Count the caller and at most `wanted` helpers as busy; return how many helpers there are for it."""
    global _busy
    with _lock:
        helpers = max(0, min(wanted, _processors() - 1 - _busy))
        _busy += 1 + helpers
        return helpers


def release(helpers: int) -> None:
    """Count the caller of `acquire` and its helpers as busy no more."""
    global _busy
    with _lock:
        _busy -= 1 + helpers


def _lend(helpers: int) -> None:
    """Have so many threads more for calls, or fewer; those that have been started stay."""
    global _lent, _helpers
    with _lock:
        _lent += helpers
        while _helpers < _lent:
            threading.Thread(target=_help, args=(_tasks,), name="bitlearn", daemon=True).start()
            _helpers += 1


def over_ranges(function: Callable[[int, int], None], count: int, threads: int) -> None:
    """Call ``function(start, stop)`` for contiguous ranges that cover ``range(count)``, as many as threads.

    The ranges depend on `count` and `threads` alone; the caller takes them one after the other, and so does each
    helper that is to be had. Where ranges fail, all are tried, and the first one's exception is raised.
    """
    threads = max(1, min(threads, count))
    if threads == 1:
        function(0, count)
        return
    bounds = [count * i // threads for i in range(threads + 1)]
    left = deque(range(threads))
    failures: dict[int, BaseException] = {}

    def work() -> None:
        while left:
            try:
                i = left.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                function(bounds[i], bounds[i + 1])
            except BaseException as error:
                failures[i] = error

    helpers = acquire(threads - 1)
    try:
        _lend(helpers)
        ended = [threading.Lock() for _ in range(helpers)]
        for done in ended:
            done.acquire()
            # In the caller's context, whose backend and workspace are the work's. Each thread needs a copy of its own.
            _tasks.put((partial(copy_context().run, work), done))
        work()
        for done in ended:
            done.acquire()
    finally:
        _lend(-helpers)
        release(helpers)
    if failures:
        raise failures[min(failures)]
