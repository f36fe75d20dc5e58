"""On-device baselines: after the first task only part of the network is trained, without protecting earlier tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bitlearn.continual.grams import weighted
from bitlearn.continual.methods.method import Method
from bitlearn.continual.networks import Networks, packed_layers
from bitlearn.continual.options import Options
from bitlearn.continual.settings import setting
from bitlearn.continual.steps import Steps
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.nn.model import Model


class Tuned(Method):
    """Train the whole network on the first task, then only the head and what `trains_later` selects.

    Batch norms are constant after the first task. A parameter whose gradient is stopped does not move, because the
    optimiser's moments are reset with each task.
    """

    streams = False
    #: Its name in messages.
    name: ClassVar[str]

    def __init__(self, networks: Networks, options: Options, **limits: Any):
        super().__init__(networks, options, **limits)
        self.settled = False
        self.head = networks.model.names[-1]
        self.transforms = (self._stop,)

    def trains_later(self, name: str) -> bool:
        """Whether a parameter is trained after the first task."""
        return False

    def _stop(self, name: str, gradient: np.ndarray, parameter: np.ndarray) -> None:
        if self.settled and not name.startswith(f"{self.head}.") and not self.trains_later(name):
            gradient[...] = 0

    def finish(self, index: int, train: Examples) -> None:
        """Make batch norms constant once the first task is over."""
        super().finish(index, train)
        if not self.settled:
            self.networks.model, self.settled = self.networks.model.fixed(), True

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Raise ValueError: the method needs whole tasks."""
        raise ValueError(f"{self.name} must be given whole tasks, by fit_task, got a batch of a stream")

    def arrays(self) -> dict[str, np.ndarray]:
        """Return whether the first task is over."""
        return {"settled": np.array([self.settled])}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the results of `arrays`."""
        super().restore(arrays)
        self.settled = bool(arrays["settled"][0])


class LastLayer(Tuned):
    """Train only the head after the first task: the rest is frozen, and its output bits are computed once per task."""

    name = "last-layer"

    def __init__(self, networks: Networks, options: Options, **limits: Any):
        super().__init__(networks, options, **limits)
        self.transforms = ()
        self.cut = None if networks.lower is not None else self.cuts(networks.model, options)[-1]

    @classmethod
    def cuts(cls, model: Model, options: Options) -> list[str]:
        """Return the last layer whose output is packed bits."""
        found = list(packed_layers(model))[-1:]
        if not found:
            raise ValueError(f"last-layer must have a model that can be cut at bits, got {', '.join(model.names)}")
        return found


class Biases(Tuned):
    """Train biases and the head after the first task: the cheap form of TinyTL (arXiv 2007.11622)."""

    name = "biases"

    def trains_later(self, name: str) -> bool:
        """Whether it is a bias."""
        return name.endswith(".bias")


@dataclass(frozen=True)
class SparseUpdateOptions(Options):
    """Options of ``sparse-update``."""

    layers: tuple[str, ...] = setting(
        (), "The layers that are trained besides the head; by default the last one before it that has weights."
    )


class SparseUpdate(Tuned):
    """Train only the layers ``layers`` and the head after the first task: sparse update (arXiv 2206.15472).

    By default it is the last layer with weights before the head. The network is frozen up to the last layer before them
    whose output is bits, which are computed once per task.
    """

    name = "sparse-update"
    takes = SparseUpdateOptions

    def __init__(self, networks: Networks, options: SparseUpdateOptions, **limits: Any):
        super().__init__(networks, options, **limits)
        self.layers = options.layers or tuple([name for name in weighted(networks.model) if name != self.head][-1:])
        if set(self.layers) - set(networks.model.names) or not self.layers:
            raise ValueError(f"layers must name some of {', '.join(networks.model.names)}, got {options.layers}")
        first = min(networks.model.names.index(name) for name in self.layers)
        names = networks.model.names
        before = [name for name in packed_layers(networks.model) if name in names[:first]]
        self.cut = before[-1] if before and networks.lower is None else None

    def trains_later(self, name: str) -> bool:
        """Whether it belongs to one of the layers."""
        return name.rpartition(".")[0] in self.layers
