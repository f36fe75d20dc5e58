"""Joint training: all tasks seen so far at once, which no device with little memory could. The upper bound."""

from __future__ import annotations

import numpy as np

from bitlearn.continual.methods.method import Method, TaskTraining
from bitlearn.continual.options import Options
from bitlearn.continual.scenario import Scenario, Task
from bitlearn.nn.model import Model
from bitlearn.rng import Key


class Joint(Method):
    """Train on all tasks seen so far, from the same fresh weights each time, for as many epochs.

    What it keeps of earlier tasks is their raw examples, all of them; the scenario holds these, so none are counted as
    replay memory. They are read from there batch by batch.
    """

    def __init__(self, model: Model, scenario: Scenario, options: Options):
        super().__init__(model, scenario, options)
        self._live = model.state()
        self._fresh = {name: array.copy() for name, array in self._live.items()}

    @property
    def kept_bytes(self) -> int:
        """The bytes of the raw examples of all tasks but the last."""
        return sum(task.train.x.nbytes for task in self.scenario.tasks[:-1])

    def training(self, task: Task) -> TaskTraining:
        """Return to the fresh weights, and train on all examples so far."""
        for name, array in self._live.items():
            array[...] = self._fresh[name]
        seen = [each.train for each in self.scenario.tasks[: task.index + 1]]
        y, ends = np.concatenate([part.y for part in seen]), np.cumsum([len(part) for part in seen])

        def batch(index: np.ndarray, key: Key) -> tuple[np.ndarray, np.ndarray]:
            codes = np.empty((len(index), *self.model.input_shape), dtype=np.int8)
            # Each task's examples become codes in its own way, as those of permuted inputs.
            for number in np.unique(of := np.searchsorted(ends, index, side="right")):
                part, here = seen[number], of == number
                codes[here] = part.codes(index[here] - (ends[number] - len(part)))
            return codes, y[index]

        return TaskTraining(self.model, len(y), self.options.batch_size, batch)
