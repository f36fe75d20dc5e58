"""The base of methods that keep a subnetwork per task, and predict with that of an example's task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bitlearn.continual.methods.method import Method
from bitlearn.continual.networks import Networks, Predictor
from bitlearn.continual.options import Options
from bitlearn.continual.settings import setting
from bitlearn.continual.steps import Steps
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch, Frozen


@dataclass(frozen=True)
class TicketedOptions(Options):
    """Options of methods with a subnetwork for each task."""

    identity: Literal["given", "last", "confidence"] | None = setting(
        None,
        "Which ticket predicts at test time: that of the example's task, that of the last task, or the most confident "
        "one. By default the first if the scenario tells the task or all tasks have the same classes, otherwise the "
        "second.",
    )


class Ticketed(Method):
    """Learn a subnetwork of one network for each task.

    The subnetwork that predicts for an example is given by the scenario, or chosen by ``identity``: the last one, or
    the most confident one. A ticket knows only the classes of its task.
    """

    takes = TicketedOptions
    options: TicketedOptions
    tells_apart = True
    resumes = False
    #: Its name in messages.
    name: str

    def __init__(self, networks: Networks, options: TicketedOptions, **limits: Any):
        super().__init__(networks, options, **limits)
        if options.memory_budget is not None:
            raise ValueError(f"memory_budget must be left out with {self.name}, got {options.memory_budget!r}")
        #: The outputs of each task's classes.
        self.classes: dict[int, np.ndarray] = {}
        self._predictors: dict[int, Predictor] = {}

    @property
    def identity(self) -> str | None:
        """The option of that name."""
        return self.options.identity

    def frozen(self, task: int) -> Frozen:
        """Return the inference form of a task's subnetwork, with the network's current weights."""
        raise NotImplementedError

    def predictor_of(self, task: int) -> Predictor:
        """Return the predictor with a task's subnetwork; ValueError if the task was never learned."""
        if task not in self._predictors:
            self._predictors[task] = Predictor(self.networks.lower, self.frozen(task))
        return self._predictors[task]

    def known(self, train: Examples) -> np.ndarray:
        """Return the outputs of the classes that the subnetwork of a task knows."""
        return np.unique(train.y)

    @property
    def predictor(self) -> Any:
        """The predictor if tasks are not given: the last ticket, or the most confident one."""
        if not self.classes:
            raise ValueError(f"{self.name} must have learned a task before it predicts, got none")
        if self.identity == "confidence":
            tickets = [(self.predictor_of(task), outputs) for task, outputs in self.classes.items()]
            return Surest(tickets, self.networks.outputs)
        return self.predictor_of(max(self.classes))

    def finish(self, index: int, train: Examples) -> None:
        """Store which classes the task had; subnetworks may have changed."""
        super().finish(index, train)
        self.classes[index] = self.known(train)
        self._predictors.clear()

    def class_rows(self, tasks: int) -> np.ndarray:
        """Return which outputs each task knows, 0 and 1 (tasks, outputs); all 0 for a task that was not learned."""
        found = np.zeros((tasks, self.outputs), dtype=np.uint8)
        for task, outputs in self.classes.items():
            found[task, outputs] = 1
        return found

    def take_classes(self, rows: np.ndarray, learned: Iterable[int]) -> None:
        """Restore the results of `class_rows`; ValueError if they do not match the learned tasks."""
        known = [int(task) for task in np.flatnonzero(rows.any(axis=1))]
        if (rows > 1).any() or known != sorted(learned):
            raise ValueError("classes must be 0 or 1, with at least one for each learned task, got others")
        self.classes = {task: np.flatnonzero(rows[task]) for task in known}
        self._predictors.clear()

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Raise ValueError: a stream has no tasks."""
        raise ValueError(f"{self.name} must be given tasks, got a batch of a stream")

    def grow(self, outputs: int) -> None:
        """Raise ValueError for more outputs: they all have to be there from the start."""
        raise ValueError(f"{self.name} must have all {self.networks.outputs} outputs from the start, got {outputs}")


class Surest:
    """Predicts with the ticket that is most confident in one of its task's classes.

    Parameters
    ----------
    tickets : list of (Predictor, ndarray)
        Each ticket's predictor, with the outputs of its task's classes.
    outputs : int
        The number of outputs.
    """

    def __init__(self, tickets: list[tuple[Predictor, np.ndarray]], outputs: int):
        self.tickets, self.outputs = tickets, outputs

    def scores(self, x: Batch) -> np.ndarray:
        """Return log-probabilities of outputs among their task's, from the most confident ticket, (count, outputs)."""
        found = np.full((len(x), self.outputs), -np.inf, dtype=np.float32)
        for ticket, outputs in self.tickets:
            scores = ticket.scores(x)[:, outputs].astype(np.float64)
            scores -= scores.max(axis=1, keepdims=True)
            scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
            found[:, outputs] = np.maximum(found[:, outputs], scores)
        return found

    def predict(self, x: Batch) -> np.ndarray:
        """Return the output with the largest score for each example, (count,) of int64."""
        return self.scores(x).argmax(axis=1)
