"""Labels of any kind and their outputs: a class seen for the first time gets a new output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from bitlearn.continual.scenario import Label
from bitlearn.errors import brief


def normalized(y: Any, name: str = "y") -> np.ndarray:
    """Return labels of any type as an array of integers, bool or strings.

    Raises
    ------
    TypeError
        If they are neither integers nor strings.
    """
    found = np.asarray(y)
    if found.dtype.kind in "ST" or (found.dtype.kind == "O" and all(isinstance(label, str) for label in found.ravel())):
        found = found.astype(str)
    if found.dtype.kind not in "biuU":
        raise TypeError(f"{name} must hold integers or strings, got {found.dtype}")
    return found


def array_of(y: Any) -> np.ndarray:
    """Return labels as an array of int64 or of strings.

    Raises
    ------
    TypeError
        If they are neither integers nor strings.
    ValueError
        If they are not one-dimensional.
    """
    found = np.asarray(y)
    found = normalized(found.astype(np.int64) if not found.size and found.dtype.kind == "f" else found)  # an empty list
    if found.ndim != 1:
        raise ValueError(f"y must have shape (count,), got {found.shape}")
    return found if found.dtype.kind == "U" else found.astype(np.int64)


class Labels:
    """The labels seen so far, in the order in which they appeared: the position of each is its output.

    Parameters
    ----------
    known : iterable of int or str
        Labels known in advance: they get the first outputs.

    Examples
    --------
    >>> labels = Labels(["cat"])
    >>> labels.outputs(np.array(["dog", "cat", "dog"])), labels.names
    (array([1, 0, 1]), ['cat', 'dog'])
    """

    def __init__(self, known: Iterable[Label] = ()):
        self.names: list[Label] = []
        self._outputs: dict[Label, int] = {}
        self.outputs(array_of(list(known)))

    def __len__(self) -> int:
        return len(self.names)

    def check(self, y: np.ndarray) -> None:
        """Raise TypeError if labels are strings and earlier ones were not, or the other way round."""
        if self.names and len(y) and isinstance(self.names[0], str) != (y.dtype.kind == "U"):
            raise TypeError(f"y must hold labels like {self.names[0]!r}, got {brief(y.tolist()[0])}")

    def outputs(self, y: np.ndarray) -> np.ndarray:
        """Return the output of each label, with new outputs for labels not seen before.

        Parameters
        ----------
        y : ndarray of int64 or str, shape (count,)
            From `array_of`.

        Returns
        -------
        ndarray of int64, shape (count,)
        """
        self.check(y)
        given = y.tolist()
        for label in given:
            if label not in self._outputs:
                self._outputs[label] = len(self.names)
                self.names.append(label)
        return np.array([self._outputs[label] for label in given], dtype=np.int64)

    def drop(self, count: int) -> None:
        """Forget all labels but the first `count`."""
        for label in self.names[count:]:
            del self._outputs[label]
        del self.names[count:]

    def known(self, y: np.ndarray) -> np.ndarray:
        """Return the output of each label, -1 for labels not seen before."""
        return np.array([self._outputs.get(label, -1) for label in y.tolist()], dtype=np.int64)

    def at(self, outputs: np.ndarray) -> np.ndarray:
        """Return the labels of outputs."""
        return np.array(self.names)[outputs]
