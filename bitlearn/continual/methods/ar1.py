"""AR1*: a CWR* head, and synaptic intelligence for the layers before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.continual.cwr import CwrHead
from bitlearn.continual.methods.cwr import CwrOptions
from bitlearn.continual.methods.regularized import Regularized, RegularizedOptions
from bitlearn.continual.networks import Networks, real_head
from bitlearn.continual.steps import Steps
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.optim.transforms import distance
from bitlearn.serialization import under

#: The default factor of importances, the largest importance, and the term that keeps the quotient finite if a weight
#: has not moved: the values of the authors' code.
STRENGTH, LARGEST, EPSILON = 1e6, 1e-3, 1e-7


@dataclass(frozen=True)
class Ar1Options(RegularizedOptions, CwrOptions):
    """Options of ``ar1``."""


class Ar1(Regularized):
    """Train the whole network on each task, with a penalty on changes of all weights but the head's.

    Notes
    -----
    AR1* of arXiv 1907.03799 and 1912.01100, after arXiv 1806.08568. The head is that of ``cwr``. The other weights,
    except batch norms, have an importance by synaptic intelligence (arXiv 1703.04200)::

        in each step    path -= g * (change of w)                   g: the gradient of the loss without the penalty
        after a task    sum  += path / ((w - anchor)**2 + 1e-7)     anchor: w when the task began
                        strength = regularization * min(max(sum, 0), 0.001)
                        anchor = w, path = 0

    The limit of 0.001, the 1e-7 and the default of ``regularization`` are those of the authors' code. There, a negative
    sum pushes a weight away from its anchor, and ``g`` includes the penalty; here it is not so. In a stream, each batch
    counts as a task.

    In a binary layer these are the latent weights: the loss depends only on their signs, and the straight-through
    estimator gives its change along the path of a latent weight. Under a policy that keeps only the signs of gradients,
    ``g`` is this sign (divided by the square root of the fan-in for an optimiser that scales it so).
    """

    takes = Ar1Options

    def __init__(self, networks: Networks, options: Ar1Options, **limits: Any):
        self._head_name = f"{networks.model.names[-1]}.weight"
        super().__init__(networks, options, **limits)
        self.head = CwrHead(real_head(networks.model, "ar1").weight, options.head_bits)
        shapes = {name: array.shape for name, array in self.anchors.items()}
        self.paths: Arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self.sums: Arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        #: The weights before the last step, and its gradient: its contribution to the path is known once the weights
        #: have moved.
        self._last: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.transforms = (self._note, *self.transforms)

    def regularized(self) -> Arrays:
        """Return the weights of all layers but the head."""
        found = self.networks.model.parameters()
        return {name: array for name, array in found.items() if name.endswith(".weight") and name != self._head_name}

    def _note(self, name: str, gradient: np.ndarray, weight: np.ndarray) -> None:
        """Add the previous step to the path, and record the start of this one; a step that fails adds nothing."""
        if name in self.paths:
            self._take_in(name, weight)
            self._last[name] = weight.copy(), gradient.copy()

    def _take_in(self, name: str, weight: np.ndarray) -> None:
        if name in self._last:
            before, gradient = self._last.pop(name)
            self.paths[name] -= gradient * distance(weight, before)

    def _take_in_all(self) -> None:
        for name, weight in self.regularized().items():
            self._take_in(name, weight)

    def _counts(self, y: np.ndarray) -> np.ndarray:
        return np.bincount(y, minlength=self.networks.outputs)

    def begin(self, index: int, train: Examples) -> None:
        """Load the consolidated rows of the task's classes."""
        self.head.begin(self._counts(train.y))

    def finish(self, index: int, train: Examples) -> None:
        """Consolidate the head, and turn paths into importances."""
        super().finish(index, train)
        self._consolidate(train.y)

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Load the rows of a batch's classes, train, and consolidate."""
        self.head.begin(self._counts(y))
        super().learn(steps, codes, y, number)
        self._consolidate(y)

    def _consolidate(self, y: np.ndarray) -> None:
        self.head.consolidate(self._counts(y))
        self._take_in_all()
        options = self.options
        factor = np.float32(STRENGTH if options.regularization is None else options.regularization)
        for name, weight in self.regularized().items():
            moved = distance(weight, self.anchors[name])
            self.sums[name] += self.paths[name] / (moved * moved + np.float32(EPSILON))
            self.strengths[name][...] = factor * np.clip(self.sums[name], 0, np.float32(LARGEST))
            self.paths[name][...] = 0
        self.anchor()

    def grow(self, outputs: int) -> None:
        """Grow to more outputs, without importances so far."""
        super().grow(outputs)
        self.head.grow(real_head(self.networks.model, "ar1").weight)

    def arrays(self) -> Arrays:
        """Return anchors, strengths, paths, their sums, and the arrays of the head."""
        self._take_in_all()
        kept = under("path.", self.paths) | under("sum.", self.sums)
        return super().arrays() | kept | under("head.", self.head.arrays())
