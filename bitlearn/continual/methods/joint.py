"""Joint training: all tasks seen so far at once, which no device with little memory could. The upper bound."""

from __future__ import annotations

import numpy as np

from bitlearn.continual.methods.method import Method, TaskTraining, training_on
from bitlearn.continual.options import Options
from bitlearn.continual.scenario import Scenario, Task
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.model import Model


class Joint(Method):
    """Train on all tasks seen so far, from the same fresh weights each time, for as many epochs.

    What it keeps of earlier tasks is their raw examples, all of them; the scenario holds these, so none are counted as
    replay memory.
    """

    def __init__(self, model: Model, scenario: Scenario, options: Options):
        super().__init__(model, scenario, options)
        self._live = model.state()
        self._fresh = {name: array.copy() for name, array in self._live.items()}

    def training(self, task: Task) -> TaskTraining:
        """Return to the fresh weights, and train on all examples so far."""
        for name, array in self._live.items():
            array[...] = self._fresh[name]
        seen = [each.train for each in self.scenario.tasks[: task.index + 1]]
        x, y = (np.concatenate([getattr(part, name) for part in seen]) for name in ("x", "y"))
        return training_on(self.model, Examples(x, y, task.train.preparation), self.options)
