"""Row ranges over a few Python threads: the kernels release the GIL, so neither OpenMP nor a pool in C is needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import numpy as np

_ENVIRONMENT = "BITLEARN_NUM_THREADS"
# The executor starts a thread only when none is idle, so the limit costs nothing until it is used.
_MOST_THREADS = 256

_num_threads: int | None = None
_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= _MOST_THREADS:
        raise ValueError(f"{name} must be an integer from 1 to {_MOST_THREADS}, got {value!r}")
    return int(value)


@cache
def _from_environment() -> int:
    """Read once: a look into the environment takes longer than a small product."""
    text = os.environ.get(_ENVIRONMENT, "1")
    return _positive(_ENVIRONMENT, int(text) if text.isdecimal() else text)


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

    The environment variable is read once, at the first call that wants it.

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
    return get_num_threads() if threads is None else _positive("threads", threads)


def _forget_pool() -> None:
    """A forked child has the pool's object but none of its threads: it makes its own."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


def _shared_pool() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="bitlearn")
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_forget_pool)
        return _pool


def over_ranges(function: Callable[[int, int], None], count: int, threads: int) -> None:
    """Call ``function(start, stop)`` for contiguous ranges that cover ``range(count)``, one a thread.

    The caller's thread takes the first range. The ranges depend on `count` and `threads` alone.
    """
    threads = max(1, min(threads, count))
    bounds = [count * i // threads for i in range(threads + 1)]
    ranges = list(zip(bounds[:-1], bounds[1:], strict=True))
    if threads == 1:
        function(*ranges[0])
        return
    pool = _shared_pool()
    others = [pool.submit(function, start, stop) for start, stop in ranges[1:]]
    try:
        function(*ranges[0])
    finally:
        wait(others)
    for other in others:
        other.result()
