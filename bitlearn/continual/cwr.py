"""The CWR* head: the rows of each class are trained for a while, then averaged with those of before."""

from __future__ import annotations

import math

import numpy as np


class CwrHead:
    """Consolidated rows beside the rows in training.

    Parameters
    ----------
    weight : ndarray of float32, shape (classes, n)
        The weights of a linear layer without bias, which are changed in place.

    Notes
    -----
    CWR* of arXiv 1907.03799, with ``w`` the rows in training, ``c`` the consolidated ones and ``past`` how many
    examples of each class there have been. Before a task ``w = 0``, then ``w[k] = c[k]`` for each class k of it that is
    known. After it, with g the mean of all entries of the rows of the task's classes, and ``now`` their numbers of
    examples::

        c[k] = (r * c[k] + w[k] - g) / (r + 1),  r = sqrt(past[k] / now[k])     where k is known
        c[k] = w[k] - g                                                         where k is new

    then ``past += now`` and ``w = c``. The arithmetic is float64 and g from an exact sum; rows are kept in float32.

    Examples
    --------
    >>> weight = np.zeros((3, 2), dtype=np.float32)
    >>> head = CwrHead(weight)
    >>> head.begin(np.array([4, 4, 0]))
    >>> weight[:2] = [[3, 1], [-1, 1]]
    >>> head.consolidate(np.array([4, 4, 0]))
    >>> weight
    array([[ 2.,  0.],
           [-2.,  0.],
           [ 0.,  0.]], dtype=float32)
    """

    def __init__(self, weight: np.ndarray):
        self.weight = weight
        self.consolidated = np.zeros_like(weight)
        self.past = np.zeros(len(weight), dtype=np.int64)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the live arrays, all that a checkpoint has to hold besides the weights: filling them restores it."""
        return {"consolidated": self.consolidated, "past": self.past}

    def grow(self, weight: np.ndarray) -> None:
        """Go on with the weights of a layer that has more classes now, of which there were no examples yet."""
        consolidated, past = np.zeros_like(weight), np.zeros(len(weight), dtype=np.int64)
        consolidated[: len(self.past)], past[: len(self.past)] = self.consolidated, self.past
        self.weight, self.consolidated, self.past = weight, consolidated, past

    def begin(self, counts: np.ndarray) -> None:
        """Prepare the weights for a task that has `counts` examples of each class, replayed ones among them."""
        self.weight[...] = 0
        known = (counts > 0) & (self.past > 0)
        self.weight[known] = self.consolidated[known]

    def consolidate(self, counts: np.ndarray) -> None:
        """Take the rows of a task's classes over into the consolidated ones, and set the weights to these."""
        classes = np.flatnonzero(counts)
        rows = self.weight[classes].astype(np.float64)
        rows -= math.fsum(rows.ravel().tolist()) / max(rows.size, 1)
        # A new class has past 0, so that its consolidated row counts nothing.
        past = np.sqrt(self.past[classes] / counts[classes])[:, None]
        self.consolidated[classes] = (past * self.consolidated[classes] + rows) / (past + 1)
        self.past[classes] += counts[classes]
        self.weight[...] = self.consolidated
