"""From validated arrays to a kernel: the only module outside the registry's own folder that imports it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal

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
from bitlearn.backends.table import TABLE
from bitlearn.backends.table import Kernel as Row
from bitlearn.panels import ROWS_WORTH_PANELS, WINDOW_WORDS

__all__ = [
    "KERNELS",
    "TABLE",
    "attribute",
    "bound",
    "chosen",
    "implementing",
    "lookup",
    "over_rows",
    "planes_pay",
    "product_form",
    "recoded_bytes",
    "recoded_scratch",
    "run",
    "thread_scratch",
    "unavailable",
    "use_backend",
    "variants",
    "which",
    "wrapped",
]

#: The form of a product's right operand: words as they lie, panels, or panels recoded by a variant for itself.
Form = Literal["words", "panels", "recoded"]

_of_c: Callable[[str], Any] = cache(partial(attribute, "cext"))


def in_c(function: Kernel) -> bool:
    """Whether a kernel, as `lookup` returns it, is one in C, which a program in C can call."""
    return hasattr(function, "variant")


def row_of(function: Kernel) -> Row:
    """Return the row of the table of a kernel, as `lookup` returns it."""
    return _of_c("row_of")(function.kernel) if in_c(function) else TABLE[function.__name__]  # type: ignore[attr-defined]


def run(kernel: str | Kernel, arguments: tuple, *, threads: int | None = 1) -> None:
    """Run a kernel on validated arguments, its rows split over threads where the table says which they are.

    Kernels in C are split in C, on threads that wait for it (csrc/pool.h), others over threads of Python.

    Parameters
    ----------
    kernel : str or callable
        Its name, or the kernel itself, as `bound` returns it.
    arguments : tuple
        The kernel's arguments, in order.
    threads : int or None
        How many threads; None for the process's default. Too little work for so many is split over fewer.
    """
    function = lookup(kernel) if isinstance(kernel, str) else kernel
    threads = threading.resolve(threads)
    if threads == 1:
        function(*arguments)
    elif isinstance(kernel, str):
        split(function, arguments, threads)
    else:
        whole, given = kernel.call(arguments, threads)  # type: ignore[attr-defined]
        if in_c(whole) and not _of_c("HAS_THREADS"):
            # The bound kernel has scratch of its own in each call.
            over_rows(kernel, arguments, (0, len(arguments) - 1), threads=_thread_count(row_of(whole), given, threads))
        else:
            split(whole, given, threads)


def split(function: Kernel, arguments: tuple, threads: int) -> None:
    """Run a kernel, as `lookup` returns it, its rows split over threads."""
    if in_c(function) and _of_c("HAS_THREADS"):
        program = _of_c("of_one_call")(function, arguments, threads)
        if program is None:
            function(*arguments)
        else:
            program.run()
        return
    row = row_of(function)
    if row.rows:
        over_rows(function, arguments, row.rows, row.first, threads=_thread_count(row, arguments, threads))
    else:
        function(*arguments)


def _rows(arguments: tuple, positions: tuple[int, ...]) -> int:
    return max(len(arguments[position]) for position in positions)


def _thread_count(row: Row, arguments: tuple, threads: int) -> int:
    """Return how many of Python's threads a call is worth."""
    work = _rows(arguments, row.rows) * row.work(*arguments)
    return min(threads, 1 + work // threading.WORK_PER_THREAD)


def over_rows(
    function: Callable, arguments: tuple, rows: tuple[int, ...], first: int | None = None, *, threads: int | None
) -> None:
    """Call a kernel that is not in C on ranges of rows, on Python's threads, whatever the work.

    Parameters
    ----------
    function : callable
    arguments : tuple
    rows : tuple of int
        The positions of the arrays whose first axis is the rows to split. One of a single row, where others have more,
        is shared.
    first : int, optional
        The position of the number of the first row, where the function is told; a part's is counted from it.
    threads : int or None
    """
    count = _rows(arguments, rows)
    cut_ones = [position for position in rows if len(arguments[position]) == count]

    def part(start: int, stop: int) -> None:
        cut: list[object] = list(arguments)
        for position in cut_ones:
            array = arguments[position]
            assert isinstance(array, np.ndarray)
            cut[position] = array[start:stop]
        if first is not None:
            cut[first] = arguments[first] + start
        function(*cut)

    threading.over_ranges(part, count, threading.resolve(threads))


def product_form(kernel: str, rows: int, k: int, words: int, n: int, once: bool) -> Form:
    """Return the form of the right operand on which a product of bits is fastest under the choice in force.

    Where it is "recoded", the kernels `recode_panels` and ``<kernel>_recoded`` are there to be run and recorded.

    Parameters
    ----------
    kernel : str
    rows, k, words, n : int
        The rows of the product, its columns, and the words and values that a row holds; of a convolution its pixels,
        kernels, and the words and values of a window.
    once : bool
        Whether the operand is laid out for this product alone.
    """
    function = lookup(kernel)
    if in_c(function):
        return _of_c("product_form")(function.variant, kernel, rows, k, words, n, once)  # type: ignore[attr-defined]
    fits = "conv2d" not in kernel or words <= WINDOW_WORDS
    return "panels" if rows >= ROWS_WORTH_PANELS and fits else "words"


def planes_pay(bits: int, rows: int, depth: int, columns: int, taps: int = 1, *, passes: int = 0) -> bool:
    """Whether a product of so many rows of int8 values of few bits is faster on bit planes, under the choice in force.

    Parameters
    ----------
    bits : int
    rows, depth, columns : int
        Of the product; `depth` is the number of terms of a sum.
    taps : int
        In a convolution each value that is split is in the sums of so many taps.
    passes : int
        How often the sums are passed over after their product.
    """
    function = lookup("planes_matmul")
    if not in_c(function):
        return False
    return bool(_of_c("planes_pay")(function.variant, bits, rows, depth, columns, taps, passes))  # type: ignore[attr-defined]


def recoded_bytes(k: int, words: int) -> int:
    """Return the bytes of k columns of so many words, recoded."""
    return _of_c("recoded_bytes")(k, words)


def recoded_scratch(rows: int, words: int) -> int:
    """Return the bytes of scratch that a thread needs in a product of so many rows with recoded columns.

    A convolution, which works on some pixels at a time, has 0 rows here.
    """
    return _of_c("recoded_scratch")(rows, words)


def thread_scratch(kernel: str) -> int:
    """Return the bytes of the heap that a thread keeps from a kernel's first large call on; of the choice in force."""
    backend, _, variant = which(kernel).partition(":")
    return _of_c("SCRATCH").get(variant, 0) if backend == "cext" else 0
