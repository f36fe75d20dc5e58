"""NumKong's counts of differing bits, block by block of rows packed ahead, and the smallest of them by NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cases import Case, search

NAME = "numkong-search"
KERNELS = {"nearest": ("words",)}
#: Rows in a block: their counts for 1,000 queries stay in a cache of 8 MiB.
_ROWS = 2048


def prepare(case: Case) -> Callable[[], object]:
    import numkong

    queries, base = (case.operands[name].view(np.uint8) for name in ("words_a", "words_b"))
    count, rows, _, k = case.shape
    blocks = [numkong.hammings_pack(base[first : first + _ROWS], dtype="uint1") for first in range(0, rows, _ROWS)]

    def found() -> np.ndarray:
        best = search.none_yet(count, k)
        for number, block in enumerate(blocks):
            distances = np.asarray(numkong.hammings_packed(queries, block))
            best = search.of_blocks(distances, number * _ROWS, best)
        return search.answer(best)

    return found


def check(case: Case, answer: object) -> bool:
    return np.array_equal(np.asarray(answer), case.expected)
