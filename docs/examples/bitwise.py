"""A backend of one kernel: NumPy's own count of set bits."""

from __future__ import annotations

import numpy as np


def popcount(words, out):
    """out[i] = number of set bits of row i. words (rows, words), out (rows,) int64."""
    out[...] = np.bitwise_count(words).sum(axis=-1, dtype=np.int64)


#: The kernels of each variant, best first, and why a variant is missing.
VARIANTS = {"bitwise": {"popcount": popcount}}
REASONS: dict[str, str] = {}
