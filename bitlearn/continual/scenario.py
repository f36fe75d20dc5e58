"""Scenarios: a data set divided into tasks that a learner meets one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlearn import streams
from bitlearn.datasets.preparation import Examples, Preparation, prepare
from bitlearn.errors import by_name
from bitlearn.rng import Key

#: Names of the contract that a later version brings.
PLANNED = ("domain", "task", "permuted")


@dataclass(frozen=True, eq=False)
class Task:
    """What a learner is given at a time.

    Parameters
    ----------
    index : int
        The task's place in the scenario, from 0.
    classes : tuple of int
        The classes that occur in it, in the scenario's order.
    train, test : Examples
    """

    index: int
    classes: tuple[int, ...]
    train: Examples
    test: Examples


@dataclass(frozen=True, eq=False)
class Scenario:
    """Tasks in order.

    Parameters
    ----------
    name : str
    tasks : tuple of Task
    classes : int
        Of all tasks together: how many outputs a network needs.
    """

    name: str
    tasks: tuple[Task, ...]
    classes: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example's codes."""
        return self.tasks[0].train.codes(slice(0, 1)).shape[1:]


def class_incremental(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    tasks: int,
    *,
    seed: int | None = None,
    preparation: Preparation | None = None,
) -> Scenario:
    """Divide a data set into tasks of different classes; which task an example is of is not told at test time.

    Parameters
    ----------
    x_train, x_test : ndarray, shape (count, ...)
        Raw images or features.
    y_train, y_test : ndarray of int, shape (count,)
        Labels from 0; each up to the largest one must occur in both.
    tasks : int
        In [1, classes]. Where it does not divide the classes, the first tasks have one class more than the others.
    seed : int, optional
        Of a random order of classes; by default they come in the order of their numbers.
    preparation : Preparation, optional
        How raw examples become codes; by default fitted on all training data, so that the range of each feature, and
        nothing else, is known beforehand. For uint8 data there is nothing to fit.

    Returns
    -------
    Scenario

    Raises
    ------
    TypeError
        Where labels are not integers.
    ValueError
        Where a class is missing, shapes do not fit, or there are too many tasks.

    Notes
    -----
    Class-incremental learning as in arXiv 1904.07734 (three scenarios for continual learning).

    Examples
    --------
    >>> x, y = np.zeros((6, 4), dtype=np.uint8), np.array([0, 1, 2, 0, 1, 2])
    >>> [task.classes for task in class_incremental(x, y, x, y, 2).tasks]
    [(0, 1), (2,)]
    """
    x_train, y_train = _checked("train", x_train, y_train)
    x_test, y_test = _checked("test", x_test, y_test)
    classes = int(max(y_train.max(), y_test.max())) + 1
    for part, y in (("y_train", y_train), ("y_test", y_test)):
        missing = np.setdiff1d(np.arange(classes), y)
        if len(missing):
            raise ValueError(f"each of the {classes} classes must occur in {part}, got none of class {missing[0]}")
    if not 1 <= tasks <= classes:
        raise ValueError(f"tasks must be in [1, {classes}], one class a task at least, got {tasks}")
    preparation = preparation or prepare(x_train)
    order = np.arange(classes) if seed is None else Key(seed, stream=streams.CLASS_ORDER).permutation(classes)

    def task(index: int, members: np.ndarray) -> Task:
        train, test = np.isin(y_train, members), np.isin(y_test, members)
        return Task(
            index,
            tuple(int(label) for label in members),
            Examples(x_train[train], y_train[train], preparation),
            Examples(x_test[test], y_test[test], preparation),
        )

    parts = np.array_split(order, tasks)
    return Scenario("class", tuple(task(index, members) for index, members in enumerate(parts)), classes)


def _checked(part: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x), np.asarray(y)
    if y.dtype.kind not in "iu":
        raise TypeError(f"y_{part} must hold integers, got {y.dtype}")
    if y.ndim != 1 or len(y) == 0 or x.shape[:1] != y.shape:
        raise ValueError(f"x_{part} and y_{part} must hold as many examples, at least one, got {x.shape} and {y.shape}")
    if y.min() < 0:
        raise ValueError(f"labels must be at least 0, got {y.min()} in y_{part}")
    return x, y.astype(np.int64)


SCENARIOS = {"class": class_incremental}


def build(
    name: str,
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    tasks: int,
    *,
    seed: int | None = None,
    preparation: Preparation | None = None,
) -> Scenario:
    """Return a scenario by its name.

    Parameters
    ----------
    name : {"class"}
    x_train, y_train, x_test, y_test, tasks, seed, preparation
        As `class_incremental`.

    Returns
    -------
    Scenario

    Raises
    ------
    ValueError
        Where there is none of that name, or it is not built yet; and as `class_incremental`.

    Examples
    --------
    >>> x, y = np.zeros((2, 4), dtype=np.uint8), np.array([0, 1])
    >>> build("domain", x, y, x, y, 2)
    Traceback (most recent call last):
    ...
    ValueError: scenario 'domain' is not built yet; there are class
    """
    divide = by_name("scenario", name, SCENARIOS, PLANNED)
    return divide(x_train, y_train, x_test, y_test, tasks, seed=seed, preparation=preparation)
