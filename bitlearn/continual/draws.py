"""Random draws whose cost is that of what is drawn, by the kernel of random words."""

from __future__ import annotations

import itertools

import numpy as np

from bitlearn.ops.dispatch import lookup
from bitlearn.rng import Key

#: So many are drawn sooner by plain integers than by arrays.
_VERY_FEW = 16
#: Up to so many values a table of them all finds repetitions sooner than sorting does.
_FEW = 2**16


def words(key: np.ndarray, start: int, count: int) -> np.ndarray:
    """Return words of a stream of random bits, from any place on.

    Parameters
    ----------
    key : ndarray of uint32, shape (4,)
        As `Key.as_words` gives it.
    start, count : int
        The number of the first word, and how many.

    Returns
    -------
    ndarray of uint32, shape (count,)

    Examples
    --------
    >>> bool((words(Key(7).as_words(), 3, 5) == Key(7).words(8)[3:]).all())
    True
    """
    out = np.empty((1, count), dtype=np.uint32)
    lookup("random_words")(key, start, count, out)
    return out[0]


def distinct(count: int, limit: int, key: Key) -> np.ndarray:
    """Return different integers below a limit: every set of so many is as likely as any other.

    Parameters
    ----------
    count, limit : int
        ``0 <= count <= limit <= 2**32``.
    key : Key

    Returns
    -------
    ndarray of int64, shape (count,)
        In the order in which they were drawn; or increasing, where they are more than half of all.

    Notes
    -----
    These are the first `count` different values among ``floor(word * limit / 2**32)`` for the words of the key; where
    they would be more than half of all, the others are drawn so and left out. So the time is that of `count` (bias of a
    value: ``limit / 2**32``).

    Examples
    --------
    >>> distinct(3, 1000, Key(0)), distinct(4, 6, Key(0))
    (array([399, 880, 735]), array([0, 1, 3, 4]))
    """
    if 2 * count <= limit:
        return _first(count, limit, key)
    left = np.ones(limit, dtype=bool)
    left[_first(limit - count, limit, key)] = False
    return np.flatnonzero(left)


def _first(count: int, limit: int, key: Key) -> np.ndarray:
    """Return the first different values of a stream of integers below a limit, at most half of all."""
    stream, drawn, found = key.as_words(), np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    if count <= _VERY_FEW:
        values: dict[int, None] = {}
        for start in itertools.count(0, _VERY_FEW):
            if len(values) >= count:
                break
            values |= dict.fromkeys(word * limit >> 32 for word in words(stream, start, _VERY_FEW).tolist())
        return np.array(list(values)[:count], dtype=np.int64)
    while len(found) < count:
        # Of half of all, 1.39 times as many have to be drawn on average.
        missing = count - len(found)
        more = words(stream, len(drawn), missing + missing // 2 + 8).astype(np.uint64) * np.uint64(limit)
        drawn = np.concatenate([drawn, (more >> np.uint64(32)).astype(np.intp)])
        found = drawn[_new(drawn, limit)]
    return found[:count].astype(np.int64)


def _new(drawn: np.ndarray, limit: int) -> np.ndarray:
    """Return the indices, or a mask, of the values that do not occur further left."""
    if limit > _FEW:
        return np.sort(np.unique(drawn, return_index=True)[1])
    # Of what was not drawn, what stands here is never read; of equal values the first one is written last.
    places, order = np.empty(limit, dtype=np.intp), np.arange(len(drawn))
    places[drawn[::-1]] = order[::-1]
    return places[drawn] == order
