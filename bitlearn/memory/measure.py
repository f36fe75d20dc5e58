"""What a training step really keeps: by variable from the arena's book, and in all from the resident memory."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from bitlearn import nn
from bitlearn.arena import Arena, accounting
from bitlearn.bits import Bits
from bitlearn.memory.honest import predict, predict_by_variable
from bitlearn.memory.meter import PeakMeter
from bitlearn.nn.layer import Value
from bitlearn.nn.sequential import Sequential
from bitlearn.ops.packing import pack
from bitlearn.optim import Optimizer
from bitlearn.rng import Key
from bitlearn.training import train_step

#: Streams of random bits, far from the small numbers that layers use: "CODE" and "LABL" in ASCII.
_CODES, _LABELS = 0x434F4445, 0x4C41424C


def random_batch(model: Sequential, batch_size: int) -> tuple[Value, np.ndarray]:
    """Return seeded random inputs, codes or packed bits as the network takes them, and labels."""
    shape = (batch_size, *model.input_shape)
    words = Key(0, stream=_CODES).words(int(np.prod(shape)))
    codes = (words >> np.uint32(24)).astype(np.uint8).view(np.int8).reshape(shape)
    labels = Key(0, stream=_LABELS).integers(batch_size, int(np.prod(model.output_shape)))
    first = next((layer for _, layer in model.items() if layer.parameters()), None)
    if isinstance(first, nn.InputLinear | nn.InputConv2d):
        return codes, labels
    return Bits(pack(codes), shape[-1]), labels


def by_variable(model: Sequential, optimizer: Optimizer, batch_size: int) -> tuple[dict[str, int], int]:
    """Make a training step on random data and return what the arrays that are told to the arena held.

    Parameters
    ----------
    model : Sequential
        Left as it is: the step is made by a copy.
    optimizer : Optimizer
    batch_size : int
        At least 2.

    Returns
    -------
    peaks : dict of str to int
        The most bytes of each variable, which need not be at the same moment.
    total : int
        The most bytes of all of them together.

    Notes
    -----
    Arrays without a name, the temporaries of NumPy's expressions, are not told to the arena.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.mlp((4,), 2, hidden=(64,), precision="low-memory")
    >>> peaks, total = by_variable(model, bl.optim.sgd(), 8)
    >>> peaks["W"], peaks["STE mask"]
    (768, 64)
    """
    own = copy.deepcopy(model)
    x, y = random_batch(own, batch_size)
    with accounting() as arena:
        _add_persistent(arena, own)
        arena.add("X", x.words if isinstance(x, Bits) else x)
        state = optimizer.init(own.parameters(), own.precision, own.binary_parameters())
        train_step(own, optimizer, state, x, y, optimizer.learning_rate)
        return {name: count for name, count in arena.peak.items() if count}, arena.total_peak


def _add_persistent(arena: Arena, model: Sequential) -> None:
    for _, layer in model.items():
        for key, array in layer.parameters().items():
            arena.add("beta" if key == "shift" else "W", array)
        for array in layer.statistics().values():
            arena.add("running statistics", array)


def peak(model: Sequential, optimizer: Optimizer, batch_size: int, steps: int = 3) -> PeakMeter:
    """Make training steps on random data and measure the highest resident memory above the level before them.

    Parameters
    ----------
    model : Sequential
        Left as it is. The steps are made by a copy, which counts, as the optimiser's state and the batch do.
    optimizer : Optimizer
    batch_size : int
        At least 2.
    steps : int
        At least 1.

    Returns
    -------
    PeakMeter
        Its ``peak_bytes`` and ``how``.

    Raises
    ------
    ValueError
        Where `steps` is below 1.

    Notes
    -----
    A step of two examples comes first, outside the measurement, so that loaded kernels do not count. What the allocator
    and a BLAS keep for themselves does.

    Examples
    --------
    >>> import bitlearn as bl
    >>> peak(bl.models.mlp((4,), 2, hidden=(8,)), bl.optim.sgd(), 8).peak_bytes >= 0
    True
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    _train(copy.deepcopy(model), optimizer, random_batch(model, 2), 1)
    # Drawing random words takes many times the memory of the codes, so they are drawn before and copied inside.
    batch = random_batch(model, batch_size)
    meter = PeakMeter()
    with meter:
        _train(copy.deepcopy(model), optimizer, copy.deepcopy(batch), steps)
    return meter


def _train(model: Sequential, optimizer: Optimizer, batch: tuple[Value, np.ndarray], steps: int) -> None:
    state = optimizer.init(model.parameters(), model.precision, model.binary_parameters())
    for _ in range(steps):
        train_step(model, optimizer, state, *batch, optimizer.learning_rate)


@dataclass(frozen=True)
class Comparison:
    """A variable's most bytes in a step, predicted and told to the arena.

    Parameters
    ----------
    variable : str
    predicted_bytes : int
    tracked_bytes : int or None
        None for what the arena is not told.
    """

    variable: str
    predicted_bytes: int
    tracked_bytes: int | None


def table(model: Sequential, optimizer: Optimizer, batch_size: int) -> list[Comparison]:
    """Return prediction and measurement side by side.

    Parameters
    ----------
    model : Sequential
    optimizer : Optimizer
    batch_size : int
        At least 2.

    Returns
    -------
    list of Comparison
        A row a variable, the largest first, and a last one, "total", with the fullest moment of all variables together:
        less than the sum, since variables have their peaks at different moments. The predicted total holds temporaries
        ("scratch"), the tracked one does not.

    Examples
    --------
    >>> import bitlearn as bl
    >>> rows = table(bl.models.mlp((4,), 2, hidden=(64,)), bl.optim.sgd(), 8)
    >>> [row for row in rows if row.variable == "momenta"]
    [Comparison(variable='momenta', predicted_bytes=1800, tracked_bytes=1800)]
    """
    predicted = predict_by_variable(model, optimizer, batch_size)
    tracked, total = by_variable(model, optimizer, batch_size)
    rows = [
        Comparison(name, predicted.get(name, 0), tracked.get(name))
        for name in predicted | tracked
        if predicted.get(name) or tracked.get(name)
    ]
    rows.sort(key=lambda row: -row.predicted_bytes)
    fullest = sum(row.bytes for row in predict(model, optimizer, batch_size))
    return [*rows, Comparison("total", fullest, total)]
