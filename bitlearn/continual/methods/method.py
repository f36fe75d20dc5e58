"""What a method of continual learning adds to the loop, and what several of them need for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bitlearn.bits import WORD, Bits, words_for
from bitlearn.continual.options import Options
from bitlearn.continual.scenario import Scenario, Task
from bitlearn.datasets.preparation import Examples
from bitlearn.nn.flatten import Flatten
from bitlearn.nn.layer import Value
from bitlearn.nn.linear import Linear
from bitlearn.nn.norm import BatchNormSign
from bitlearn.nn.pool import MaxPool2d
from bitlearn.nn.sequential import Sequential
from bitlearn.nn.sign import Sign
from bitlearn.rng import Key

#: Examples that are run through a frozen part at a time.
_AT_A_TIME = 500


@dataclass(frozen=True)
class Lesson:
    """What the steps of one task train, and on what.

    Parameters
    ----------
    network : Sequential
        The layers that are trained.
    count : int
        How many examples an epoch goes through.
    batch_size : int
        How many of them a step takes.
    batch : callable
        From indices of examples, and a key of this step, to the step's inputs and labels.
    """

    network: Sequential
    count: int
    batch_size: int
    batch: Callable[[np.ndarray, Key], tuple[Value, np.ndarray]]


def lesson_on(network: Sequential, examples: Examples, options: Options) -> Lesson:
    """Return the plain lesson: train a network on the codes of some examples.

    Parameters
    ----------
    network : Sequential
    examples : Examples
    options : Options

    Returns
    -------
    Lesson
    """
    return Lesson(
        network, len(examples), options.batch_size, lambda index, key: (examples.codes(index), examples.y[index])
    )


class Method:
    """A method; this one adds nothing to the loop.

    Parameters
    ----------
    model : Sequential
        The network to learn with, changed in place.
    scenario : Scenario
        Of which the method may use the number of classes, and no task before its turn.
    options : Options
    """

    def __init__(self, model: Sequential, scenario: Scenario, options: Options):
        self.model, self.scenario, self.options = model, scenario, options

    @property
    def replay_bytes(self) -> int:
        """The bytes of what is kept of earlier tasks' examples."""
        return 0

    def lesson(self, task: Task) -> Lesson:
        """Return what the steps of a task do; called once a task, before its first step."""
        return lesson_on(self.model, task.train, self.options)

    def finish(self, task: Task) -> None:
        """Do what is to be done after the last step of a task."""


def real_head(model: Sequential, method: str) -> Linear:
    """Return the model's last layer, which has to be a real head."""
    head = model[model.names[-1]]
    if not isinstance(head, Linear):
        raise ValueError(f"{method} must have a model with a real head, got one that ends in {model.names[-1]!r}")
    return head


def packed_layers(model: Sequential) -> dict[str, int]:
    """Return the layers behind which packed bits flow, where a network can be cut, and the bytes of an example's bits.

    These are signs, and pools and flattenings behind them.

    Parameters
    ----------
    model : Sequential

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
    packed, shape = False, model.input_shape
    for name, layer in model.items():
        shape = layer.output_shape(shape)
        packed = isinstance(layer, BatchNormSign | Sign) or (packed and isinstance(layer, MaxPool2d | Flatten))
        if packed:
            found[name] = int(np.prod(shape[:-1])) * words_for(shape[-1]) * WORD.itemsize
    return found


def packed_bits(lower: Sequential, examples: Examples) -> Bits:
    """Return the bits that a frozen part gives for some examples, with running statistics, a few examples at a time.

    Parameters
    ----------
    lower : Sequential
        Ends in a layer that gives packed bits.
    examples : Examples

    Returns
    -------
    Bits, shape (count, ...)
    """
    parts = [
        lower.packed_output(examples.codes(slice(start, start + _AT_A_TIME))).words
        for start in range(0, len(examples), _AT_A_TIME)
    ]
    return Bits(np.concatenate(parts), lower.output_shape[-1])
