"""What a method of continual learning adds to the loop, and what several of them need for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.bits import WORD, Bits, words_for
from bitlearn.continual.options import Options
from bitlearn.continual.scenario import Scenario, Task
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.frozen import Batch
from bitlearn.nn.linear import Linear
from bitlearn.nn.model import Model
from bitlearn.rng import Key

#: Examples that are run through a frozen part at a time.
_AT_A_TIME = 50


@dataclass(frozen=True)
class TaskTraining:
    """What the steps of one task train, and on what.

    Parameters
    ----------
    network : Model
        The layers that are trained.
    count : int
        How many examples an epoch goes through.
    batch_size : int
        How many of them a step takes.
    batch : callable
        From indices of examples, and a key of this step, to the step's inputs and labels.
    """

    network: Model
    count: int
    batch_size: int
    batch: Callable[[np.ndarray, Key], tuple[Batch, np.ndarray]]


def training_on(network: Model, examples: Examples, options: Options) -> TaskTraining:
    """Return the plain training of a network on the codes of some examples.

    Parameters
    ----------
    network : Model
    examples : Examples
    options : Options

    Returns
    -------
    TaskTraining
    """
    return TaskTraining(
        network, len(examples), options.batch_size, lambda index, key: (examples.codes(index), examples.y[index])
    )


class Method:
    """A method; this one adds nothing to the loop.

    Parameters
    ----------
    model : Model
        The network to learn with, changed in place.
    scenario : Scenario
        Of which the method may use the number of classes, and no task before its turn.
    options : Options
    """

    def __init__(self, model: Model, scenario: Scenario, options: Options):
        self.model, self.scenario, self.options = model, scenario, options

    @property
    def replay_bytes(self) -> int:
        """The bytes of what is kept of earlier tasks' examples: themselves, their bits or sums of them."""
        return 0

    @property
    def kept_bytes(self) -> int:
        """The bytes of all that has to be at hand of earlier tasks' examples, at most."""
        return self.replay_bytes

    @property
    def predictor(self) -> Any:
        """What predicts: its ``predict`` takes codes."""
        return self.model

    def training(self, task: Task) -> TaskTraining | None:
        """Return what the steps of a task do, None where it has none; called once a task, before its first step."""
        return training_on(self.model, task.train, self.options)

    def finish(self, task: Task) -> None:
        """Do what is to be done after the last step of a task."""


def real_head(model: Model, method: str) -> Any:
    """Return the model's last layer, which has to be a real head."""
    name = model.names[-1]
    if model[name].kind != Linear.kind:
        raise ValueError(f"{method} must have a model with a real head, got one that ends in {name!r}")
    if model[name].spec.kind != "bits":
        raise ValueError(f"{method} must have a model whose head takes bits, got one that takes {model[name].spec}")
    return model[name]


def packed_layers(model: Model) -> dict[str, int]:
    """Return the layers that give packed bits, where a network can be cut, and the bytes of an example's bits.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict of str to int
        In the order of the layers.

    Examples
    --------
    >>> import bitlearn as bl
    >>> packed_layers(bl.models.mlp((4,), 2, hidden=(100, 8), head="real"))
    {'sign1': 16, 'sign2': 8}
    """
    found: dict[str, int] = {}
    for name, layer in getattr(model.root, "layers", {}).items():
        if layer.output.kind == "bits":
            *rows, n = layer.output.shape
            found[name] = int(np.prod(rows)) * words_for(n) * WORD.itemsize
    return found


def packed_bits(lower: Model, examples: Examples) -> Bits:
    """Return the bits that a frozen part gives for some examples, with running statistics, a few examples at a time.

    Parameters
    ----------
    lower : Model
        Ends in a layer that gives packed bits.
    examples : Examples

    Returns
    -------
    Bits, shape (count, ...)
    """
    frozen, output = lower.freeze(), lower.root.output
    words = np.empty(output.array_shape(len(examples)), dtype=WORD)
    for start in range(0, len(examples), _AT_A_TIME):
        rows = slice(start, start + _AT_A_TIME)
        part = frozen.apply(examples.codes(rows))
        if not isinstance(part, Bits):
            raise ValueError(f"the lower part of a network must end in bits, got {output}")
        words[rows] = part.words
    return Bits(words, output.channels)
