"""Methods that learn by exact sums: no training steps, no dependence on order, no forgetting."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from bitlearn.continual.features import inputs
from bitlearn.continual.incremental import IncrementalLearner
from bitlearn.continual.methods.featured import Featured
from bitlearn.continual.networks import Networks
from bitlearn.continual.options import Options
from bitlearn.continual.sized import Form, form_of
from bitlearn.nn.frozen import Batch, Frozen


class Outputs:
    """A learner whose labels are outputs; outputs without examples get the lowest score.

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


class Summing(Featured):
    """Add each task's examples to a learner's sums; subclasses choose the learner."""

    #: The class of the learner, and whether its features are drawn from a seed.
    makes: ClassVar[type[IncrementalLearner]]
    draws: ClassVar[bool] = False

    def __init__(self, networks: Networks | None, options: Options, **limits: Any):
        super().__init__(networks, options, **limits)
        self.learner: IncrementalLearner | None = None
        fresh = self._fresh(None)
        if networks is not None:  # fail before a task is learned if the learner cannot be created
            fresh.check(self._form(networks))

    def _form(self, networks: Networks) -> Form:
        """Return the form of the features' input."""
        if networks.lower is not None:
            return "bits", networks.lower.root.output.shape
        if self.cut is not None:
            return "bits", networks.model.split(self.cut)[0].output_shape
        return "codes", networks.input_shape

    def _fresh(self, backbone: Frozen | None) -> IncrementalLearner:
        """Return a new learner; known limits determine the width of its integers."""
        drawn: dict[str, Any] = {}
        if self.draws:
            drawn = {"memory_budget": self.options.memory_budget, "seed": self.options.seed}
        return self.makes(**drawn, **self._limits, backbone=backbone)

    @property
    def replay_bytes(self) -> int:
        """The bytes of the sums."""
        return 0 if self.learner is None or self.learner.statistics is None else self.learner.statistics.nbytes

    @property
    def predictor(self) -> Any:
        """The learner, with scores of all outputs."""
        return None if self.learner is None else Outputs(self.learner, self.outputs)

    def needed(self, codes: Batch) -> int | None:
        """Return the bytes of sums, a head and the least working memory; None if features are drawn to fit."""
        if self.draws:
            return None
        lower = None if self.networks is None else self.networks.lower
        form = form_of(inputs(codes)) if lower is None else ("bits", lower.root.output.shape)
        learner = self._fresh(None) if self.learner is None else self.learner
        return learner.memory(form, classes=max(self.outputs, 1), least=True).total

    def add(self, codes: Batch, y: np.ndarray) -> None:
        """Add examples to the sums."""
        if self.learner is None:
            self.learner = self._fresh(None if self.networks is None else self.networks.lower)
        self.learner.partial_fit(codes, y)
