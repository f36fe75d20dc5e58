"""Arguments of the search for nearest rows: few queries and many, bases past a block, ties, too few rows."""

from __future__ import annotations

import numpy as np
from cases import bits, star
from guards import filled
from making import operands

#: (queries, rows, n, count): queries that are worth panels and ones that are not, rows past a block of 512.
_SIZES = [*star(5, 7, 70, 3, sizes=(0, 1, 63, 64, 65, 129)), (13, 600, 130, 10), (3, 1091, 64, 20), (13, 70, 8300, 5)]


@operands([*_SIZES, (2, 40, 32769, 3), (13, 33, 32769, 40)])
def nearest(rng, size, dtype):
    m, k, n, count = size
    b = bits(rng, k, n)
    b[k // 2 :: 3] = b[: len(b[k // 2 :: 3])]  # rows that are equally near
    return bits(rng, m, n), b, n, filled((m, count), np.int64), filled((m, count), np.int32)
