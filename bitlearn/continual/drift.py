"""Streams with concept drift: the labels of examples, or the source of examples, change after a while."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.continual.scenario import Stream
from bitlearn.continual.scenarios.data import alike, pair
from bitlearn.rng import Key


def permuted_labels(y: Any, *, seed: int = 0) -> np.ndarray:
    """Return labels in which each class has become another class.

    Parameters
    ----------
    y : array_like of int or str, shape (count,)
        Labels of at least two classes.
    seed : int

    Returns
    -------
    ndarray, shape (count,)

    Raises
    ------
    ValueError
        If there is only one class.

    Examples
    --------
    >>> permuted_labels(["a", "b", "b"]).tolist()
    ['b', 'a', 'a']
    """
    labels, of = np.unique(np.asarray(y), return_inverse=True)
    if len(labels) < 2:
        raise ValueError(f"labels must be of at least 2 classes to be permuted, got {len(labels)}")
    order = Key(seed, 1, streams.DRIFT).permutation(len(labels))
    # A cycle through all classes, so that none stays the same.
    becomes = np.empty(len(labels), dtype=np.int64)
    becomes[order] = np.roll(order, 1)
    return labels[becomes[of]]


def drift(
    x: Any,
    y: Any,
    then: tuple[Any, Any] | None = None,
    *,
    at: float = 0.5,
    width: float = 0.0,
    seed: int = 0,
) -> Stream:
    """Return a stream in which one concept gives way to another.

    Parameters
    ----------
    x : array_like, shape (count, ...)
    y : array_like of int or str, shape (count,)
        The first concept.
    then : (x, y), optional
        The second concept; by default the same examples with labels permuted so that every class changes.
    at : float
        The position of the change in the stream, in [0, 1].
    width : float
        The fraction of the stream over which the change is gradual; 0 for a sudden change.
    seed : int
        The seed of the order of the examples, the concept of each, and the permutation.

    Returns
    -------
    Stream
        As long as the smaller of the two sets; no example comes twice.

    Raises
    ------
    TypeError, ValueError
        If the sets differ in shape or type, or a number is out of its range.

    Notes
    -----
    At position ``t`` of ``n`` the second concept has the probability ``1 / (1 + exp(-4 (t / n - at) / width))``, the
    sigmoid of Bifet, Holmes, Pfahringer, Kirkby and Gavaldà, "New ensemble methods for evolving data streams" (KDD
    2009).

    Examples
    --------
    >>> x, y = np.zeros((6, 2)), np.array([0, 1] * 3)
    >>> stream = drift(x, y)
    >>> stream
    Stream('drift at 0.5', 6 examples)
    """
    if not 0 <= at <= 1 or not 0 <= width < np.inf:
        raise ValueError(f"at must be in [0, 1] and width finite and at least 0, got {at} and {width}")
    first = pair(x, y, "x", "y")
    second = (
        (first[0], permuted_labels(first[1], seed=seed))
        if then is None
        else pair(*then, "x of the second concept", "y of it")
    )
    alike("x", first[0], "x of the second concept", second[0])
    if first[1].dtype.kind != second[1].dtype.kind:
        raise TypeError(f"both concepts must have labels of one type, got {first[1].dtype} and {second[1].dtype}")
    # Both in the same order: each position of the stream is one example, from either concept.
    orders = [Key(seed, 0, streams.DRIFT).permutation(len(each[1])) for each in (first, second)]
    count = min(map(len, orders))
    done = np.arange(count) / count - at
    chance = done >= 0 if width == 0 else 1 / (1 + np.exp(np.minimum(-4 * done / width, 700)))
    changed = Key(seed, 2, streams.DRIFT).uniform(count) < chance

    def read(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        new = changed[index]
        rows = [order[index[of]] for order, of in zip(orders, (~new, new), strict=True)]
        back = np.argsort(np.concatenate([np.flatnonzero(~new), np.flatnonzero(new)]))
        parts = zip((first, second), rows, strict=True)
        found = [(each[0][own], each[1][own]) for each, own in parts]
        return np.concatenate([x for x, _ in found])[back], np.concatenate([y for _, y in found])[back]

    how = f"drift at {at:g}" if width == 0 else f"drift at {at:g} over {width:g}"
    return Stream(how, count, read)
