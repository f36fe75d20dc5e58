"""The data of every scenario: arrays are checked and labels mapped to outputs on entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.continual.labels import normalized
from bitlearn.continual.scenario import Label, Scenario, Task
from bitlearn.datasets.preparation import Examples, Preparation, prepare
from bitlearn.datasets.rows import Rows


@dataclass(frozen=True, eq=False)
class Data:
    """Training and test examples, whose labels are outputs of a network.

    Parameters
    ----------
    x_train, x_test : ndarray, shape (count, ...)
    y_train, y_test : ndarray of int64, shape (count,)
        Positions in `labels`.
    labels : tuple of int or str
        The labels as given, sorted.
    preparation : Preparation
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    labels: tuple[Label, ...]
    preparation: Preparation

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.labels)

    def task(
        self,
        index: int,
        classes: np.ndarray,
        train: np.ndarray,
        test: np.ndarray,
        *,
        outputs: np.ndarray | None = None,
        targets: np.ndarray | None = None,
        name: str = "",
    ) -> Task:
        """Return a task whose examples are views of the arrays.

        Parameters
        ----------
        index : int
        classes : ndarray of int
            Its classes, as outputs.
        train, test : ndarray of int or of bool
            Indices or a mask of its examples.
        outputs : ndarray of int, optional
            The outputs to predict among at test time.
        targets : ndarray of int, optional
            The output that stands for each class, by default the class itself.
        name : str

        Returns
        -------
        Task
        """
        shown = tuple(self.labels[label] for label in classes)

        def examples(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> Examples:
            rows = np.flatnonzero(rows) if rows.dtype == bool else rows
            labels = y[rows] if targets is None else targets[y[rows]]
            return Examples(Rows(x, rows), labels, self.preparation)

        parts = examples(self.x_train, self.y_train, train), examples(self.x_test, self.y_test, test)
        for part, wanted in zip(parts, ("training", "test"), strict=True):
            if not len(part):
                held = name or f"the classes {', '.join(map(str, shown))}"
                raise ValueError(f"each task must have {wanted} examples, got none of {held} in task {index + 1}")
        among = None if outputs is None else tuple(sorted(int(output) for output in outputs))
        return Task(index, shown, *parts, outputs=among, name=name)

    def scenario(self, name: str, tasks: Sequence[Task]) -> Scenario:
        """Return the scenario of these tasks, with an output for each label."""
        return Scenario(name, tuple(tasks), self.classes, self.labels)


def checked(x_train: Any, y_train: Any, x_test: Any, y_test: Any, preparation: Preparation | None = None) -> Data:
    """Check arrays and return them as a scenario takes them.

    Parameters
    ----------
    x_train, x_test : array_like, shape (count, ...)
        Raw images or features; memory-mapped arrays are not read.
    y_train, y_test : array_like of int or str, shape (count,)
        Any labels. Those of the test set must occur in the training set.
    preparation : Preparation, optional
        Fitted on all training data by default.

    Returns
    -------
    Data

    Raises
    ------
    TypeError, ValueError
        If labels are invalid, or the arrays do not fit together.
    """
    x_train, y_train = pair(x_train, y_train, "x_train", "y_train")
    x_test, y_test = pair(x_test, y_test, "x_test", "y_test")
    alike("x_train", x_train, "x_test", x_test)
    labels, train = np.unique(y_train, return_inverse=True)
    test = places(labels, y_test, "y_test")
    return Data(x_train, train, x_test, test, tuple(labels.tolist()), preparation or prepare(x_train))


def pair(x: Any, y: Any, x_name: str, y_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return examples and labels as arrays, or raise an error if they are invalid."""
    x, y = np.asarray(x), normalized(y, y_name)
    if y.ndim != 1 or len(y) == 0 or x.shape[:1] != y.shape:
        raise ValueError(f"{x_name} and {y_name} must be equally long, at least 1, got shapes {x.shape} and {y.shape}")
    return x, y


def alike(name: str, x: np.ndarray, other_name: str, other: np.ndarray) -> None:
    """Raise ValueError if the examples of two arrays differ in shape, or only one array is uint8."""
    if x.shape[1:] != other.shape[1:] or (x.dtype == np.uint8) != (other.dtype == np.uint8):
        raise ValueError(
            f"{name} and {other_name} must have the same type and shape, got {x.dtype} {x.shape[1:]} and "
            f"{other.dtype} {other.shape[1:]}"
        )


def places(labels: np.ndarray, y: np.ndarray, part: str, what: str = "class") -> np.ndarray:
    """Return the positions of labels among the sorted ones, or raise an error if one is not there."""
    if (labels.dtype.kind == "U") != (y.dtype.kind == "U"):
        raise TypeError(f"{part} must have the type of the training set's, {labels.dtype}, got {y.dtype}")
    found = np.minimum(np.searchsorted(labels, y), len(labels) - 1)
    strange = y[labels[found] != y]
    if len(strange):
        raise ValueError(f"each {what} of {part} must occur in the training set, got none of {what} {strange[0]}")
    return found


def cut(count: int, tasks: int | Sequence[int]) -> np.ndarray:
    """Return where each task ends among `count` classes, divided as equally as possible if `tasks` is an int.

    Parameters
    ----------
    count : int
    tasks : int or sequence of int
        The number of tasks, the first of which have one class more if the division leaves a remainder; or the number of
        classes of each.

    Returns
    -------
    ndarray of int, shape (tasks,)
    """
    if isinstance(tasks, (int, np.integer)):
        if not 1 <= tasks <= count:
            raise ValueError(f"tasks must be in [1, {count}], at least one class per task, got {tasks}")
        return np.cumsum([len(part) for part in np.array_split(np.arange(count), tasks)])
    sizes = [int(size) for size in tasks]
    if min(sizes, default=0) < 1 or sum(sizes) != count:
        raise ValueError(f"tasks must be numbers of classes, at least 1 each, that sum to {count}, got {sizes}")
    return np.cumsum(sizes)
