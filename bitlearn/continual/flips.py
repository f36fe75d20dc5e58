"""Flips of binary weights, accepted only as far as they leave the outputs for earlier inputs unchanged."""

from __future__ import annotations

import numpy as np


def accepted_flips(old: np.ndarray, new: np.ndarray, gram: np.ndarray, budget: float) -> np.ndarray:
    """Return which weights may take their new sign, within a budget for the change of the output for earlier inputs.

    Parameters
    ----------
    old, new : ndarray, shape (filters, n)
        Latent weights before and after an update; the sign of 0 is +1.
    gram : ndarray, shape (n, n)
        ``C = sum x x^T`` over earlier inputs x.
    budget : float
        At least 0: the largest squared change of these outputs, ``tr(D C D^T)`` with D the new signs minus the old,
        relative to their squares, ``tr(W C W^T)`` with the old signs W.

    Returns
    -------
    ndarray of bool, shape (filters, n)
        True where the new sign is accepted; a weight whose sign has not changed counts as accepted.

    Raises
    ------
    ValueError
        If the shapes do not fit, or the budget is below 0.

    Notes
    -----
    A projection preserves ``W x`` for real weights, but however the latent weights move, the resulting change of signs
    does not lie in a null space. So each flip is weighed separately, starting with the largest change of a latent
    weight, and accepted if the budget has room for it. Flipping weight j of a row adds ``2 d v_j + d**2 C_jj`` to its
    squares, with d = ±2 and ``v = D C`` for the current row, which is kept up to date with n additions per flip. Two
    flips of a row may cancel each other's effect; the order is greedy and does not look for such pairs.

    Examples
    --------
    >>> old, new = np.array([[0.5, 0.1, -0.2]]), np.array([[-0.5, -0.1, -0.3]])
    >>> accepted_flips(old, new, np.diag([9.0, 1.0, 1.0]), 0.5)
    array([[False,  True,  True]])
    """
    if old.shape != new.shape or old.ndim != 2 or gram.shape != (old.shape[1],) * 2:
        raise ValueError(f"shapes of old, new and gram must fit, got {old.shape}, {new.shape} and {gram.shape}")
    if not budget >= 0:
        raise ValueError(f"budget must be at least 0, got {budget}")
    before, after = np.where(old >= 0, 1.0, -1.0), np.where(new >= 0, 1.0, -1.0)
    left = budget * float(np.einsum("fi,ij,fj->", before, gram, before, optimize=True))
    rows, columns = np.nonzero(before != after)
    accepted = before == after
    change = np.zeros_like(before)  # v for each row
    moved = np.abs(np.subtract(new, old, dtype=np.float64))[rows, columns]
    for at in np.argsort(-moved, kind="stable"):
        row, column = rows[at], columns[at]
        d = after[row, column] - before[row, column]
        cost = 2 * d * change[row, column] + d * d * gram[column, column]
        if cost <= left:
            left -= cost
            change[row] += d * gram[column]
            accepted[row, column] = True
    return accepted
