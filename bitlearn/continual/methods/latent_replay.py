"""Latent replay with 1-bit latents: what is replayed are the packed bits at which the network is cut."""

from __future__ import annotations

import numpy as np

from bitlearn import streams
from bitlearn.bits import Bits
from bitlearn.continual.cwr import CwrHead
from bitlearn.continual.methods.method import (
    Method,
    TaskTraining,
    packed_bits,
    packed_layers,
    real_head,
    training_on,
)
from bitlearn.continual.options import Options
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.continual.scenario import Scenario, Task
from bitlearn.nn.frozen import Batch
from bitlearn.nn.model import Model
from bitlearn.rng import Key


def _cut(model: Model, wanted: str | None) -> str:
    """Return the layer at which to cut."""
    sizes = packed_layers(model)
    if not sizes:
        raise ValueError(f"latent-replay must have a model with a sign layer, got the layers {', '.join(model.names)}")
    if wanted is None:
        codes = int(np.prod(model.input_shape))
        return next((name for name, size in sizes.items() if size <= codes), min(sizes, key=sizes.__getitem__))
    if wanted not in sizes:
        raise ValueError(f"cut must be a layer that gives packed bits, one of {', '.join(sizes)}, got {wanted!r}")
    return wanted


class LatentReplay(Method):
    """Learn the whole network from the first task, then the part after the cut from new and replayed bits.

    Notes
    -----
    arXiv 2401.09916, after arXiv 1912.01100. Values at a sign are ±1 already, so storing one bit a value loses nothing.
    The part up to the cut keeps its weights and running statistics after the first task; the part after it takes the
    batch statistics of the mixed batch. The new examples' bits are computed once a task and kept while it is learned.
    A task's examples enter the memory when it is over, so it holds earlier tasks alone while one is learned.
    """

    def __init__(self, model: Model, scenario: Scenario, options: Options):
        super().__init__(model, scenario, options)
        self.head = CwrHead(real_head(model, "latent-replay").weight) if options.consolidate else None
        if options.batch_size < 3:
            raise ValueError(
                f"batch_size must be at least 3, two new examples and a replayed one, got {options.batch_size}"
            )
        self.lower, self.upper = model.split(_cut(model, options.cut))
        key = Key(options.seed, stream=streams.RESERVOIR)
        self.memory = ReplayBuffer(options.replay_size, self.lower.output_shape, scenario.classes, key=key)
        self._bits: Bits | None = None

    @property
    def replay_bytes(self) -> int:
        """The bytes of the replay memory."""
        return self.memory.nbytes

    def _counts(self, task: Task) -> np.ndarray:
        stored = self.memory.labels[: len(self.memory)]
        return np.bincount(np.concatenate([task.train.y, stored]), minlength=self.scenario.classes)

    def training(self, task: Task) -> TaskTraining:
        """Train everything at first, then the upper part on mixed batches."""
        if self.head is not None:
            self.head.begin(self._counts(task))
        if task.index == 0:
            return training_on(self.model, task.train, self.options)
        bits, labels = packed_bits(self.lower, task.train), task.train.y
        self._bits = bits
        size = self.options.batch_size
        replayed = min(max(round(size * self.options.replay_share), 1), size - 2)

        def batch(index: np.ndarray, key: Key) -> tuple[Batch, np.ndarray]:
            old, old_labels = self.memory.sample(replayed, key)
            assert isinstance(old, Bits)
            words = np.concatenate([bits.words[index], old.words])
            return Bits(words, bits.n), np.concatenate([labels[index], old_labels])

        return TaskTraining(self.upper, len(labels), size - replayed, batch)

    def finish(self, task: Task) -> None:
        """Consolidate the head where there is one to, and store some of the task's bits."""
        if self.head is not None:
            self.head.consolidate(self._counts(task))
        bits = packed_bits(self.lower, task.train) if self._bits is None else self._bits
        self.memory.add(bits, task.train.y)
        self._bits = None
