"""Kernels whose rows may be split: ranges of rows, each on its own, give what the whole call gives."""

from __future__ import annotations

import numpy as np
import pytest
from guards import rivals
from operands import OPERANDS

from bitlearn.backends import lookup, use_backend
from bitlearn.backends.table import TABLE

SPLIT = [name for name, row in TABLE.items() if row.rows]
#: Which columns hold too large a value is said by 64 of them.
IN_WORDS = ("split_columns",)


def part(kernel: str, arguments: tuple, start: int, stop: int) -> tuple:
    """Return the arguments for some rows; an array of one row beside longer ones is shared by all rows."""
    row, cut = TABLE[kernel], list(arguments)
    rows = max(len(arguments[position]) for position in row.rows)
    for position in row.rows:
        if len(arguments[position]) == rows:
            cut[position] = arguments[position][start:stop]
    if row.first is not None:
        cut[row.first] += start
    return tuple(cut)


def copied(kernel: str, arguments: tuple) -> tuple:
    """Return the arguments with copies of what the kernel writes."""
    return tuple(each.copy() if i in TABLE[kernel].writes else each for i, each in enumerate(arguments))


@pytest.mark.parametrize(("kernel", "variant"), rivals(*SPLIT))
def test_ranges_of_rows_give_the_whole(kernel, variant, rng):
    operands, row = OPERANDS[kernel], TABLE[kernel]
    with use_backend(variant):
        function = lookup(kernel)
    for size in operands.sizes:
        for dtype in operands.dtypes:
            arguments = operands.make(rng, size, dtype)
            whole, parts = copied(kernel, arguments), copied(kernel, arguments)
            function(*whole)
            count = max(len(arguments[position]) for position in row.rows)
            cuts = rng.integers(0, count + 1, size=3)
            bounds = sorted({0, count, *(cuts // 64 * 64 if kernel in IN_WORDS else cuts).tolist()})
            for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
                function(*part(kernel, parts, start, stop))
            for position in row.writes if count else ():
                np.testing.assert_array_equal(parts[position], whole[position], f"{size} {dtype}", strict=True)
