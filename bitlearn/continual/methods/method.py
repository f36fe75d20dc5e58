"""What a method of continual learning adds to the loop, and what several of them need for it."""

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
    """A method; this one adds nothing to the loop.

    Parameters
    ----------
    networks : Networks
        What is trained, changed in place.
    options : Options
        Of the class that `takes` says: `bitlearn.continual.methods.options_of` makes them.
    classes, examples : int, optional
        The most classes and examples that there will be, where that is known.

    Attributes
    ----------
    cut : str or None
        The layer after which the network is cut, and up to which it is frozen, after the first task or before the first
        batch of a stream; None where everything is trained.
    """

    #: The class of its options: those of all methods, and settings of its own.
    takes: ClassVar[type[Options]] = Options
    #: Whether it learns by steps of a network.
    trains = True
    #: Whether it predicts otherwise where it knows which task an example is of.
    tells_apart = False
    #: Whether it may be saved: all it keeps is its own.
    lasts = True
    #: Whether it may be saved within a task, too: what is trained is its network as it stands.
    resumes = True
    #: Whether it learns batches of a stream, too: see `learn`.
    streams = True
    #: Why it may not, where that is so.
    passes_because = "it keeps the examples that it was given"
    #: Whether it has a memory of `Options.replay_size` examples.
    replays = False
    #: What is trained for; softmax cross-entropy by default.
    loss: Loss | None = None
    #: What stands between gradients and updates.
    transforms: tuple[Transform, ...] = ()

    def __init__(
        self, networks: Networks, options: Options, *, classes: int | None = None, examples: int | None = None
    ):
        self.networks, self.options = networks, options
        self.cut: str | None = None
        #: What gives a task's inputs, as long as it lasts.
        self.source: Callable[[np.ndarray], Batch] | None = None

    @classmethod
    def cuts(cls, model: Model, options: Options) -> list[str]:
        """Return where a network may be cut for this method, what trains most first."""
        return [name for name in cuts(model) if options.cut in (None, name)]

    @classmethod
    def stored(cls, networks: Networks, options: Options) -> tuple[tuple[int, ...], str]:
        """Return shape and dtype of an example in the replay memory of a network that is cut."""
        raise NotImplementedError

    @classmethod
    def at_once(cls, options: Options) -> int:
        """Return how many new examples per step of a stream takes at most."""
        return options.batch_size

    @classmethod
    def step_size(cls, new: int, options: Options) -> int:
        """Return how many examples per step has that takes so many new ones."""
        return max(new, 2)

    @classmethod
    def remembers(cls, options: Options) -> bool:
        """Whether it has a memory of `Options.replay_size` examples with these options."""
        return cls.replays

    @property
    def identity(self) -> str | None:
        """How it is known which task an example is of: ``"given"`` is by the scenario; None, by it where it tells."""
        return None

    @property
    def outputs(self) -> int:
        """How many outputs there are."""
        return self.networks.outputs

    @property
    def replay_bytes(self) -> int:
        """The bytes of what is kept of earlier tasks' examples: themselves, their bits or sums of them."""
        return 0

    @property
    def kept_bytes(self) -> int:
        """The bytes of all that has to be at hand of earlier tasks' examples, at most."""
        return self.replay_bytes

    @property
    def update_operations(self) -> int:
        """The multiply-adds of what stands between gradients and updates in a step, as things are now."""
        return 0

    @property
    def predictor(self) -> Any:
        """What predicts as things are now: its ``scores`` and ``predict`` take codes."""
        return self.networks.predictor()

    def predictor_of(self, task: int) -> Any:
        """Return what predicts where it is known that an example is of a task: what always does, by default."""
        return self.predictor

    @property
    def report(self) -> dict[str, Any]:
        """What else there is to say of what was learned, as JSON knows it: see the method."""
        return {}

    # --- tasks ---

    def begin(self, index: int, train: Examples) -> None:
        """Do what is to be done before the first step of a task."""

    def training(self, index: int, train: Examples) -> TaskTraining | None:
        """Return what the steps of a task do, None where it has none.

        It changes nothing that lasts: it is asked again where a task is gone on with after an interruption.
        """
        return self.plain_training(train)

    def finish(self, index: int, train: Examples) -> None:
        """Do what is to be done after the last step of a task."""
        self.networks.freeze(self.cut)
        self.source = None

    def plain_training(self, train: Examples) -> TaskTraining:
        """Return the training of the network on some examples alone."""
        source = self.source = self.networks.source(train, keep=self.options.memory_budget is None)

        def batch(index: np.ndarray, key: Any) -> tuple[Batch, np.ndarray]:
            return source(index), train.y[index]

        return TaskTraining(self.networks.model, len(train), self.options.batch_size, batch)

    # --- streams ---

    def learn(self, steps: Steps, codes: Batch, y: np.ndarray, number: int) -> None:
        """Learn a batch of a stream, of any size, as it comes by.

        Parameters
        ----------
        steps : Steps
        codes : ndarray or Bits, shape (count, ...)
            What the whole network takes.
        y : ndarray of int64, shape (count,)
            Outputs.
        number : int
            How many batches came before.
        """
        self.networks.freeze(self.cut)
        for rows in pieces(len(y), self.at_once(self.options)):
            part, labels = at_least_two(self.networks.inputs(codes[rows]), y[rows])
            steps.once(self.networks.model, part, labels)

    def grow(self, outputs: int) -> None:
        """Take more outputs."""
        self.networks.model.grow(outputs)

    # --- files ---

    @property
    def lasting(self) -> Networks:
        """The networks that a file holds: from them, and what `arrays` gives, `restore` makes those that it has."""
        return self.networks

    def arrays(self) -> Arrays:
        """Return the live arrays of what it keeps besides its networks: `restore` takes them up."""
        return {}

    def restore(self, arrays: Arrays) -> None:
        """Go on from what `arrays` gave, in a method that is made alike.

        Parameters
        ----------
        arrays : dict of str to ndarray

        Raises
        ------
        ValueError
            Where they are those of another method, or hold what they never can.
        """
        live = self.arrays()
        check(types_of(live), types_of(arrays))
        for name, target in live.items():
            target[...] = arrays[name]


def pieces(count: int, size: int) -> Iterator[slice]:
    """Yield the rows of steps: of `size` each as long as there are so many, then of powers of four.

    A program is recorded for each size that occurs, so there must be few.

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
    """Return a batch as it is; one of a lone example with that twice, since a batch norm needs two."""
    return (x, y) if len(y) > 1 else (x[[0, 0]], y[[0, 0]])
