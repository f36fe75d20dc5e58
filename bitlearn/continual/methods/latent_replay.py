"""Latent replay with 1-bit latents: what is replayed are the packed bits at which the network is cut."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.bits import Bits
from bitlearn.continual.cwr import CwrHead
from bitlearn.continual.latents import cuts, latent_codec
from bitlearn.continual.methods.method import Method, at_least_two, pieces
from bitlearn.continual.networks import AT_A_TIME, Networks, real_head
from bitlearn.continual.options import Options
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.continual.steps import Steps, TaskTraining
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.nn.model import Model
from bitlearn.rng import Key
from bitlearn.serialization import under, within


def default_cut(model: Model, wanted: str | None, latents: str | None = None) -> str:
    """Return the layer at which to cut.

    Parameters
    ----------
    model : Model
    wanted : str or None
        One of `bitlearn.continual.cuts`; by default the first one where an example takes no more bytes than its codes,
        or else the one with the fewest. Packed bits are preferred to real values.
    latents : str, optional
        The codec, as `bitlearn.continual.latent_codec` takes it.

    Raises
    ------
    ValueError
        Where there is no such place.
    """
    found = cuts(model)
    if wanted is not None:
        if wanted not in found:
            raise ValueError(
                f"cut must be a layer that gives packed bits or real values to others that learn, one of "
                f"{', '.join(found) or 'none'}, got {wanted!r}"
            )
        return wanted
    packed = {name: cut for name, cut in found.items() if cut.spec.kind == "bits"}
    sizes = {name: latent_codec(cut.spec, latents).nbytes for name, cut in (packed or found).items()}
    if not sizes:
        raise ValueError(f"latent-replay must have a model that can be cut, got the layers {', '.join(model.names)}")
    codes = int(np.prod(model.input_shape))
    return next((name for name, size in sizes.items() if size <= codes), min(sizes, key=sizes.__getitem__))


def joined(a: Batch, b: Batch) -> Batch:
    """Return the examples of two batches of one kind."""
    if isinstance(a, Bits) and isinstance(b, Bits):
        return Bits(np.concatenate([a.words, b.words]), a.n)
    assert isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    return np.concatenate([a, b])


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
        spec = model.root.spec
        if networks.lower is None:
            self.cut = default_cut(model, options.cut, options.latents)
            spec = cuts(model)[self.cut].spec
        self.codec = latent_codec(spec, options.latents)
        key = Key(options.seed, stream=streams.RESERVOIR)
        self.memory = ReplayBuffer(options.replay_size, spec.shape, networks.outputs, dtype=self.codec.dtype, key=key)

    @classmethod
    def at_once(cls, options: Options) -> int:
        """Return how many examples of a step are new where the others are replayed."""
        replayed = min(max(round(options.batch_size * options.replay_share), 1), options.batch_size - 2)
        return options.batch_size - replayed

    @classmethod
    def step_size(cls, new: int, options: Options) -> int:
        """Return how many examples a step has that takes so many new ones: the others are replayed, in proportion."""
        most = cls.at_once(options)
        return new + max(round(new * (options.batch_size - most) / most), 1)

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
        if self.networks.lower is None or not len(self.memory):
            return self.plain_training(train)
        source = self.source = self.networks.source(train, keep=self.options.memory_budget is None)
        new = self.at_once(self.options)
        replayed = self.options.batch_size - new

        def batch(index: np.ndarray, key: Key) -> tuple[Batch, np.ndarray]:
            return self._mixed(self._encoded(source(index)), train.y[index], replayed, key)

        return TaskTraining(self.networks.model, len(train), new, batch)

    def _encoded(self, x: Batch) -> Batch:
        """Return what is stored of values at the cut, from the first of which the codec learns what it has to know."""
        if not self.codec.fitted:
            self.codec.fit(x)
        return self.codec.encode(x)

    def _mixed(self, stored: Batch, labels: np.ndarray, replayed: int, key: Key) -> tuple[Batch, np.ndarray]:
        """Return new examples and replayed ones, which have passed the codec alike."""
        old, old_labels = self.memory.sample(replayed, key)
        return self.codec.decode(joined(stored, old)), np.concatenate([labels, old_labels])

    def finish(self, index: int, train: Examples) -> None:
        """Consolidate the head where there is one to, and store some of the task's bits."""
        if self.head is not None:
            self.head.consolidate(self._counts(train.y))
        whole = self.networks.lower is None
        self.networks.freeze(self.cut)
        source = self.networks.source(train, keep=False) if whole or self.source is None else self.source
        for start in range(0, len(train), AT_A_TIME):
            rows = np.arange(start, min(start + AT_A_TIME, len(train)))
            self.memory.add(self._encoded(source(rows)), train.y[rows])
        self.source = None

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Train on new and replayed bits, and store the new ones."""
        self.networks.freeze(self.cut)
        counts = self._counts(y)
        if self.head is not None:
            self.head.begin(counts)
        for rows in pieces(len(y), self.at_once(self.options)):
            stored = self._encoded(self.networks.inputs(codes[rows]))
            new, key = len(stored), Key(self.options.seed, steps.made, streams.STREAM_REPLAYED)
            replayed = self.step_size(new, self.options) - new if len(self.memory) else 0
            steps.once(self.networks.model, *at_least_two(*self._mixed(stored, y[rows], replayed, key)))
            self.memory.add(stored, y[rows])
        if self.head is not None:
            self.head.consolidate(counts)

    def grow(self, outputs: int) -> None:
        """Take more outputs."""
        super().grow(outputs)
        self.memory.grow(outputs)
        if self.head is not None:
            self.head.grow(real_head(self.networks.model, "latent-replay").weight)

    def arrays(self) -> Arrays:
        """Return the arrays of the memory, of its codec, and of a CWR* head."""
        found = under("memory.", self.memory.arrays()) | under("codec.", self.codec.arrays())
        return found if self.head is None else found | under("head.", self.head.arrays())

    def restore(self, arrays: Arrays) -> None:
        """Take up what `arrays` gave; the memory makes its books from it."""
        self.memory.restore(within("memory.", arrays))
        super().restore(arrays)
        self.codec.check()
