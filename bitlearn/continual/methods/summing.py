"""Methods that learn by exact sums: no step, no order, nothing forgotten."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.continual.incremental import IncrementalLearner
from bitlearn.continual.methods.method import Method, TaskTraining, training_on
from bitlearn.continual.options import Options
from bitlearn.continual.scenario import Scenario, Task
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.model import Model


class _Outputs:
    """A learner whose labels are outputs: those that it has not met score lowest."""

    def __init__(self, learner: IncrementalLearner, outputs: int):
        self.learner, self.outputs = learner, outputs
        self.predict = learner.predict

    def scores(self, codes: np.ndarray) -> np.ndarray:
        found = np.full((len(codes), self.outputs), -np.inf)
        found[:, np.array(self.learner.labels)] = self.learner.scores(codes)
        return found


class Summing(Method):
    """Add each task's examples to a learner's sums; what differs is the learner.

    Without ``Options.cut`` the sums are of the input's codes, and the network is left as it is. With one the network
    learns the first task, is frozen, and the sums are of the bits of the layer that is named.
    """

    learner: IncrementalLearner | None = None

    def __init__(self, model: Model, scenario: Scenario, options: Options):
        super().__init__(model, scenario, options)
        self._lower = None if options.cut is None else model.split(options.cut)[0]
        if self._lower is None or self._lower.root.output.kind == "bits":
            form = ("codes", scenario.input_shape) if self._lower is None else ("bits", self._lower.root.output.shape)
            self._fresh(None).check(form)  # what cannot be made is refused before a task is learned
        else:
            raise ValueError(f"cut must be a layer that gives packed bits, got {options.cut!r}")

    def _fresh(self, backbone: Frozen | None) -> IncrementalLearner:
        """Return the learner before it has learned anything."""
        raise NotImplementedError

    def _limits(self, backbone: Frozen | None) -> dict[str, Any]:
        """Return the scenario's limits, which decide how wide integers are, and the network."""
        examples = sum(len(task.train) for task in self.scenario.tasks)
        return {"classes": self.scenario.classes, "examples": examples, "backbone": backbone}

    def _drawn(self, backbone: Frozen | None) -> dict[str, Any]:
        """Return the settings of a learner whose features are drawn."""
        return {"memory_budget": self.options.memory_budget, "seed": self.options.seed} | self._limits(backbone)

    @property
    def replay_bytes(self) -> int:
        """The bytes of the sums."""
        return 0 if self.learner is None else self.learner.nbytes

    @property
    def predictor(self) -> Any:
        """The learner, with scores of all outputs."""
        return None if self.learner is None else _Outputs(self.learner, self.scenario.classes)

    def training(self, task: Task) -> TaskTraining | None:
        """Train the network on the first task where its bits are summed."""
        return training_on(self.model, task.train, self.options) if self._lower and task.index == 0 else None

    def finish(self, task: Task) -> None:
        """Add the task's examples."""
        if self.learner is None:
            self.learner = self._fresh(self._lower.freeze() if self._lower else None)
        self.learner.partial_fit(task.train.codes(), task.train.y)
