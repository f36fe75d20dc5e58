"""CWR*: a backbone that is frozen after the first task, and a head whose rows are consolidated after each."""

from __future__ import annotations

import numpy as np

from bitlearn.continual.cwr import CwrHead
from bitlearn.continual.methods.method import Method, TaskTraining, packed_bits, packed_layers, real_head, training_on
from bitlearn.continual.options import Options
from bitlearn.continual.scenario import Scenario, Task
from bitlearn.nn.model import Model


class Cwr(Method):
    """Learn the backbone from the first task, and of the others the head alone (arXiv 2308.15308).

    The bits of a task's examples behind the backbone are computed once a task and kept while it is learned: one bit a
    value, less than the examples themselves wherever a layer is narrower than 8 times the input.
    """

    def __init__(self, model: Model, scenario: Scenario, options: Options):
        super().__init__(model, scenario, options)
        self.cwr = CwrHead(real_head(model, "cwr").weight)
        # A real head takes bits, so they come from the layer before it.
        self.backbone, self.head = model.split(list(packed_layers(model))[-1])

    def _counts(self, task: Task) -> np.ndarray:
        return np.bincount(task.train.y, minlength=self.scenario.classes)

    def training(self, task: Task) -> TaskTraining:
        """Train everything at first, then the head on the backbone's bits."""
        self.cwr.begin(self._counts(task))
        if task.index == 0:
            return training_on(self.model, task.train, self.options)
        bits, labels = packed_bits(self.backbone, task.train), task.train.y
        return TaskTraining(
            self.head, len(labels), self.options.batch_size, lambda index, key: (bits[index], labels[index])
        )

    def finish(self, task: Task) -> None:
        """Consolidate the head."""
        self.cwr.consolidate(self._counts(task))
