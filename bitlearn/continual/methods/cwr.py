"""CWR*: a backbone frozen after the first task, and a head whose rows are consolidated after each task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.continual.cwr import CwrHead
from bitlearn.continual.methods.method import Method
from bitlearn.continual.networks import Networks, packed_layers, real_head
from bitlearn.continual.options import Options
from bitlearn.continual.ranges import interval
from bitlearn.continual.settings import setting
from bitlearn.continual.steps import Steps
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.nn.model import Model


@dataclass(frozen=True)
class CwrOptions(Options):
    """Options of methods with a CWR* head."""

    head_bits: int | None = setting(
        None,
        "Store the consolidated rows of a CWR* head as integers of this many bits, with a scale per row; as float32 by "
        "default.",
        interval("[2, 16]"),
    )


class Cwr(Method):
    """Learn the backbone from the first task, and only the head from the others (arXiv 2308.15308).

    The backbone's output bits for a task's examples are computed once per task and kept while it is learned: one bit
    per value, which is less than the examples themselves if the layer is narrower than 8 times the input. From a
    stream, only the head is learned, and consolidated after each batch.
    """

    takes = CwrOptions

    def __init__(self, networks: Networks, options: CwrOptions, **limits: Any):
        super().__init__(networks, options, **limits)
        self.head = CwrHead(real_head(networks.model, "cwr").weight, options.head_bits)
        # A real head takes bits, so they come from the layer before it, or from a part that is already frozen.
        self.cut = None if networks.lower is not None else self.cuts(networks.model, options)[-1]

    @classmethod
    def cuts(cls, model: Model, options: Options) -> list[str]:
        """Return the last layer whose output is packed bits: only the head is trained."""
        return list(packed_layers(model))[-1:]

    def _counts(self, y: np.ndarray) -> np.ndarray:
        return np.bincount(y, minlength=self.networks.outputs)

    def begin(self, index: int, train: Examples) -> None:
        """Load the consolidated rows of the task's classes."""
        self.head.begin(self._counts(train.y))

    def finish(self, index: int, train: Examples) -> None:
        """Consolidate the head."""
        super().finish(index, train)
        self.head.consolidate(self._counts(train.y))

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Load the rows of a batch's classes, train the head, and consolidate."""
        self.head.begin(self._counts(y))
        super().learn(steps, codes, y, number)
        self.head.consolidate(self._counts(y))

    def grow(self, outputs: int) -> None:
        """Grow to more outputs, without examples so far."""
        super().grow(outputs)
        self.head.grow(real_head(self.networks.model, "cwr").weight)

    def arrays(self) -> Arrays:
        """Return the consolidated rows and the numbers of examples."""
        return self.head.arrays()
