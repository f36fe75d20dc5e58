"""Gradient projection memory: updates stay out of the subspace that a layer's earlier inputs fill."""

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
        "How to find the part of an update that would change earlier tasks: by bases with a fraction of the energy of "
        "their inputs, or by the null space of the inputs' sums of products.",
    )
    energy: float | tuple[float, ...] = setting(
        0.97,
        "The fraction of the energy of a layer's inputs that its basis holds after the first task: one value for all "
        "layers, or one per layer, the last of which applies to all further ones.",
        interval("(0, 1]"),
    )
    energy_growth: float = setting(0.003, "How much this fraction grows with each task.", interval("[0, 1]"))
    representations: int = setting(300, "The number of a task's examples from which bases are computed.", at_least(1))


class Gpm(Method):
    """Learn the first task freely, and the others in directions that leave the outputs for earlier inputs unchanged.

    Attributes
    ----------
    spaces : dict of str to Space
        By the name of a parameter: the space that earlier inputs of its layer fill.
    learned : ndarray of int64, shape (1,)
        How many tasks have been learned.

    Notes
    -----
    arXiv 2103.09762. After each task, ``representations`` of its examples run through the network, and the directions
    that hold the fraction ``energy`` of each layer's inputs are added to its basis M. The update of a weight, whatever
    the optimiser, then becomes ``d - d M M^T``, with the columns in 32, 8 or 4 bits (QGPM). With ``projection="ratio"``
    it is ``d V V^T``, where V is the `null_space <bitlearn.continual.subspaces.null_space>` of all inputs so far
    (Adam-NSCL, CVPR 2021).

    After the first task everything else is constant: biases, and the running statistics of batch norms. The head's rows
    are projected like all others, so the outputs for earlier inputs do not change, including those of new classes.

    In a binary layer the latent weights are projected, but ``sign(W + d) - sign(W)`` does not lie in the null space, so
    there it is a heuristic. Rounding to a narrow type is not projected either: float16 or integer latent weights leave
    the null space by up to their last place.
    """

    streams = False
    takes = GpmOptions
    options: GpmOptions

    def __init__(self, networks: Networks, options: GpmOptions, **limits: Any):
        super().__init__(networks, options, **limits)
        if options.memory_budget is not None:
            raise ValueError(
                "memory_budget must be left out with gpm, since plans do not count its bases, "
                f"got {options.memory_budget!r}"
            )
        layers, kind = weighted(networks.model), SPACES[options.projection]
        self.spaces: dict[str, Space] = {f"{name}.weight": kind(n, options) for name, n in layers.items()}
        self.learned = np.zeros(1, dtype=np.int64)
        self.transforms = (of_update(self._keep),)

    def _keep(self, name: str, change: np.ndarray, parameter: np.ndarray) -> None:
        """Project an update so that it does not affect earlier tasks."""
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
        """The multiply-adds for projecting the updates of all weights."""
        parameters = self.networks.model.parameters()
        return sum(len(parameters[name]) * space.work for name, space in self.spaces.items()) if self.learned[0] else 0

    @property
    def free(self) -> dict[str, int]:
        """The number of directions in which each weight's rows may still change."""
        return {name: space.free for name, space in self.spaces.items()}

    def energy(self, layer: int, task: int) -> float:
        """Return the fraction of the energy that a layer's basis must hold after a task, by their indices."""
        given = self.options.energy
        first = given[min(layer, len(given) - 1)] if isinstance(given, tuple) else given
        return min(first + self.options.energy_growth * task, 1.0)

    def finish(self, index: int, train: Examples) -> None:
        """Add a task's inputs to the bases; after the first task, make batch norms constant."""
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
        """Raise ValueError: the method needs whole tasks."""
        raise ValueError("gpm must be given whole tasks, by fit_task, got a batch of a stream")

    def arrays(self) -> Arrays:
        """Return the bases, or sums, and how many tasks have been learned."""
        kept = [under(f"space.{name}.", space.arrays()) for name, space in self.spaces.items()]
        return {"learned": self.learned} | {name: array for each in kept for name, array in each.items()}

    def restore(self, arrays: Arrays) -> None:
        """Restore the results of `arrays`."""
        learned = arrays.get("learned")
        if learned is None or learned.shape != (1,) or learned.dtype != np.int64 or learned[0] < 0:
            raise ValueError(f"learned must be one number of at least 0, got {learned}")
        found = {name: within(f"space.{name}.", arrays) for name in self.spaces}
        if 1 + sum(map(len, found.values())) != len(arrays):
            raise ValueError(f"it must hold a basis for each of {', '.join(self.spaces)}, got {', '.join(arrays)}")
        for name, space in self.spaces.items():
            space.restore(found[name])
        self.learned[...] = learned
