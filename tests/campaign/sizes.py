"""Random sizes, with the awkward ones more often."""

from __future__ import annotations

import numpy as np

_LENGTHS = (0, 1, 2, 31, 63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025)
_ROWS = (0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 63, 64, 65, 100)
#: Terms of a product that the plain NumPy of an oracle may take.
MOST_TERMS = 300_000


def length(rng: np.random.Generator) -> int:
    """Return how many values a row holds."""
    if rng.random() < 0.03:
        return int(rng.integers(1, 70)) * 64 + int(rng.integers(-1, 2))
    return int(rng.integers(300)) if rng.random() < 0.4 else _LENGTHS[rng.integers(len(_LENGTHS))]


def rows(rng: np.random.Generator) -> int:
    """Return how many rows there are."""
    return _ROWS[rng.integers(len(_ROWS))]


def fitting(most: int, *others: int) -> int:
    """Return at most so many that the product with the other sizes stays small."""
    return min(most, MOST_TERMS // max(int(np.prod([max(each, 1) for each in others])), 1))


def signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return values of -1 and +1, sometimes nearly all the same."""
    share = (0.5, 0.5, 0.1, 0.98, 0.0, 1.0)[rng.integers(6)]
    return np.where(rng.random(shape) < share, 1, -1).astype(np.int8)
