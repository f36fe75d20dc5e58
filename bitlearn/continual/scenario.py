"""Scenarios: tasks that a learner meets one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from bitlearn import streams
from bitlearn.datasets.preparation import Examples
from bitlearn.rng import Key

Label = int | str
#: Classes that a task's title shows.
_MOST_SHOWN = 6


@dataclass(frozen=True, eq=False)
class Task:
    """What a learner learns at a time.

    Parameters
    ----------
    index : int
        The task's position in the scenario, from 0.
    classes : tuple of int or str
        The classes that it is tested on, in the scenario's order and as they were given.
    train, test : Examples
        Their ``y`` are outputs of the network: positions in the scenario's `labels`.
    outputs : tuple of int, optional
        The outputs to predict among at test time; all by default.
    name : str
        What distinguishes the task, if not its classes: an angle, a domain.
    """

    index: int
    classes: tuple[Label, ...]
    train: Examples
    test: Examples
    outputs: tuple[int, ...] | None = None
    name: str = ""

    @property
    def title(self) -> str:
        """The task's name, or its classes.

        Examples
        --------
        >>> from bitlearn.datasets.preparation import prepare
        >>> x = np.zeros((2, 4), dtype=np.uint8)
        >>> examples = Examples(x, np.array([0, 1]), prepare(x))
        >>> Task(0, ("cat", "dog"), examples, examples).title, Task(1, (0, 1), examples, examples, name="night").title
        ('classes cat dog', 'night')
        """
        shown = [str(label) for label in self.classes]
        shown = shown if len(shown) <= _MOST_SHOWN else [*shown[:2], "…", shown[-1]]
        return self.name or f"classes {' '.join(shown)}"

    def __repr__(self) -> str:
        among = "" if self.outputs is None else f", told apart among {len(self.outputs)} outputs"
        return f"Task({self.index}, {self.title}: {len(self.train)} to learn, {len(self.test)} to test{among})"


@dataclass(frozen=True, eq=False)
class Scenario:
    """Tasks in order.

    Parameters
    ----------
    name : str
    tasks : tuple of Task
    classes : int
        The number of outputs that a network needs.
    labels : tuple of int or str, optional
        The label of each output, as given; by default its number.
    single_pass : bool
        Whether every example is seen once: `run` then makes one epoch, and only a replay memory repeats examples.
    """

    name: str
    tasks: tuple[Task, ...]
    classes: int
    labels: tuple[Label, ...] = ()
    single_pass: bool = False

    def __post_init__(self) -> None:
        if not self.labels:
            object.__setattr__(self, "labels", tuple(range(self.classes)))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example's codes."""
        return self.tasks[0].train.codes(slice(0, 1)).shape[1:]

    @property
    def tells_tasks(self) -> bool:
        """Whether the task of an example is known at test time, or all tasks have the same classes."""
        return all(task.outputs is not None or task.classes == self.tasks[0].classes for task in self.tasks)

    @property
    def class_order(self) -> tuple[Label, ...]:
        """The classes as given, in the order in which tasks introduce them."""
        return tuple(dict.fromkeys(label for task in self.tasks for label in task.classes))

    def once(self) -> Scenario:
        """Return the same tasks for online learning, in a single pass."""
        return replace(self, single_pass=True)

    def stream(self, *, seed: int = 0) -> Stream:
        """Return the training examples as a stream: task by task, each example once, in a random order within a task.

        Parameters
        ----------
        seed : int

        Returns
        -------
        Stream
            Raw examples, and labels as given.
        """
        orders = [Key(seed, task.index, streams.STREAM_ORDER).permutation(len(task.train)) for task in self.tasks]
        ends = np.cumsum([len(order) for order in orders])
        labels = np.array(self.labels)

        def read(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            parts = []
            for number in np.unique(of := np.searchsorted(ends, index, side="right")):
                train, order = self.tasks[number].train, orders[number]
                rows = order[index[of == number] - (ends[number] - len(order))]
                parts.append((train.x[rows], labels[train.y[rows]]))
            return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])

        return Stream(self.name, int(ends[-1]), read)

    def __repr__(self) -> str:
        tasks = "".join(f"\n  {task!r}" for task in self.tasks)
        once = ", each example once" if self.single_pass else ""
        return f"Scenario({self.name!r}, {self.classes} outputs, {len(self.tasks)} tasks{once}):{tasks}"


@dataclass(frozen=True, eq=False)
class Stream:
    """Examples in the order in which they arrive.

    Parameters
    ----------
    name : str
    count : int
        The number of examples.
    read : callable
        A function from increasing positions in the stream to the examples there and their labels.

    Examples
    --------
    >>> stream = Stream("squares", 5, lambda index: (index[:, None], index**2))
    >>> [y.tolist() for _, y in stream.batches(2)]
    [[0, 1], [4, 9], [16]]
    """

    name: str
    count: int
    read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    def __len__(self) -> int:
        return self.count

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield examples and labels, `size` at a time, each batch read when needed; the last may be smaller.

        Parameters
        ----------
        size : int

        Yields
        ------
        x, y : ndarray

        Raises
        ------
        ValueError
            If `size` is below 1.
        """
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        return (self.read(np.arange(at, min(at + size, self.count))) for at in range(0, self.count, size))

    def __repr__(self) -> str:
        return f"Stream({self.name!r}, {self.count} examples)"
