"""Scenarios whose tasks share classes: new examples, domains, blurred borders, and custom lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.continual.scenario import Scenario, Task
from bitlearn.continual.scenarios.classes import groups
from bitlearn.continual.scenarios.data import alike, checked, pair, places
from bitlearn.datasets.preparation import Examples, Preparation, prepare
from bitlearn.rng import Key


def new_instances(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    tasks: int | Sequence[int],
    *,
    seed: int | None = None,
    preparation: Preparation | None = None,
) -> Scenario:
    """Divide a data set into tasks that all have all classes, but different examples.

    Parameters
    ----------
    x_train, y_train, x_test, y_test, preparation
        As `class_incremental`.
    tasks : int or sequence of int
        The number of tasks, with equally many examples of every class, or the relative sizes of the tasks.
    seed : int, optional
        Decides which task an example belongs to; 0 by default.

    Returns
    -------
    Scenario
        Every task is tested on the whole test set.

    Raises
    ------
    ValueError
        If a class does not have a training example for each task; also as `class_incremental`.

    Notes
    -----
    "New instances" (NI) of arXiv 1705.03550. Of a class with ``c`` examples, the first ``t`` tasks together get
    ``c * s // S``, where ``s`` is the sum of their sizes and ``S`` the sum of all.

    Examples
    --------
    >>> x, y = np.zeros((8, 4), dtype=np.uint8), np.array([0, 1] * 4)
    >>> [task.train.y.tolist() for task in new_instances(x, y, x, y, (1, 3)).tasks]
    [[0, 1], [0, 1, 0, 1, 0, 1]]
    """
    data = checked(x_train, y_train, x_test, y_test, preparation)
    count = int(np.bincount(data.y_train).min())
    sizes = [1] * tasks if isinstance(tasks, (int, np.integer)) else [int(size) for size in tasks]
    if min(sizes, default=0) < 1:
        raise ValueError(f"tasks must be an integer of at least 1, or a sequence of sizes, got {tasks}")
    ends = np.cumsum(sizes)
    if (np.diff(count * ends // ends[-1], prepend=0) < 1).any():
        few = data.labels[int(np.bincount(data.y_train).argmin())]
        raise ValueError(f"tasks {tasks} must each get an example of every class, got {count} of class {few}")
    order = Key(seed or 0, stream=streams.INSTANCES).permutation(len(data.y_train))
    # The position of each example among those of its class, and from it its task.
    of = np.empty(len(order), dtype=np.int64)
    for label in range(data.classes):
        own = order[data.y_train[order] == label]
        of[own] = np.searchsorted(len(own) * ends // ends[-1], np.arange(len(own)), side="right")
    everything, classes = np.ones(len(data.y_test), dtype=bool), np.arange(data.classes)
    made = [data.task(i, classes, of == i, everything, name=f"part {i + 1}") for i in range(len(sizes))]
    # One shared test set, so that it is evaluated once after each task instead of once per task.
    made = [Task(each.index, each.classes, each.train, made[0].test, name=each.name) for each in made]
    return data.scenario("instances", made)


def by_domain(
    x_train: Any,
    y_train: Any,
    domain_train: Any,
    x_test: Any,
    y_test: Any,
    domain_test: Any,
    *,
    preparation: Preparation | None = None,
) -> Scenario:
    """Divide a data set into one task per domain: a place, a day, a person, a device.

    Parameters
    ----------
    x_train, y_train, x_test, y_test, preparation
        As `class_incremental`.
    domain_train, domain_test : array_like of int or str, shape (count,)
        The domain of each example. Tasks come in the order of their domains.

    Returns
    -------
    Scenario

    Raises
    ------
    TypeError, ValueError
        If a domain has no training or no test examples; also as `class_incremental`.

    Examples
    --------
    >>> x, y = np.zeros((4, 4), dtype=np.uint8), np.array([0, 1, 0, 1])
    >>> when = ["day", "day", "night", "night"]
    >>> [task.name for task in by_domain(x, y, when, x, y, when).tasks]
    ['day', 'night']
    """
    data = checked(x_train, y_train, x_test, y_test, preparation)
    _, train = pair(data.x_train, domain_train, "x_train", "domain_train")
    _, test = pair(data.x_test, domain_test, "x_test", "domain_test")
    domains, of = np.unique(train, return_inverse=True)
    tested = places(domains, test, "domain_test", "domain")
    classes = np.arange(data.classes)
    made = [data.task(i, classes, of == i, tested == i, name=str(domain)) for i, domain in enumerate(domains)]
    return data.scenario("domain", made)


def blurry(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    tasks: int | Sequence[int],
    *,
    share: float = 0.1,
    seed: int | None = None,
    preparation: Preparation | None = None,
) -> Scenario:
    """Divide a data set into tasks of different classes, and spread a fraction of each class over the other tasks.

    Parameters
    ----------
    x_train, y_train, x_test, y_test, tasks, preparation
        As `class_incremental`.
    share : float
        The fraction of the training examples of a class that is learned in tasks other than its own, in [0, 1).
    seed : int, optional
        The seed of a random order of classes, and of the choice of examples to spread; by default the classes come in
        the order of their labels.

    Returns
    -------
    Scenario
        A task is tested on its own classes.

    Raises
    ------
    ValueError
        If `share` is out of its range; also as `class_incremental`.

    Notes
    -----
    The blurry tasks of arXiv 2103.17230, class by class. ``round(share * c)`` of the ``c`` examples of a class go to
    the other tasks, in numbers that differ by at most one.

    Examples
    --------
    >>> x, y = np.zeros((20, 4), dtype=np.uint8), np.repeat([0, 1], 10)
    >>> [np.bincount(task.train.y).tolist() for task in blurry(x, y, x, y, 2, share=0.2).tasks]
    [[8, 2], [2, 8]]
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must be at least 0 and below 1, got {share}")
    data = checked(x_train, y_train, x_test, y_test, preparation)
    parts = groups(data.classes, tasks, seed)
    of = np.empty(len(data.y_train), dtype=np.int64)
    order = Key(seed or 0, stream=streams.BLURRY).permutation(len(of))
    for home, part in enumerate(parts):
        others = np.delete(np.arange(len(parts)), home)
        for label in part:
            own = order[data.y_train[order] == label]
            of[own] = home
            spread = own[: round(share * len(own))] if len(others) else own[:0]
            # Each class starts with a different task, so that no task gets all the remainders.
            of[spread] = others[(label + np.arange(len(spread))) % max(len(others), 1)]
    made = [data.task(i, part, of == i, np.isin(data.y_test, part)) for i, part in enumerate(parts)]
    return data.scenario("blurry", made)


def custom(
    tasks: Sequence[tuple[tuple[Any, Any], tuple[Any, Any]]],
    *,
    name: str = "custom",
    preparation: Preparation | None = None,
) -> Scenario:
    """Return a scenario made of the given tasks.

    Parameters
    ----------
    tasks : sequence of ((x, y), (x, y))
        The training and the test set of each task. Labels are as for `class_incremental`; the classes are those of all
        training sets together.
    name : str
    preparation : Preparation, optional
        Fitted on the training sets of all tasks by default.

    Returns
    -------
    Scenario

    Raises
    ------
    TypeError, ValueError
        If there are no tasks, labels are invalid, or tasks differ in shape or type.

    Examples
    --------
    >>> x = np.zeros((2, 4), dtype=np.uint8)
    >>> easy, hard = ((x, ["cat", "dog"]), (x, ["dog", "cat"])), ((x, ["cat", "elk"]), (x[:1], ["elk"]))
    >>> scenario = custom([easy, hard])
    >>> scenario.labels, [task.classes for task in scenario.tasks]
    (('cat', 'dog', 'elk'), [('cat', 'dog'), ('cat', 'elk')])
    """
    if not len(tasks):
        raise ValueError("tasks must hold at least one pair of a training and a test set, got none")
    sets = [
        tuple(pair(*part, f"x of task {number + 1}", f"y of task {number + 1}") for part in parts)
        for number, parts in enumerate(tasks)
    ]
    first = sets[0][0][0]
    for number, each in enumerate(sets):
        for part, (x, _) in zip(("x_train", "x_test"), each, strict=True):
            alike("x_train of task 1", first, f"{part} of task {number + 1}", x)
    labels = np.unique(np.concatenate([y for (_, y), _ in sets]))
    # The range of all values is that of the tasks' ranges.
    preparation = preparation or prepare(np.concatenate([[x.min(axis=0), x.max(axis=0)] for (x, _), _ in sets]))
    made = []
    for number, ((x, y), (x_test, y_test)) in enumerate(sets):
        train, test = places(labels, y, "y_train"), places(labels, y_test, f"y_test of task {number + 1}")
        shown = tuple(labels[np.unique(train)].tolist())
        made.append(Task(number, shown, Examples(x, train, preparation), Examples(x_test, test, preparation)))
    return Scenario(name, tuple(made), len(labels), tuple(labels.tolist()))
