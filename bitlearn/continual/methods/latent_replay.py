"""Latent replay with 1-bit latents: what is replayed are the packed bits at which the network is cut."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.bits import Bits
from bitlearn.continual.cwr import CwrHead
from bitlearn.continual.methods.method import Method, at_least_two, pieces
from bitlearn.continual.networks import Networks, packed_layers, real_head
from bitlearn.continual.options import Options
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.continual.steps import Steps, TaskTraining
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.nn.model import Model
from bitlearn.rng import Key
from bitlearn.serialization import within


def default_cut(model: Model, wanted: str | None) -> str:
    """Return the layer at which to cut: the one that is wanted, or the first whose bits are no larger than its input.

    Raises
    ------
    ValueError
        Where there is no such place.
    """
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

    Of a stream a step takes a batch's new examples, and replayed ones in the same proportion; they enter the memory
    when they were learned.
    """

    replays = True

    def __init__(self, networks: Networks, options: Options, **limits: Any):
        super().__init__(networks, options, **limits)
        model = networks.model
        self.head = CwrHead(real_head(model, "latent-replay").weight) if options.consolidate else None
        if options.batch_size < 3:
            raise ValueError(
                f"batch_size must be at least 3, two new examples and a replayed one, got {options.batch_size}"
            )
        if networks.lower is None:
            self.cut = default_cut(model, options.cut)
            shape = model.split(self.cut)[0].output_shape
        else:
            shape = model.input_shape
        key = Key(options.seed, stream=streams.RESERVOIR)
        self.memory = ReplayBuffer(options.replay_size, shape, networks.outputs, key=key)
        self.replayed = min(max(round(options.batch_size * options.replay_share), 1), options.batch_size - 2)
        self._bits: Bits | None = None

    @property
    def replay_bytes(self) -> int:
        """The bytes of the replay memory."""
        return self.memory.nbytes

    def _counts(self, y: np.ndarray) -> np.ndarray:
        stored = self.memory.labels[: len(self.memory)]
        return np.bincount(np.concatenate([y, stored]), minlength=self.networks.outputs)

    def begin(self, index: int, train: Examples) -> None:
        """Take up the rows of a CWR* head."""
        if self.head is not None:
            self.head.begin(self._counts(train.y))

    def training(self, index: int, train: Examples) -> TaskTraining:
        """Train everything at first, then the upper part on mixed batches."""
        if self.networks.lower is None:
            return self.plain_training(train)
        bits, labels = self.networks.bits(train), train.y
        self._bits = bits
        size, replayed = self.options.batch_size, self.replayed
        if not len(self.memory):
            replayed = 0

        def batch(index: np.ndarray, key: Key) -> tuple[Batch, np.ndarray]:
            return self._mixed(bits[index], labels[index], replayed, key)

        return TaskTraining(self.networks.model, len(labels), size - replayed, batch)

    def _mixed(self, bits: Bits, labels: np.ndarray, replayed: int, key: Key) -> tuple[Bits, np.ndarray]:
        old, old_labels = self.memory.sample(replayed, key)
        assert isinstance(old, Bits)
        return Bits(np.concatenate([bits.words, old.words]), bits.n), np.concatenate([labels, old_labels])

    def finish(self, index: int, train: Examples) -> None:
        """Consolidate the head where there is one to, and store some of the task's bits."""
        if self.head is not None:
            self.head.consolidate(self._counts(train.y))
        super().finish(index, train)
        bits = self.networks.bits(train) if self._bits is None else self._bits
        self.memory.add(bits, train.y)
        self._bits = None

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Train on new and replayed bits, then store the new ones."""
        self.networks.freeze(self.cut)
        bits: Any = self.networks.inputs(codes)
        if self.head is not None:
            self.head.begin(self._counts(y))
        new = self.options.batch_size - self.replayed
        for rows in pieces(len(y), new):
            size = rows.stop - rows.start
            replayed = max(round(size * self.replayed / new), 1) if len(self.memory) else 0
            key = Key(self.options.seed, steps.made, streams.STREAM_REPLAYED)
            part, labels = at_least_two(*self._mixed(bits[rows], y[rows], replayed, key))
            steps.once(self.networks.model, part, labels)
        if self.head is not None:
            self.head.consolidate(self._counts(y))
        self.memory.add(bits, y)

    def grow(self, outputs: int) -> None:
        """Take more outputs."""
        super().grow(outputs)
        self.memory.grow(outputs)
        if self.head is not None:
            self.head.grow(real_head(self.networks.model, "latent-replay").weight)

    def arrays(self) -> Arrays:
        """Return the arrays of the memory, and of a CWR* head."""
        return {f"memory.{name}": array for name, array in self.memory.arrays().items()} | (
            {} if self.head is None else {f"head.{name}": array for name, array in self.head.arrays().items()}
        )

    def restore(self, arrays: Arrays) -> None:
        """Take up what `arrays` gave; the memory makes its books from it."""
        self.memory.restore(within("memory.", arrays))
        super().restore(arrays)
