"""Fine-tuning of the head alone, without consolidation."""

from __future__ import annotations

from bitlearn.continual.methods.method import Lesson, Method, packed_bits
from bitlearn.continual.scenario import Task


class NaiveFrozen(Method):
    """Learn the whole network from the first task, then the last layer alone."""

    def lesson(self, task: Task) -> Lesson:
        """Train everything at first, then the last layer on the bits in front of it."""
        if task.index == 0:
            return super().lesson(task)
        lower, head = self.model.split(self.model.names[-2])
        bits, labels = packed_bits(lower, task.train), task.train.y

        def batch(index, key):
            return bits[index], labels[index]

        return Lesson(head, len(labels), self.options.batch_size, batch)
