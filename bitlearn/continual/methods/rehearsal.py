"""Methods that replay examples: a memory, and steps on new and replayed examples together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bitlearn import streams
from bitlearn.bits import Bits
from bitlearn.continual.cwr import CwrHead
from bitlearn.continual.methods.cwr import CwrOptions
from bitlearn.continual.methods.method import Method, at_least_two, pieces
from bitlearn.continual.networks import AT_A_TIME, Networks, real_head
from bitlearn.continual.options import Options
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.continual.settings import setting
from bitlearn.continual.steps import Steps, TaskTraining
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.nn.spec import Spec
from bitlearn.rng import Key
from bitlearn.serialization import under, within
from bitlearn.training.epochs import MadeBatch

#: The type in which a value is stored, by the kind of a network's input.
STORED = {"bits": "bits", "codes": "int8", "real": "float32"}


@dataclass(frozen=True)
class ConsolidatingOptions(CwrOptions):
    """Options of methods that replay examples and may consolidate their head."""

    consolidate: bool = setting(False, "Consolidate the rows of the head after each task, as in CWR*.")


def joined(x: Any, old: Any) -> Any:
    """Join two batches, which are of the same kind if neither is empty."""
    if not len(old):
        return x
    if isinstance(x, Bits):
        return Bits(np.concatenate([x.words, old.words]), x.n)
    return np.concatenate([x, old])


class Rehearsal(Method):
    """Train on new and replayed examples, and keep some of the new ones.

    A task's examples enter the memory at its end, so while a task is learned the memory holds earlier tasks only. In a
    stream, a step takes new examples of a batch, and replayed ones in the same proportion; new examples enter the
    memory after they were learned.

    Attributes
    ----------
    memory : ReplayBuffer
    """

    replays = True
    #: Whether raw inputs are stored even if a part of the network is frozen, instead of that part's output.
    raw: ClassVar[bool] = False
    #: Its name in messages.
    name: ClassVar[str]

    def __init__(self, networks: Networks, options: Options, **limits: Any):
        super().__init__(networks, options, **limits)
        self.head: CwrHead | None = None
        if isinstance(options, ConsolidatingOptions) and options.consolidate:
            self.head = CwrHead(real_head(networks.model, self.name).weight, options.head_bits)
        if options.batch_size < 3:
            raise ValueError(
                f"batch_size must be at least 3, for two new examples and a replayed one, got {options.batch_size}"
            )
        self.cut = self.chosen_cut()
        self.memory = self.empty_memory()

    @classmethod
    def stored(cls, networks: Networks, options: Options) -> tuple[tuple[int, ...], str]:
        """Return the shape and dtype of stored examples: raw inputs, or inputs of the part that is trained."""
        spec = networks.lower.root.spec if cls.raw and networks.lower is not None else networks.model.root.spec
        return spec.shape, STORED[spec.kind]

    @classmethod
    def at_once(cls, options: Options) -> int:
        """Return how many examples of a mixed step are new."""
        replayed = min(max(round(options.batch_size * options.replay_share), 1), options.batch_size - 2)
        return options.batch_size - replayed

    @classmethod
    def step_size(cls, new: int, options: Options) -> int:
        """Return the number of examples in a step with this many new ones: the others are replayed, in proportion."""
        most = cls.at_once(options)
        return new + max(round(new * (options.batch_size - most) / most), 1)

    # --- what is stored ---

    def chosen_cut(self) -> str | None:
        """Return the layer after which to cut the network; None to leave it whole."""
        return None

    def stored_spec(self) -> Spec:
        """Return the type of stored examples: inputs of the trained part of a network that is cut, or raw ones."""
        networks = self.networks
        if networks.lower is not None:
            return networks.lower.root.spec if self.raw else networks.model.root.spec
        return networks.model.root.spec if self.cut is None else networks.model.split(self.cut)[0].root.output

    def empty_memory(self) -> ReplayBuffer:
        """Return the initial memory."""
        spec = self.stored_spec()
        return self.memory_of(spec.shape, STORED[spec.kind])

    def memory_of(self, shape: int | tuple[int, ...], dtype: str) -> ReplayBuffer:
        """Return an empty memory of examples of a shape."""
        key, size = Key(self.options.seed, stream=streams.RESERVOIR), self.options.replay_size
        return ReplayBuffer(size, shape, self.networks.outputs, dtype=dtype, key=key)

    def encoded(self, x: Batch) -> Batch:
        """Return inputs of the trained part as they are stored."""
        return x

    def decoded(self, stored: Batch) -> Batch:
        """Return stored examples as inputs of the trained part; new ones pass through this too."""
        return stored

    def store(self, examples: Iterable[tuple[Batch, np.ndarray]]) -> None:
        """Offer examples to the memory, some at a time, each with its output."""
        for x, y in examples:
            self.memory.add(x if self.raw else self.encoded(x), y)

    def mixed(self, x: Batch, y: np.ndarray, replayed: int, key: Key) -> MadeBatch:
        """Return a step's new and replayed examples, as inputs of the trained part, and further inputs of the loss."""
        stored = self.encoded(x)
        if not replayed:
            return self.decoded(stored), y
        old, labels = self.memory.sample(replayed, key)
        return self.decoded(joined(stored, self.networks.inputs(old) if self.raw else old)), np.concatenate([y, labels])

    @property
    def replay_bytes(self) -> int:
        """The bytes of the replay memory."""
        return self.memory.nbytes

    # --- tasks ---

    def _counts(self, y: np.ndarray) -> np.ndarray:
        stored = self.memory.labels[: len(self.memory)]
        return np.bincount(np.concatenate([y, stored]), minlength=self.networks.outputs)

    def begin(self, index: int, train: Examples) -> None:
        """Load the rows of a CWR* head."""
        if self.head is not None:
            self.head.begin(self._counts(train.y))

    def training(self, index: int, train: Examples) -> TaskTraining:
        """Train on mixed batches, once there is something to replay."""
        source = self.source = self.networks.source(train, keep=self.options.memory_budget is None)
        new = self.at_once(self.options) if len(self.memory) else self.options.batch_size
        replayed = self.options.batch_size - new

        def batch(rows: np.ndarray, key: Key) -> MadeBatch:
            return self.mixed(source(rows), train.y[rows], replayed, key)

        return TaskTraining(self.networks.model, len(train), new, batch)

    def finish(self, index: int, train: Examples) -> None:
        """Consolidate a CWR* head, and store some of the task's examples."""
        if self.head is not None:
            self.head.consolidate(self._counts(train.y))
        before, source = self.networks.lower, self.source
        super().finish(index, train)
        if self.raw:
            source = train.codes
        elif source is None or self.networks.lower is not before:
            source = self.networks.source(train, keep=False)
        chunks = (np.arange(at, min(at + AT_A_TIME, len(train))) for at in range(0, len(train), AT_A_TIME))
        self.store((source(rows), train.y[rows]) for rows in chunks)

    # --- streams ---

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Train on new and replayed examples, and store the new ones after each step."""
        self.networks.freeze(self.cut)
        counts = None
        if self.head is not None:
            self.head.begin(counts := self._counts(y))
        for rows in pieces(len(y), self.at_once(self.options)):
            part, labels = self.networks.inputs(codes[rows]), y[rows]
            key = Key(self.options.seed, steps.made, streams.STREAM_REPLAYED)
            if len(self.memory):
                made = self.mixed(part, labels, self.step_size(len(labels), self.options) - len(labels), key)
            else:
                made = self.mixed(*at_least_two(part, labels), 0, key)
            steps.once(self.networks.model, *made)
            self.store([(codes[rows] if self.raw else part, labels)])
        if self.head is not None and counts is not None:
            self.head.consolidate(counts)

    def shrink(self, capacity: int) -> None:
        """Reduce the memory to fewer examples."""
        self.memory = self.memory.shrunk(capacity)

    def grow(self, outputs: int) -> None:
        """Grow to more outputs."""
        super().grow(outputs)
        self.memory.grow(outputs)
        if self.head is not None:
            self.head.grow(real_head(self.networks.model, self.name).weight)

    # --- files ---

    def arrays(self) -> Arrays:
        """Return the arrays of the memory, and of a CWR* head."""
        found = under("memory.", self.memory.arrays())
        return found if self.head is None else found | under("head.", self.head.arrays())

    def restore(self, arrays: Arrays) -> None:
        """Restore the results of `arrays`, from which the memory rebuilds its bookkeeping."""
        self.memory.restore(within("memory.", arrays))
        super().restore(arrays)
