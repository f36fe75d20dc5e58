"""Fine-tuning of the head alone, without consolidation."""

from __future__ import annotations

from bitlearn.continual.methods.method import Method, TaskTraining, packed_bits
from bitlearn.continual.scenario import Task


class NaiveFrozen(Method):
    """Learn the whole network from the first task, then the last layer alone."""

    def training(self, task: Task) -> TaskTraining:
        """Train everything at first, then the last layer on the bits in front of it."""
        if task.index == 0:
            return super().training(task)
        lower, head = self.model.split(self.model.names[-2])
        bits, labels = packed_bits(lower, task.train), task.train.y

        def batch(index, key):
            return bits[index], labels[index]

        return TaskTraining(head, len(labels), self.options.batch_size, batch)
