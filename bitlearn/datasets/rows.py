"""Some rows of an array, read as they are asked for: a file that is mapped into memory is never copied whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Transform = Callable[[np.ndarray], np.ndarray]


class Rows:
    """Some rows of an array in any order, which behave like an array and are read only when needed.

    Parameters
    ----------
    source : ndarray, shape (count, ...)
        May be memory-mapped (`numpy.memmap`).
    index : ndarray of int, shape (rows,)
        Which rows, in which order.
    transform : callable, optional
        Applied to rows when they are read: from an array of some rows to one of the same shape and type.

    Examples
    --------
    >>> rows = Rows(np.arange(8).reshape(4, 2), np.array([3, 0, 2]), lambda x: -x)
    >>> rows[1:]
    array([[ 0, -1],
           [-4, -5]])
    >>> rows.shape, np.asarray(rows)[:, 0].tolist()
    ((3, 2), [-6, 0, -4])
    """

    def __init__(self, source: np.ndarray, index: np.ndarray, transform: Transform | None = None):
        self.source, self.index, self.transform = source, index, transform

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all rows together."""
        return (len(self.index), *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """The type of a value."""
        return self.source.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.source.ndim

    @property
    def nbytes(self) -> int:
        """The bytes that all rows would take as an array."""
        return len(self.index) * self.source[:1].nbytes

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Any) -> np.ndarray:
        rows, *others = index if isinstance(index, tuple) else (index,)
        if rows is None or rows is Ellipsis or (others and not isinstance(rows, (slice, int, np.integer))):
            return self[:][index]  # where axes do not go their own ways
        chosen = np.asarray(self.index[rows])
        found = np.asarray(self.source[chosen.ravel()])
        found = found if self.transform is None else self.transform(found)
        return found.reshape(chosen.shape + found.shape[1:])[(slice(None),) * chosen.ndim + tuple(others)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows can become an array only by a copy, got copy=False")
        return self[:].astype(dtype or self.dtype, copy=False)

    def __repr__(self) -> str:
        how = "" if self.transform is None else f", {self.transform!r}"
        return f"Rows({len(self)} of {self.dtype} {self.source.shape}{how})"
