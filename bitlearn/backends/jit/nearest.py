"""Nearest rows by Hamming distance: a heap a query, of which most rows are farther than the last."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel
from bitlearn.backends.jit.products import add_mismatches

#: Rows whose distances are counted at a time, for one query after the other.
_BLOCK_ROWS = 512


@helper
def behind(distance, index, other, other_index):
    """Say whether a row comes after another one."""
    return distance > other or (distance == other and index > other_index)


@helper
def replace(indices, distances, count, index, distance):
    """Put a row in place of the last of a heap of so many, whose root it is."""
    at = 0
    while 2 * at + 1 < count:
        child = 2 * at + 1
        if child + 1 < count and behind(distances[child + 1], indices[child + 1], distances[child], indices[child]):
            child += 1
        if not behind(distances[child], indices[child], distance, index):
            break
        indices[at], distances[at] = indices[child], distances[child]
        at = child
    indices[at], distances[at] = index, distance


@kernel
def nearest(a, b, n, indices, distances):
    """The rows of b that differ from each row of a in the fewest values, the lower index first."""
    indices[:], distances[:] = -1, 2**31 - 1
    count = indices.shape[1]
    found = np.empty(_BLOCK_ROWS, np.int32)  # allocated once a call
    for first in range(0, b.shape[0] if count else 0, _BLOCK_ROWS):
        block = b[first : first + _BLOCK_ROWS]
        differing = found[: block.shape[0]]
        for i in range(a.shape[0]):
            differing[:] = 0
            add_mismatches(a[i], block, 0, 1, differing)
            for j in range(differing.size):
                if differing[j] < distances[i, 0]:
                    replace(indices[i], distances[i], count, first + j, differing[j])
    for i in range(a.shape[0]):
        for last in range(count - 1, 0, -1):
            index, distance = indices[i, 0], distances[i, 0]
            replace(indices[i], distances[i], last, indices[i, last], distances[i, last])
            indices[i, last], distances[i, last] = index, distance
