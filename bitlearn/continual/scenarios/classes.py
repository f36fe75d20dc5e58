"""Scenarios whose tasks are groups of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.continual.scenario import Scenario
from bitlearn.continual.scenarios.data import Data, checked, cut
from bitlearn.datasets.preparation import Preparation
from bitlearn.rng import Key


def groups(classes: int, tasks: int | Sequence[int], seed: int | None) -> list[np.ndarray]:
    """Return the classes of each task."""
    ends = cut(classes, tasks)
    order = np.arange(classes) if seed is None else Key(seed, stream=streams.CLASS_ORDER).permutation(classes)
    return np.split(order, ends[:-1])


def _of_classes(data: Data, name: str, parts: list[np.ndarray], told: bool = False) -> Scenario:
    """Return the scenario in which each task has all examples of some classes."""
    tasks = [
        data.task(index, part, np.isin(data.y_train, part), np.isin(data.y_test, part), outputs=part if told else None)
        for index, part in enumerate(parts)
    ]
    return data.scenario(name, tasks)


def class_incremental(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    tasks: int | Sequence[int],
    *,
    seed: int | None = None,
    preparation: Preparation | None = None,
) -> Scenario:
    """Divide a data set into tasks of different classes; the task of an example is not known at test time.

    Parameters
    ----------
    x_train, x_test : array_like, shape (count, ...)
        Raw images or features. Tasks are views: nothing is copied, and memory-mapped data (`numpy.memmap`) stay in
        their file.
    y_train, y_test : array_like of int or str, shape (count,)
        Any labels; those of the test set must occur in the training set.
    tasks : int or sequence of int
        The number of tasks, in [1, classes]; if it does not divide the number of classes, the first tasks have one
        class more than the others. Or the number of classes of each task.
    seed : int, optional
        The seed of a random order of classes, which `Scenario.class_order` reports; by default they come in the order
        of their labels.
    preparation : Preparation, optional
        How raw examples become codes; by default fitted on all training data, so that only the distribution of each
        feature is known in advance. For uint8 data there is nothing to fit.

    Returns
    -------
    Scenario

    Raises
    ------
    TypeError
        If labels are neither integers nor strings.
    ValueError
        If shapes do not fit, a class is only in the test set, a task has no test examples, or there are too many tasks.

    Notes
    -----
    Class-incremental learning as in arXiv 1904.07734 (three scenarios for continual learning).

    Examples
    --------
    >>> x, y = np.zeros((6, 4), dtype=np.uint8), np.array([5, 7, 9, 5, 7, 9])
    >>> [task.classes for task in class_incremental(x, y, x, y, 2).tasks]
    [(5, 7), (9,)]
    """
    data = checked(x_train, y_train, x_test, y_test, preparation)
    return _of_classes(data, "class", groups(data.classes, tasks, seed))


def task_incremental(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    tasks: int | Sequence[int],
    *,
    seed: int | None = None,
    preparation: Preparation | None = None,
) -> Scenario:
    """Divide a data set into tasks of different classes; the task of an example is given at test time.

    Parameters
    ----------
    x_train, y_train, x_test, y_test, tasks, seed, preparation
        As `class_incremental`.

    Returns
    -------
    Scenario
        A prediction is the best of the task's own outputs. Learning is the same as in `class_incremental`: the loss is
        over all outputs.

    Notes
    -----
    Task-incremental learning as in arXiv 1904.07734.

    Examples
    --------
    >>> x, y = np.zeros((4, 4), dtype=np.uint8), np.array([0, 1, 2, 3])
    >>> [task.outputs for task in task_incremental(x, y, x, y, 2).tasks]
    [(0, 1), (2, 3)]
    """
    data = checked(x_train, y_train, x_test, y_test, preparation)
    return _of_classes(data, "task", groups(data.classes, tasks, seed), told=True)


def stream(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    tasks: int | Sequence[int],
    *,
    seed: int | None = None,
    preparation: Preparation | None = None,
) -> Scenario:
    """Divide a data set into tasks of different classes whose examples are seen once, in small batches.

    Parameters
    ----------
    x_train, y_train, x_test, y_test, tasks, seed, preparation
        As `class_incremental`.

    Returns
    -------
    Scenario
        `class_incremental` with ``single_pass``, for which `run` accepts only one epoch.

    Examples
    --------
    >>> x, y = np.zeros((4, 4), dtype=np.uint8), np.array([0, 1, 2, 3])
    >>> stream(x, y, x, y, 2).single_pass
    True
    """
    scenario = class_incremental(x_train, y_train, x_test, y_test, tasks, seed=seed, preparation=preparation)
    return replace(scenario, name="stream", single_pass=True)


def domain_incremental(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    tasks: int,
    *,
    seed: int | None = None,
    preparation: Preparation | None = None,
) -> Scenario:
    """Divide a data set into tasks with equal numbers of classes; predict an example's class within its task.

    Parameters
    ----------
    x_train, y_train, x_test, y_test, seed, preparation
        As `class_incremental`.
    tasks : int
        The number of tasks, which must divide the number of classes.

    Returns
    -------
    Scenario
        Output ``k`` stands for the class at position ``k`` of every task: for digits in five tasks, output 0 for even
        digits and output 1 for odd ones.

    Raises
    ------
    ValueError
        If `tasks` does not divide the number of classes; also as `class_incremental`.

    Notes
    -----
    Domain-incremental learning as in arXiv 1904.07734: the question stays the same while the inputs change. `by_domain`
    is the same for data that come with domains.

    Examples
    --------
    >>> x, y = np.zeros((4, 4), dtype=np.uint8), np.array(["ant", "bee", "cat", "dog"])
    >>> scenario = domain_incremental(x, y, x, y, 2)
    >>> scenario.classes, [task.classes for task in scenario.tasks], scenario.tasks[1].test.y.tolist()
    (2, [('ant', 'bee'), ('cat', 'dog')], [0, 1])
    """
    data = checked(x_train, y_train, x_test, y_test, preparation)
    if not isinstance(tasks, (int, np.integer)) or tasks < 1 or data.classes % tasks:
        raise ValueError(f"tasks must be a number that divides the {data.classes} classes, got {tasks}")
    parts = groups(data.classes, tasks, seed)
    targets = np.empty(data.classes, dtype=np.int64)
    for part in parts:
        targets[part] = np.arange(len(part))
    made = tuple(
        data.task(index, part, np.isin(data.y_train, part), np.isin(data.y_test, part), targets=targets)
        for index, part in enumerate(parts)
    )
    return Scenario("domain", made, len(parts[0]))
