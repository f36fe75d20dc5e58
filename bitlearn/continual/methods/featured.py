"""Methods that learn from features; if they have a network, it only provides these."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from bitlearn.continual.budget import budget_bytes
from bitlearn.continual.methods.method import Method
from bitlearn.continual.networks import Networks
from bitlearn.continual.options import Options
from bitlearn.continual.steps import Steps, TaskTraining
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch


class Featured(Method):
    """Learn from features, without training steps.

    Without ``cut`` the features are the input's codes, and no network is needed. With it, the network learns the first
    task and is frozen, and the features are the bits of the layer ``cut``. If a lower part is frozen from the start,
    they are its output bits.
    """

    trains = False

    def __init__(self, networks: Networks | None, options: Options, **limits: Any):
        self.networks: Any = networks
        self.options, self._limits = options, {name: value for name, value in limits.items() if value is not None}
        self._outputs = limits.get("classes") or 0
        self.cut = options.cut
        whole = None if networks is None or networks.lower is not None else networks.model
        if whole is not None and self.cut is not None and whole.split(self.cut)[0].root.output.kind != "bits":
            raise ValueError(f"cut must be a layer whose output is packed bits, got {self.cut!r}")

    @property
    def outputs(self) -> int:
        """The number of labels."""
        return self._outputs

    def begin(self, index: int, train: Examples) -> None:
        """Do nothing."""

    def training(self, index: int, train: Examples) -> TaskTraining | None:
        """Train the network on the first task if its bits are the features."""
        waits = self.networks is not None and self.networks.lower is None and self.cut is not None
        return self.plain_training(train) if waits and index == 0 else None

    def finish(self, index: int, train: Examples) -> None:
        """Add the task's examples."""
        self._freeze()
        self._check(codes := train.codes())
        self.add(codes, train.y)

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Add the batch."""
        self._freeze()
        self._check(codes)
        self.add(codes, y)

    def _freeze(self) -> None:
        if self.networks is not None:
            self.networks.freeze(self.cut)

    def needed(self, codes: Batch) -> int | None:
        """Return the bytes it stores and works with for such inputs; None if it fits itself to a budget."""
        return None

    def _check(self, codes: Batch) -> None:
        """Raise ValueError if the budget is too small for what cannot be made smaller."""
        if self.options.memory_budget is None or (needed := self.needed(codes)) is None:
            return
        if needed > (budget := budget_bytes(self.options.memory_budget)):
            raise ValueError(
                f"memory_budget must be at least {needed} bytes for {self.outputs} classes of such inputs, got {budget}"
            )

    @abstractmethod
    def add(self, codes: Batch, y: np.ndarray) -> None:
        """Learn examples, given as inputs of the whole network."""

    def grow(self, outputs: int) -> None:
        """Grow to more outputs."""
        self._outputs = outputs
