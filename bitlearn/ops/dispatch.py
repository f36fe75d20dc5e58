"""From validated arrays to a kernel: the only module outside the registry's own folder that imports it."""

from __future__ import annotations

import numpy as np

from bitlearn import threads as threading
from bitlearn.backends import KERNELS, attribute, implementing, lookup, unavailable, use_backend, variants, which

__all__ = ["KERNELS", "attribute", "implementing", "run", "unavailable", "use_backend", "variants", "which"]


def run(
    kernel: str, arguments: tuple, *, rows: tuple[int, ...] = (), threads: int | None = 1, clear: int | None = None
) -> None:
    """Run a kernel on validated arguments, its rows split over threads.

    Parameters
    ----------
    kernel : str
    arguments : tuple
        The kernel's arguments, in order.
    rows : tuple of int
        The positions of the arrays whose first axis is the rows to split; empty where the kernel is not split.
    threads : int or None
        How many threads; None for the process's default.
    clear : int, optional
        The position of an array that is set to zero first, once nothing can raise any more.
    """
    function = lookup(kernel)
    count = len(arguments[rows[0]]) if rows else 0
    threads = threading.resolve(threads)
    if clear is not None:
        arguments[clear][...] = 0
    if threads == 1 or count < 2:
        function(*arguments)
        return

    def part(start: int, stop: int) -> None:
        cut: list[object] = list(arguments)
        for position in rows:
            array = arguments[position]
            assert isinstance(array, np.ndarray)
            cut[position] = array[start:stop]
        function(*cut)

    threading.over_ranges(part, count, threads)
