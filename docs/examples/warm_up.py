"""An optimiser's rule from another one's kernel: SGD whose rate rises over the first steps."""

from __future__ import annotations

from dataclasses import dataclass

from bitlearn.optim import SGD


@dataclass(frozen=True)
class WarmUp(SGD):
    """SGD with momentum, at ``step / steps`` of the rate for the first steps.

    Parameters
    ----------
    learning_rate, momentum : float
    steps : int
    """

    steps: int = 100

    def numbers(self, step, learning_rate, factor):
        return super().numbers(step, learning_rate * min(1.0, step / self.steps), factor)
