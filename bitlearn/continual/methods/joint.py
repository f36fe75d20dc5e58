"""Joint training on all tasks so far at once, impossible on a device with little memory: the upper bound."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.continual.methods.method import Method
from bitlearn.continual.networks import Networks
from bitlearn.continual.options import Options
from bitlearn.continual.steps import Steps, TaskTraining
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.rng import Key


class Joint(Method):
    """Train on all tasks seen so far, from the same initial weights and for the same number of epochs each time.

    It keeps references to the raw examples of all earlier tasks. They stay where the caller has them, so they do not
    count as replay memory, and are read from there batch by batch.
    """

    lasts, streams = False, False

    def __init__(self, networks: Networks, options: Options, **limits: Any):
        super().__init__(networks, options, **limits)
        self._fresh = {name: array.copy() for name, array in networks.model.state().items()}
        self._seen: list[Examples] = []

    @property
    def kept_bytes(self) -> int:
        """The bytes of the raw examples of all tasks but the last."""
        return sum(examples.x.nbytes for examples in self._seen[:-1])

    def begin(self, index: int, train: Examples) -> None:
        """Return to the initial weights; those of outputs added later are 0."""
        for name, array in self.networks.model.state().items():
            old = self._fresh[name]
            array[...] = 0
            array[tuple(slice(size) for size in old.shape)] = old
        self._seen.append(train)

    def training(self, index: int, train: Examples) -> TaskTraining:
        """Train on all examples so far."""
        seen, lower = self._seen, self.networks.lower
        y, ends = np.concatenate([part.y for part in seen]), np.cumsum([len(part) for part in seen])

        def batch(index: np.ndarray, key: Key) -> tuple[Batch, np.ndarray]:
            codes = np.empty((len(index), *self.networks.input_shape), dtype=np.int8)
            # Each task may encode its examples in its own way, such as permuted inputs.
            for number in np.unique(of := np.searchsorted(ends, index, side="right")):
                part, here = seen[number], of == number
                codes[here] = part.codes(index[here] - (ends[number] - len(part)))
            return codes if lower is None else lower.apply(codes), y[index]

        return TaskTraining(self.networks.model, len(y), self.options.batch_size, batch)

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Raise ValueError: the method needs whole tasks."""
        raise ValueError("joint must be given whole tasks, by fit_task, got a batch of a stream")
