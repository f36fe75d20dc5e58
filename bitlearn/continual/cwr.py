"""The CWR* head: each class's row is trained within a task, then averaged with its earlier value."""

from __future__ import annotations

import math

import numpy as np

from bitlearn.nn.gradients import code_type, largest_code
from bitlearn.ops.check import count as whole

#: The most bits that the library's codes have.
_MOST = 16


class CwrHead:
    """The consolidated rows of a head, kept beside the rows in training.

    Parameters
    ----------
    weight : ndarray of float32, shape (classes, n)
        The weights of a linear layer without bias, which are changed in place.
    bits : int, optional
        2 to 16: the consolidated rows are kept as integers of this many bits, with one scale per row. By default they
        are float32.

    Raises
    ------
    TypeError, ValueError
        If `bits` is not such a number.

    Notes
    -----
    CWR* of arXiv 1907.03799, with ``w`` the rows in training, ``c`` the consolidated ones and ``past`` the number of
    earlier examples of each class. Before a task ``w = 0``, then ``w[k] = c[k]`` for each known class k of the task.
    After it, with g the mean over all entries of the rows of the task's classes, and ``now`` their numbers of
    examples::

        c[k] = (r * c[k] + w[k] - g) / (r + 1),  r = sqrt(past[k] / now[k])     where k is known
        c[k] = w[k] - g                                                         where k is new

    then ``past += now`` and ``w = c``. The arithmetic is float64 and g from an exact sum; rows are kept in float32, or
    in codes of `bits`: ``c[k] = s[k] * round(c[k] / s[k])``, ties to even, with
    ``s[k] = max |c[k]| / (2**(bits - 1) - 1)``, so that 0 is exact.

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

    def __init__(self, weight: np.ndarray, bits: int | None = None):
        if bits is not None:
            bits = whole("bits", bits, least=2, most=_MOST)
        self.weight, self.bits = weight, bits
        #: The consolidated rows in float32, or as codes, and the scale of each row.
        self.rows = np.zeros(weight.shape, dtype=weight.dtype if bits is None else code_type(bits))
        self.scale = np.ones(0 if bits is None else len(weight), dtype=np.float32)
        self.past = np.zeros(len(weight), dtype=np.int64)

    @property
    def consolidated(self) -> np.ndarray:
        """The consolidated rows, float32: as stored, or decoded."""
        return self.rows if self.bits is None else self.rows * self.scale[:, None]

    @property
    def nbytes(self) -> int:
        """The bytes stored beside the weights: rows, scales and counts."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the live arrays, everything a checkpoint has to hold: filling them restores the consolidated rows."""
        return {"rows": self.rows, "scale": self.scale, "past": self.past}

    def grow(self, weight: np.ndarray) -> None:
        """Continue with the weights of a layer that now has more classes, without examples so far."""
        head = CwrHead(weight, self.bits)
        for name, array in head.arrays().items():
            array[: len(self.arrays()[name])] = self.arrays()[name]
        self.weight, self.rows, self.scale, self.past = weight, head.rows, head.scale, head.past

    def _keep(self, classes: np.ndarray, rows: np.ndarray) -> None:
        """Store float64 rows as those of some classes."""
        if self.bits is None:
            self.rows[classes] = rows
            return
        # Divide by the scale as stored in float32, so that codes are relative to the scale they are decoded with.
        scale = (np.abs(rows).max(axis=1, initial=0) / largest_code(self.bits)).astype(np.float32)
        scale[scale == 0] = 1
        codes = np.rint(rows / scale[:, None].astype(np.float64))
        self.scale[classes] = scale
        self.rows[classes] = np.clip(codes, -largest_code(self.bits), largest_code(self.bits))

    def begin(self, counts: np.ndarray) -> None:
        """Prepare the weights for a task that has `counts` examples of each class, including replayed ones."""
        self.weight[...] = 0
        known = (counts > 0) & (self.past > 0)
        self.weight[known] = self.consolidated[known]

    def consolidate(self, counts: np.ndarray) -> None:
        """Consolidate the rows of a task's classes, and set the weights to the consolidated rows."""
        classes = np.flatnonzero(counts)
        rows = self.weight[classes].astype(np.float64)
        rows -= math.fsum(rows.ravel().tolist()) / max(rows.size, 1)
        # For a new class past is 0, so its consolidated row has no weight.
        past = np.sqrt(self.past[classes] / counts[classes])[:, None]
        self._keep(classes, (past * self.consolidated[classes] + rows) / (past + 1))
        self.past[classes] += counts[classes]
        self.weight[...] = self.consolidated
