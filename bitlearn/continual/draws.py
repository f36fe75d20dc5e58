"""Random draws that cost time in proportion to what is drawn, with the kernel of random words."""

from __future__ import annotations

import itertools

import numpy as np

from bitlearn.ops.dispatch import lookup
from bitlearn.rng import Key

#: Up to this many values, plain Python integers are faster than arrays.
_VERY_FEW = 16
#: Up to this limit, a table of all values finds repetitions faster than sorting does.
_FEW = 2**16


def words(key: np.ndarray, start: int, count: int) -> np.ndarray:
    """Return words of a stream of random bits, starting anywhere.

    Parameters
    ----------
    key : ndarray of uint32, shape (4,)
        From `Key.as_words`.
    start, count : int
        The index of the first word, and how many words.

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
    """Return distinct integers below a limit; every set of this size is equally likely.

    Parameters
    ----------
    count, limit : int
        ``0 <= count <= limit <= 2**32``.
    key : Key

    Returns
    -------
    ndarray of int64, shape (count,)
        In the order in which they were drawn, or increasing if they are more than half of all.

    Notes
    -----
    They are the first `count` distinct values of ``floor(word * limit / 2**32)`` over the words of the key. If they are
    more than half of all, the values to leave out are drawn instead. So the time is proportional to the number of
    values drawn. The bias of a value is ``limit / 2**32``.

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
    """Return the first distinct values of a stream of integers below a limit, at most half of all."""
    stream, drawn, found = key.as_words(), np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    if count <= _VERY_FEW:
        values: dict[int, None] = {}
        for start in itertools.count(0, _VERY_FEW):
            if len(values) >= count:
                break
            values |= dict.fromkeys(word * limit >> 32 for word in words(stream, start, _VERY_FEW).tolist())
        return np.array(list(values)[:count], dtype=np.int64)
    while len(found) < count:
        # To get half of all values, 1.39 times as many have to be drawn on average.
        missing = count - len(found)
        more = words(stream, len(drawn), missing + missing // 2 + 8).astype(np.uint64) * np.uint64(limit)
        drawn = np.concatenate([drawn, (more >> np.uint64(32)).astype(np.intp)])
        found = drawn[_new(drawn, limit)]
    return found[:count].astype(np.int64)


def _new(drawn: np.ndarray, limit: int) -> np.ndarray:
    """Return the indices, or a mask, of the values that have not occurred before."""
    if limit > _FEW:
        return np.sort(np.unique(drawn, return_index=True)[1])
    # Entries of values that were not drawn are never read. Of equal values the first is written last, so it stays.
    places, order = np.empty(limit, dtype=np.intp), np.arange(len(drawn))
    places[drawn[::-1]] = order[::-1]
    return places[drawn] == order
