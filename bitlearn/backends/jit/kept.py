"""Values of some rows and columns, taken out of an array and put back."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import kernel


@kernel
def take(x, kept_rows, kept_columns, out):
    """out[i, j] = x[kept_rows[i], kept_columns[j]]."""
    for i in range(kept_rows.size):
        row = x[kept_rows[i]]
        for j in range(kept_columns.size):
            out[i, j] = row[kept_columns[j]]


@kernel
def spread(x, kept_rows, kept_columns, out):
    """out[kept_rows[i], kept_columns[j]] = x[i, j]; other values stay."""
    for i in range(kept_rows.size):
        row = out[kept_rows[i]]
        for j in range(kept_columns.size):
            row[kept_columns[j]] = x[i, j]


@kernel
def take_bits(x, n, kept_rows, kept_columns, out):
    """Bit out[i, j] = bit x[kept_rows[i], kept_columns[j]]."""
    for i in range(kept_rows.size):
        row = x[kept_rows[i]]
        for t in range(out.shape[1]):
            word = np.uint64(0)
            for b in range(min(64, kept_columns.size - 64 * t)):
                column = np.uint64(kept_columns[64 * t + b])
                word |= (row[column // np.uint64(64)] >> (column % np.uint64(64)) & np.uint64(1)) << np.uint64(b)
            out[i, t] = word
