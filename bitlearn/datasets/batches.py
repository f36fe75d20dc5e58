"""The batches of an epoch, in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitlearn.rng import Key

#: Batch norm needs two samples to have a spread.
_SMALLEST = 2


def batches(count: int, batch_size: int, key: Key) -> Iterator[np.ndarray]:
    """Return the indices of an epoch's batches, every sample once, in a random order.

    Parameters
    ----------
    count : int
        How many samples there are, at least 2.
    batch_size : int
        At least 2. The last batch may be smaller; a single remaining sample is left out, since batch norm needs two.
    key : Key
        The key of this epoch, used for nothing else: the same key gives the same batches.

    Returns
    -------
    iterator of ndarray of int64

    Raises
    ------
    ValueError
        If `count` or `batch_size` is below 2.

    Examples
    --------
    >>> [len(batch) for batch in batches(7, 3, Key(0))]
    [3, 3]
    >>> sorted(np.concatenate(list(batches(5, 3, Key(0, step=1)))).tolist())
    [0, 1, 2, 3, 4]
    """
    for name, value in (("count", count), ("batch_size", batch_size)):
        if value < _SMALLEST:
            raise ValueError(f"{name} must be at least {_SMALLEST}, got {value}")
    order = key.permutation(count)
    return (order[start : start + batch_size] for start in range(0, count - _SMALLEST + 1, batch_size))
