"""Objects that are notified during training and may inspect or end it: progress bars, logs, early stopping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from bitlearn.nn.frozen import Batch
from bitlearn.nn.model import Model
from bitlearn.training.budget import Plan
from bitlearn.training.step import Trainer


class Hook:
    """The base class of hooks: a subclass overrides the methods that it needs.

    Examples
    --------
    >>> class Losses(Hook):
    ...     def on_step(self, step, steps, loss):
    ...         print(f"{step} of {steps}")
    """

    def on_begin(self, model: Model, history: list[dict[str, Any]]) -> None:
        """`fit` begins; `history` has the epochs of a checkpoint that it continues from."""

    def on_plan(self, plan: Plan) -> None:
        """Training within a memory budget is about to begin, according to this plan."""

    def on_batch(self, trainer: Trainer, x: Batch, y: np.ndarray) -> None:
        """A batch is about to be learned."""

    def on_step(self, step: int, steps: int, loss: float) -> None:
        """A step is done; `step` counts from 1, of `steps` in all."""

    def on_epoch(self, entry: dict[str, Any]) -> bool | None:
        """An epoch is done: ``epoch``, ``loss``, ``validation_accuracy``, ``seconds``. True ends `fit` here."""

    def on_end(self) -> None:
        """`fit` ends, normally or by an exception."""


class Hooks(Hook):
    """Several hooks as one; objects that are not a `Hook` are notified of the events they have methods for."""

    def __init__(self, hooks: Hook | Iterable[Hook] | None):
        self.hooks = [] if hooks is None else list(hooks) if isinstance(hooks, Iterable) else [hooks]

    def _tell(self, method: str, *arguments: Any) -> bool:
        """Notify all hooks that have the method; return whether one of them returned True."""
        said = [getattr(hook, method)(*arguments) for hook in self.hooks if hasattr(hook, method)]
        return any(each is True for each in said)

    def on_begin(self, model: Model, history: list[dict[str, Any]]) -> None:
        """Notify all hooks."""
        self._tell("on_begin", model, history)

    def on_plan(self, plan: Plan) -> None:
        """Notify all hooks."""
        self._tell("on_plan", plan)

    def on_batch(self, trainer: Trainer, x: Batch, y: np.ndarray) -> None:
        """Notify all hooks."""
        self._tell("on_batch", trainer, x, y)

    def on_step(self, step: int, steps: int, loss: float) -> None:
        """Notify all hooks."""
        self._tell("on_step", step, steps, loss)

    def on_epoch(self, entry: dict[str, Any]) -> bool:
        """Notify all hooks, and return whether one of them asks to stop."""
        return self._tell("on_epoch", entry)

    def on_end(self) -> None:
        """Notify all hooks."""
        self._tell("on_end")
