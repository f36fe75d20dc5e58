"""Arguments of the kernels that take and spread some rows and columns: numbers in no order, each once."""

from __future__ import annotations

import numpy as np
from cases import bits, integers
from guards import filled
from making import operands

#: (m, n, k, c): rows and columns, and how many of them are kept.
SIZES = [(3, 70, 2, 65), (5, 129, 5, 129), (1, 1, 1, 1), (4, 64, 3, 64), (4, 65, 0, 7), (4, 65, 2, 0), (0, 3, 0, 2)]
SIZES += [(9, 200, 4, 63), (2, 0, 1, 0), (66, 7, 65, 3)]
TYPES = (np.int8, np.int16, np.int32, np.int64, np.float32)


def _kept(rng, m, n, k, c):
    """Numbers of rows and columns; at most as many as there are, where sizes are drawn."""
    return rng.permutation(m)[:k].astype(np.int64), rng.permutation(n)[:c].astype(np.int64)


def _values(rng, dtype, *shape):
    return rng.normal(size=shape).astype(dtype) if dtype == np.float32 else integers(rng, dtype, *shape)


@operands(SIZES, TYPES)
def take(rng, size, dtype):
    rows, columns = _kept(rng, *size)
    return _values(rng, dtype, *size[:2]), rows, columns, filled((len(rows), len(columns)), dtype)


@operands(SIZES, TYPES[2:])
def spread(rng, size, dtype):
    rows, columns = _kept(rng, *size)
    return _values(rng, dtype, len(rows), len(columns)), rows, columns, filled(size[:2], dtype)


@operands(SIZES)
def take_bits(rng, size, dtype):
    (m, n), (rows, columns) = size[:2], _kept(rng, *size)
    return bits(rng, m, n), n, rows, columns, filled((len(rows), -(-len(columns) // 64)), np.uint64)
