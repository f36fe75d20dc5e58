"""Methods that learn by exact sums: no step, no order, nothing forgotten."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from bitlearn.continual.incremental import IncrementalLearner
from bitlearn.continual.methods.method import Method
from bitlearn.continual.networks import Networks
from bitlearn.continual.options import Options
from bitlearn.continual.steps import Steps, TaskTraining
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch, Frozen


class Outputs:
    """A learner whose labels are outputs: those that it has not met score lowest.

    Parameters
    ----------
    learner : IncrementalLearner
    outputs : int
    """

    def __init__(self, learner: IncrementalLearner, outputs: int):
        self.learner, self.outputs = learner, outputs
        self.predict = learner.predict

    def scores(self, codes: Batch) -> np.ndarray:
        """Return (count, outputs) of float64."""
        found = np.full((len(codes), self.outputs), -np.inf)
        found[:, np.array(self.learner.labels)] = self.learner.scores(codes)
        return found


class Summing(Method):
    """Add each task's examples to a learner's sums; what differs is the learner.

    Without ``Options.cut`` the sums are of the input's codes, and there need be no network. With one the network
    learns the first task, is frozen, and the sums are of the bits of the layer that is named. Where a lower part is
    frozen from the start, they are of its bits.
    """

    trains = False
    #: The class of the learner, and whether its features are drawn from a seed.
    makes: ClassVar[type[IncrementalLearner]]
    draws: ClassVar[bool] = False

    def __init__(self, networks: Networks | None, options: Options, **limits: Any):
        self.networks: Any = networks
        self.learner: IncrementalLearner | None = None
        self.options, self._limits = options, {name: value for name, value in limits.items() if value is not None}
        self._outputs = limits.get("classes") or 0
        self.cut = options.cut
        whole = None if networks is None or networks.lower is not None else networks.model
        if whole is not None and self.cut is not None and whole.split(self.cut)[0].root.output.kind != "bits":
            raise ValueError(f"cut must be a layer that gives packed bits, got {self.cut!r}")
        self._fresh(None)  # what cannot be made is refused before a task is learned

    def _fresh(self, backbone: Frozen | None) -> IncrementalLearner:
        """Return the learner before it has learned anything; limits that are known decide how wide integers are."""
        drawn: dict[str, Any] = {}
        if self.draws:
            drawn = {"memory_budget": self.options.memory_budget, "seed": self.options.seed}
        return self.makes(**drawn, **self._limits, backbone=backbone)

    @property
    def outputs(self) -> int:
        """How many labels there may be."""
        return self._outputs

    @property
    def replay_bytes(self) -> int:
        """The bytes of the sums."""
        return 0 if self.learner is None else self.learner.nbytes

    @property
    def predictor(self) -> Any:
        """The learner, with scores of all outputs."""
        return None if self.learner is None else Outputs(self.learner, self.outputs)

    def begin(self, index: int, train: Examples) -> None:
        """Do nothing."""

    def training(self, index: int, train: Examples) -> TaskTraining | None:
        """Train the network on the first task where its bits are summed."""
        waits = self.networks is not None and self.networks.lower is None and self.cut is not None
        return self.plain_training(train) if waits and index == 0 else None

    def finish(self, index: int, train: Examples) -> None:
        """Add the task's examples."""
        self._add(train.codes(), train.y)

    def _add(self, codes: Batch, y: np.ndarray) -> None:
        if self.learner is None:
            if self.networks is not None:
                self.networks.freeze(self.cut)
            self.learner = self._fresh(None if self.networks is None else self.networks.lower)
        self.learner.partial_fit(codes, y)

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Add the batch."""
        self._add(codes, y)

    def grow(self, outputs: int) -> None:
        """Take more outputs: its sums grow with the labels that come."""
        self._outputs = outputs
