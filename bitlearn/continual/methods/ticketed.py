"""What methods share that keep a subnetwork for each task, and predict with the one of an example's task."""

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
        "Which ticket predicts at test time: that of the example's task, that of the last task, or the one that is the "
        "surest. By default the first where the scenario tells the task, or has the same classes in each, else the "
        "second.",
    )


class Ticketed(Method):
    """Learn a subnetwork of one network for each task.

    Which of them predicts an example is told by the scenario, or by ``identity``: the last one, or the one that
    is the surest. A ticket knows the classes of its task alone.
    """

    takes = TicketedOptions
    options: TicketedOptions
    tells_apart = True
    resumes = False
    #: How errors call it.
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
        """As the option of that name."""
        return self.options.identity

    def frozen(self, task: int) -> Frozen:
        """Return the inference form of a task's subnetwork, with the weights that the network has now."""
        raise NotImplementedError

    def predictor_of(self, task: int) -> Predictor:
        """Return what predicts with a task's subnetwork; ValueError of a task that was never learned."""
        if task not in self._predictors:
            self._predictors[task] = Predictor(self.networks.lower, self.frozen(task))
        return self._predictors[task]

    def known(self, train: Examples) -> np.ndarray:
        """Return the outputs of the classes that the subnetwork of a task knows."""
        return np.unique(train.y)

    @property
    def predictor(self) -> Any:
        """What predicts where tasks are not told: the last ticket, or the surest one."""
        if not self.classes:
            raise ValueError(f"{self.name} must have learned a task before it predicts, got none")
        if self.identity == "confidence":
            tickets = [(self.predictor_of(task), outputs) for task, outputs in self.classes.items()]
            return Surest(tickets, self.networks.outputs)
        return self.predictor_of(max(self.classes))

    def finish(self, index: int, train: Examples) -> None:
        """Keep which classes the task had; subnetworks may have changed."""
        super().finish(index, train)
        self.classes[index] = self.known(train)
        self._predictors.clear()

    def class_rows(self, tasks: int) -> np.ndarray:
        """Return which outputs each of so many tasks knows, (tasks, outputs) of 0 and 1; none of one not learned."""
        found = np.zeros((tasks, self.outputs), dtype=np.uint8)
        for task, outputs in self.classes.items():
            found[task, outputs] = 1
        return found

    def take_classes(self, rows: np.ndarray, learned: Iterable[int]) -> None:
        """Take up what `class_rows` gave; ValueError where it is not of the tasks that were learned."""
        known = [int(task) for task in np.flatnonzero(rows.any(axis=1))]
        if (rows > 1).any() or known != sorted(learned):
            raise ValueError("classes must be 0 or 1, and some of each task that was learned, got others")
        self.classes = {task: np.flatnonzero(rows[task]) for task in known}
        self._predictors.clear()

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Refuse a stream, which has no tasks."""
        raise ValueError(f"{self.name} must be given tasks, got a batch of a stream")

    def grow(self, outputs: int) -> None:
        """Refuse more outputs: they have to be there from the start."""
        raise ValueError(f"{self.name} must have all {self.networks.outputs} outputs from the start, got {outputs}")


class Surest:
    """Tickets of which the one that is the surest of a class of its task predicts.

    Parameters
    ----------
    tickets : list of (Predictor, ndarray)
        Each with the outputs of its task's classes.
    outputs : int
        How many there are.
    """

    def __init__(self, tickets: list[tuple[Predictor, np.ndarray]], outputs: int):
        self.tickets, self.outputs = tickets, outputs

    def scores(self, x: Batch) -> np.ndarray:
        """Return log-probabilities of outputs among their own task's, of the surest ticket, (count, outputs)."""
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
