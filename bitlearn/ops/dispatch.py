"""From validated arrays to a kernel: the only module outside the registry's own folder that imports it."""

from __future__ import annotations

import numpy as np

from bitlearn import threads as threading
from bitlearn.backends import (
    KERNELS,
    Kernel,
    attribute,
    bound,
    chosen,
    implementing,
    lookup,
    unavailable,
    use_backend,
    variants,
    which,
    wrapped,
)

__all__ = [
    "KERNELS",
    "attribute",
    "bound",
    "chosen",
    "implementing",
    "lookup",
    "run",
    "unavailable",
    "use_backend",
    "variants",
    "which",
    "wrapped",
]


def run(
    kernel: str | Kernel,
    arguments: tuple,
    *,
    rows: tuple[int, ...] = (),
    first: int | None = None,
    work: int | None = None,
    threads: int | None = 1,
) -> None:
    """Run a kernel on validated arguments, its rows split over threads.

    Parameters
    ----------
    kernel : str or callable
        Its name, or the kernel itself, as `bound` returns it.
    arguments : tuple
        The kernel's arguments, in order.
    rows : tuple of int
        The positions of the arrays whose first axis is the rows to split; empty where the kernel is not split.
    first : int, optional
        The position of the number of the first row, where the kernel is told; a part's is counted from it.
    work : int, optional
        Operations on a word, about, that a row takes; where it is given, too little work is not split.
    threads : int or None
        How many threads; None for the process's default.
    """
    function = lookup(kernel) if isinstance(kernel, str) else kernel
    threads = threading.resolve(threads)
    if threads == 1 or not rows:
        function(*arguments)
        return
    count = len(arguments[rows[0]])
    if getattr(function, "on_threads", False):
        if work is not None:
            threads = min(threads, 1 + count * work // threading.WORTH_A_WAITING_THREAD)
        if threads == 1:
            function(*arguments)
            return
        helpers = threading.borrow(threads - 1)
        try:
            function(*arguments, threads=1 + helpers)
        finally:
            threading.give_back(helpers)
        return

    def part(start: int, stop: int) -> None:
        cut: list[object] = list(arguments)
        for position in rows:
            array = arguments[position]
            assert isinstance(array, np.ndarray)
            cut[position] = array[start:stop]
        if first is not None:
            cut[first] = arguments[first] + start
        function(*cut)

    if work is not None:
        threads = min(threads, 1 + count * work // threading.WORTH_A_THREAD)
    threading.over_ranges(part, count, threads)
