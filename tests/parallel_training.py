"""What the tests of training over several workers share."""

from __future__ import annotations

import hashlib

from small import examples

from bitlearn.training import LocalWorkers, Trainer


def run(trainer: Trainer, name: str, steps: int, batch: int = 10, rate: float = 0.01) -> list[float]:
    data = examples(name, batch * steps)
    codes = data.codes()
    losses = [trainer.step(codes[i : i + batch], data.y[i : i + batch], rate) for i in range(0, batch * steps, batch)]
    trainer.settle()
    return losses


def digest(state: dict[str, bytes]) -> str:
    """Return the SHA-256 of what `small.everything` gives."""
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(state[name])
    return total.hexdigest()


class Remembering(LocalWorkers):
    """Workers whose replicas a test looks into."""

    def __init__(self, count):
        super().__init__(count)
        self.replicas = []

    def open(self, number, blank):
        replicas = self.replicas

        class Noted:
            def replica(self):
                replicas.append(blank.replica())
                return replicas[-1]

        return super().open(number, Noted())
