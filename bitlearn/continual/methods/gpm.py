"""Gradient projection memory: what a layer's earlier inputs fill is kept free of updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bitlearn import streams
from bitlearn.continual.grams import input_grams, weighted
from bitlearn.continual.methods.method import Method
from bitlearn.continual.networks import Networks
from bitlearn.continual.ranges import at_least, interval
from bitlearn.continual.settings import setting
from bitlearn.continual.spaces import SPACES, BasisOptions, RatioOptions, Space
from bitlearn.continual.steps import Steps
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.optim import of_update
from bitlearn.rng import Key
from bitlearn.serialization import under, within


@dataclass(frozen=True)
class GpmOptions(BasisOptions, RatioOptions):
    """Options of ``gpm``."""

    projection: Literal["energy", "ratio"] = setting(
        "energy",
        "How to find the part of an update that would change earlier tasks: by bases that hold a part of the energy of "
        "their inputs, or by the null space of the inputs' sums of products.",
    )
    energy: float | tuple[float, ...] = setting(
        0.97,
        "The fraction of the energy of a layer's inputs that its basis must hold after the first task: one for all "
        "layers, or one per layer, of which the last serves all that follow.",
        interval("(0, 1]"),
    )
    energy_growth: float = setting(0.003, "How much this fraction grows with each task.", interval("[0, 1]"))
    representations: int = setting(300, "The number of a task's examples from which bases are computed.", at_least(1))


class Gpm(Method):
    """Learn the first task freely, and the others in directions that leave what earlier inputs give as it was.

    Attributes
    ----------
    spaces : dict of str to Space
        By the name of a parameter: what earlier inputs of its layer fill.
    learned : ndarray of int64, shape (1,)
        How many tasks are behind.

    Notes
    -----
    arXiv 2103.09762. After each task ``representations`` of its examples run through the network, and the
    directions of each layer's inputs that hold ``energy`` of them join its basis M. The update of a weight,
    whatever the optimiser, then is ``d - d M M^T``, with the columns in 32, 8 or 4 bits (QGPM). With
    ``projection="ratio"`` it is ``d V V^T``, V being what `null_space <bitlearn.continual.subspaces.null_space>`
    leaves of all inputs so far (Adam-NSCL, CVPR 2021).

    After the first task all that is not such a weight stays as it is: biases, and the running statistics of batch
    norms, which are constants from then on. The head's rows are projected as all others are, so outputs that earlier
    inputs get do not move, those of new classes among them.

    Of a binary layer the latent weights are projected, and ``sign(W + d) - sign(W)`` is in no null space: there it is a
    heuristic. What a type of few bits rounds is not projected either: float16 or integer latent weights leave it by
    their last place.
    """

    streams = False
    takes = GpmOptions
    options: GpmOptions

    def __init__(self, networks: Networks, options: GpmOptions, **limits: Any):
        super().__init__(networks, options, **limits)
        if options.memory_budget is not None:
            raise ValueError(
                "memory_budget must be left out with gpm, since what holds the parameters is in no plan, "
                f"got {options.memory_budget!r}"
            )
        layers, kind = weighted(networks.model), SPACES[options.projection]
        self.spaces: dict[str, Space] = {f"{name}.weight": kind(n, options) for name, n in layers.items()}
        self.learned = np.zeros(1, dtype=np.int64)
        self.transforms = (of_update(self._keep),)

    def _keep(self, name: str, change: np.ndarray, parameter: np.ndarray) -> None:
        """Keep earlier tasks out of an update."""
        if not self.learned[0]:
            return
        space = self.spaces.get(name)
        if space is None:
            change[...] = 0
        else:
            space.project(change.reshape(len(change), -1))

    @property
    def kept_bytes(self) -> int:
        """The bytes of bases, or of sums."""
        return sum(space.nbytes for space in self.spaces.values())

    @property
    def update_operations(self) -> int:
        """The multiply-adds of projecting all weights."""
        parameters = self.networks.model.parameters()
        return sum(len(parameters[name]) * space.work for name, space in self.spaces.items()) if self.learned[0] else 0

    @property
    def free(self) -> dict[str, int]:
        """In how many directions each weight's rows may still go."""
        return {name: space.free for name, space in self.spaces.items()}

    def energy(self, layer: int, task: int) -> float:
        """Return the part of the energy that a basis is to hold, of a layer and after a task, by their numbers."""
        given = self.options.energy
        first = given[min(layer, len(given) - 1)] if isinstance(given, tuple) else given
        return min(first + self.options.energy_growth * task, 1.0)

    def finish(self, index: int, train: Examples) -> None:
        """Let a task's inputs join the bases; after the first one, make batch norms constant."""
        source = self.source or self.networks.source(train, keep=False)
        key = Key(self.options.seed, int(self.learned[0]), streams.REPRESENTATIONS)
        chosen = np.sort(key.permutation(len(train))[: self.options.representations])
        names = [name.rpartition(".")[0] for name in self.spaces]
        grams = input_grams(self.networks.model, source, chosen, names)
        for layer, (name, space) in enumerate(self.spaces.items()):
            path = name.rpartition(".")[0]
            space.learn(grams[path], self.energy(layer, int(self.learned[0])), path)
        super().finish(index, train)
        if not self.learned[0]:
            self.networks.model = self.networks.model.fixed()
        self.learned += 1

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Raise: it is for tasks."""
        raise ValueError("gpm must have whole tasks, as fit_task takes them, got a batch of a stream")

    def arrays(self) -> Arrays:
        """Return the bases, or sums, and how many tasks are behind."""
        kept = [under(f"space.{name}.", space.arrays()) for name, space in self.spaces.items()]
        return {"learned": self.learned} | {name: array for each in kept for name, array in each.items()}

    def restore(self, arrays: Arrays) -> None:
        """Take up what `arrays` gave."""
        learned = arrays.get("learned")
        if learned is None or learned.shape != (1,) or learned.dtype != np.int64 or learned[0] < 0:
            raise ValueError(f"learned must be one number of at least 0, got {learned}")
        found = {name: within(f"space.{name}.", arrays) for name in self.spaces}
        if 1 + sum(map(len, found.values())) != len(arrays):
            raise ValueError(f"it must hold a basis for each of {', '.join(self.spaces)}, got {', '.join(arrays)}")
        for name, space in self.spaces.items():
            space.restore(found[name])
        self.learned[...] = learned
