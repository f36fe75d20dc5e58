"""Examples together with their scores, as rows of bytes for a replay memory."""

from __future__ import annotations

import math

import numpy as np

from bitlearn.bits import Bits
from bitlearn.nn.frozen import Batch, check_batch
from bitlearn.nn.spec import Spec


class Records:
    """Pack examples and scores into rows of bytes, and unpack them.

    Parameters
    ----------
    spec : Spec
        The type of an example.
    outputs : int
        The number of scores per example.

    Examples
    --------
    >>> records = Records(Spec.codes((3,)), 2)
    >>> rows = records.pack(np.array([[1, -2, 3]], dtype=np.int8), np.array([[0.5, np.nan]], dtype=np.float32))
    >>> rows.shape, records.unpack(rows)
    ((1, 11), (array([[ 1, -2,  3]], dtype=int8), array([[0.5, nan]], dtype=float32)))
    """

    def __init__(self, spec: Spec, outputs: int):
        self.spec, self.outputs = spec, outputs
        self.shape, self.dtype = spec.array_shape(1)[1:], np.dtype(spec.dtype)

    @property
    def example_bytes(self) -> int:
        """The bytes per example without its scores."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes per row."""
        return self.example_bytes + 4 * self.outputs

    def pack(self, x: Batch, scores: np.ndarray) -> np.ndarray:
        """Return the rows, uint8 (count, nbytes), of examples and their scores, float32 (count, outputs)."""
        parts = check_batch(x, self.spec), scores
        return np.concatenate([np.ascontiguousarray(part).reshape(len(scores), -1).view(np.uint8) for part in parts], 1)

    def unpack(self, rows: np.ndarray) -> tuple[Batch, np.ndarray]:
        """Return the examples and scores in rows."""
        first, second = (np.ascontiguousarray(part) for part in np.split(rows, [self.example_bytes], axis=1))
        values = first.view(self.dtype).reshape(len(rows), *self.shape)
        scores = second.view(np.float32).reshape(len(rows), self.outputs)
        return (Bits(values, self.spec.channels) if self.spec.kind == "bits" else values), scores

    def widened(self, rows: np.ndarray, outputs: int) -> np.ndarray:
        """Return rows widened to more outputs, whose scores are NaN."""
        more = np.full((len(rows), outputs - self.outputs), np.nan, dtype=np.float32)
        return np.concatenate([rows, more.view(np.uint8)], axis=1)
