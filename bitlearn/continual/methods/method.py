"""The base of continual-learning methods: what each adds to the loop, and shared helpers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from bitlearn.continual.latents import cuts
from bitlearn.continual.networks import Networks
from bitlearn.continual.options import Options
from bitlearn.continual.steps import Steps, TaskTraining
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.nn.layer import Arrays
from bitlearn.nn.losses import Loss
from bitlearn.nn.model import Model
from bitlearn.optim import Transform
from bitlearn.serialization import check, types_of


class Method:
    """The base of all methods; it adds nothing to the loop.

    Parameters
    ----------
    networks : Networks
        The networks to train, changed in place.
    options : Options
        An instance of the class `takes`, made by `bitlearn.continual.methods.options_of`.
    classes, examples : int, optional
        The largest numbers of classes and examples, if known in advance.

    Attributes
    ----------
    cut : str or None
        The layer after which the network is cut, and up to which it is frozen, after the first task or before the first
        batch of a stream; None if everything is trained.
    """

    #: The class of its options: the shared ones and its own.
    takes: ClassVar[type[Options]] = Options
    #: Whether it trains a network step by step.
    trains = True
    #: Whether predictions differ if the task of an example is known.
    tells_apart = False
    #: Whether it can be saved, because it owns everything it keeps.
    lasts = True
    #: Whether it can also be saved within a task, because its state is that of its network.
    resumes = True
    #: Whether it also learns batches of a stream: see `learn`.
    streams = True
    #: The reason why it cannot be saved.
    passes_because = "it keeps the examples that it was given"
    #: Whether it has a memory of `Options.replay_size` examples.
    replays = False
    #: The loss; softmax cross-entropy by default.
    loss: Loss | None = None
    #: Applied to gradients before updates.
    transforms: tuple[Transform, ...] = ()

    def __init__(
        self, networks: Networks, options: Options, *, classes: int | None = None, examples: int | None = None
    ):
        self.networks, self.options = networks, options
        self.cut: str | None = None
        #: The function that returns a task's inputs while the task lasts.
        self.source: Callable[[np.ndarray], Batch] | None = None

    @classmethod
    def cuts(cls, model: Model, options: Options) -> list[str]:
        """Return the layers where a network may be cut for this method, those that leave most to train first."""
        return [name for name in cuts(model) if options.cut in (None, name)]

    @classmethod
    def stored(cls, networks: Networks, options: Options) -> tuple[tuple[int, ...], str]:
        """Return the shape and dtype of an example in the replay memory for a network that is cut."""
        raise NotImplementedError

    @classmethod
    def at_once(cls, options: Options) -> int:
        """Return the largest number of new examples in a step on a stream."""
        return options.batch_size

    @classmethod
    def step_size(cls, new: int, options: Options) -> int:
        """Return the total number of examples in a step with this many new ones."""
        return max(new, 2)

    @classmethod
    def remembers(cls, options: Options) -> bool:
        """Whether it has a memory of `Options.replay_size` examples with these options."""
        return cls.replays

    @property
    def identity(self) -> str | None:
        """How the task of an example is known: ``"given"`` by the scenario; None by the scenario, if it tells tasks."""
        return None

    @property
    def outputs(self) -> int:
        """The number of outputs."""
        return self.networks.outputs

    @property
    def replay_bytes(self) -> int:
        """The bytes kept of earlier tasks' examples: the examples, their bits, or sums of them."""
        return 0

    @property
    def kept_bytes(self) -> int:
        """The most bytes of earlier tasks' data that it needs, wherever they are stored."""
        return self.replay_bytes

    @property
    def update_operations(self) -> int:
        """The multiply-adds that the transforms of gradients currently take in a step."""
        return 0

    @property
    def predictor(self) -> Any:
        """The current predictor: its ``scores`` and ``predict`` take codes."""
        return self.networks.predictor()

    def predictor_of(self, task: int) -> Any:
        """Return the predictor for examples known to be of a task; by default the same as for all others."""
        return self.predictor

    @property
    def report(self) -> dict[str, Any]:
        """What else the method reports, as values that JSON can hold: see the method."""
        return {}

    # --- tasks ---

    def begin(self, index: int, train: Examples) -> None:
        """Called before the first step of a task."""

    def training(self, index: int, train: Examples) -> TaskTraining | None:
        """Return how to train on a task; None if there are no steps.

        It must not change state that is saved: it is called again when a task is continued after an interruption.
        """
        return self.plain_training(train)

    def finish(self, index: int, train: Examples) -> None:
        """Called after the last step of a task."""
        self.networks.freeze(self.cut)
        self.source = None

    def plain_training(self, train: Examples) -> TaskTraining:
        """Return training of the network on these examples only."""
        source = self.source = self.networks.source(train, keep=self.options.memory_budget is None)

        def batch(index: np.ndarray, key: Any) -> tuple[Batch, np.ndarray]:
            return source(index), train.y[index]

        return TaskTraining(self.networks.model, len(train), self.options.batch_size, batch)

    # --- streams ---

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Learn a batch of a stream, of any size.

        Parameters
        ----------
        steps : Steps
        codes : ndarray or Bits, shape (count, ...)
            Inputs of the whole network.
        y : ndarray of int64, shape (count,)
            Outputs.
        number : int
            The number of earlier batches.
        """
        self.networks.freeze(self.cut)
        for rows in pieces(len(y), self.at_once(self.options)):
            part, labels = at_least_two(self.networks.inputs(codes[rows]), y[rows])
            steps.once(self.networks.model, part, labels)

    def grow(self, outputs: int) -> None:
        """Grow to more outputs."""
        self.networks.model.grow(outputs)

    # --- files ---

    @property
    def lasting(self) -> Networks:
        """The networks that a file holds; from them and the results of `arrays`, `restore` rebuilds the others."""
        return self.networks

    def arrays(self) -> Arrays:
        """Return the live arrays it keeps besides its networks, for `restore`."""
        return {}

    def restore(self, arrays: Arrays) -> None:
        """Restore the results of `arrays` from a method made in the same way.

        Parameters
        ----------
        arrays : dict of str to ndarray

        Raises
        ------
        ValueError
            If they belong to another method, or hold impossible values.
        """
        live = self.arrays()
        check(types_of(live), types_of(arrays))
        for name, target in live.items():
            target[...] = arrays[name]


def pieces(count: int, size: int) -> Iterator[slice]:
    """Yield the rows of steps: `size` each while that many are left, then powers of four.

    A program is recorded for each size, so there must be few sizes.

    Examples
    --------
    >>> [(rows.start, rows.stop) for rows in pieces(26, 10)]
    [(0, 10), (10, 20), (20, 24), (24, 25), (25, 26)]
    """
    start = 0
    while start < count:
        left = count - start
        taken = size if left >= size else 4 ** ((left.bit_length() - 1) // 2)
        yield slice(start, start + taken)
        start += taken


def at_least_two(x: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return a batch unchanged, except that a single example is repeated, since a batch norm needs two."""
    return (x, y) if len(y) > 1 else (x[[0, 0]], y[[0, 0]])
