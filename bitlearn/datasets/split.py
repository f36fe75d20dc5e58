"""A seeded, stratified split of labelled data."""

from __future__ import annotations

import numpy as np

from bitlearn import streams
from bitlearn.rng import Key


def holdout(y: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide samples into a training and a held-out part, with the same share of every class.

    Parameters
    ----------
    y : ndarray of int, shape (count,)
        Labels.
    fraction : float
        The share to hold out, 0 < fraction < 1.
    seed : int
        The same seed and labels give the same split.

    Returns
    -------
    train, held_out : ndarray of int64
        Sorted indices; together every index once.

    Raises
    ------
    ValueError
        If `fraction` lies outside, or `y` is not of one dimension.

    Notes
    -----
    Of a class with ``c`` samples, ``round(fraction * c)`` are held out, ties to even, but at least 1 and at most
    ``c - 1``; a class of one sample is not held out.

    Examples
    --------
    >>> train, held_out = holdout(np.array([0, 1] * 10), 0.2, seed=0)
    >>> len(train), np.bincount(np.array([0, 1] * 10)[held_out])
    (16, array([2, 2]))
    """
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"y must have one dimension, got shape {y.shape}")
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}")
    order = Key(seed, stream=streams.HOLDOUT).permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    _, start, count = np.unique(y[order], return_index=True, return_counts=True)
    take = np.clip(np.rint(fraction * count).astype(np.int64), 1, count - 1)
    rank = np.arange(len(y)) - np.repeat(start, count)
    held = rank < np.repeat(take, count)
    return np.sort(order[~held]), np.sort(order[held])
