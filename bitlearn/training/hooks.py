"""What may be told of a training as it goes on, and look into it: progress bars, logs, schedules of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from bitlearn.nn.frozen import Batch
from bitlearn.training.budget import Plan
from bitlearn.training.step import Trainer


class Hook:
    """A base of hooks: a subclass has the methods that it wants.

    Examples
    --------
    >>> class Losses(Hook):
    ...     def on_step(self, step, steps, loss):
    ...         print(f"{step} of {steps}")
    """

    def on_plan(self, plan: Plan) -> None:
        """Training within a memory budget is about to begin, as planned."""

    def on_batch(self, trainer: Trainer, x: Batch, y: np.ndarray) -> None:
        """A batch is about to be learned."""

    def on_step(self, step: int, steps: int, loss: float) -> None:
        """A step is done; `step` counts from 1, of `steps` in all."""

    def on_epoch(self, entry: dict[str, Any]) -> None:
        """An epoch is done: ``epoch``, ``loss``, ``validation_accuracy``, ``seconds``."""


class Hooks(Hook):
    """Several hooks as one; what is no `Hook` is told of what it has a method for."""

    def __init__(self, hooks: Hook | Iterable[Hook] | None):
        self.hooks = [] if hooks is None else list(hooks) if isinstance(hooks, Iterable) else [hooks]

    def _tell(self, method: str, *arguments: Any) -> None:
        for hook in self.hooks:
            if hasattr(hook, method):
                getattr(hook, method)(*arguments)

    def on_plan(self, plan: Plan) -> None:
        """Tell all."""
        self._tell("on_plan", plan)

    def on_batch(self, trainer: Trainer, x: Batch, y: np.ndarray) -> None:
        """Tell all."""
        self._tell("on_batch", trainer, x, y)

    def on_step(self, step: int, steps: int, loss: float) -> None:
        """Tell all."""
        self._tell("on_step", step, steps, loss)

    def on_epoch(self, entry: dict[str, Any]) -> None:
        """Tell all."""
        self._tell("on_epoch", entry)
