"""What a training step of this library keeps, predicted: every variable, its temporaries, and when they are alive.

A step is a row of moments: each layer forward, each layer backward, the update. At each of them are alive the
persistent variables, what the layers have kept for the backward pass so far and not yet used, the gradients found so
far, and the layer's own transient arrays (`bitlearn.memory.passes`). The prediction is the fullest moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bitlearn import models, nn, optim
from bitlearn.memory import passes
from bitlearn.memory.paper import CLASSES, INPUT_SHAPES
from bitlearn.memory.rows import AccountRow
from bitlearn.nn.layer import Variable
from bitlearn.nn.sequential import Sequential
from bitlearn.optim import Optimizer

_LIFETIMES = ("persistent", "step", "forward to backward", "transient")


@dataclass(frozen=True)
class Row:
    """One variable at the fullest moment of a step.

    Parameters
    ----------
    variable : str
        As `bitlearn.arena.track` is told; "scratch" for arrays without a name.
    lifetime : {"persistent", "step", "forward to backward", "transient"}
    dtype : str
        "bool" for one packed bit, "various" for scratch.
    bytes : int
        Alive at the fullest moment, in all layers together.
    """

    variable: str
    lifetime: str
    dtype: str
    bytes: int


def momenta(model: Sequential, optimizer: Optimizer) -> int:
    """Return the bytes of an optimiser's moments."""
    binary = model.binary_parameters()
    other = optimizer.other if isinstance(optimizer, optim.Bop) else optimizer
    return sum(
        (optimizer if name in binary else other).moments
        * parameter.size
        * model.precision.moments_of(name in binary).itemsize
        for name, parameter in model.parameters().items()
    )


def moments(model: Sequential, optimizer: Optimizer, batch_size: int) -> Iterator[list[Variable]]:
    """Yield the variables that are alive at each moment of a training step that may be its fullest.

    Parameters
    ----------
    model : Sequential
    optimizer : Optimizer
    batch_size : int

    Yields
    ------
    list of Variable
        A variable may occur more than once, for one layer each.
    """
    stages, shape = [], model.input_shape
    for names in model.stages():
        layers = [model[name] for name in names]
        stages.append((names, layers, shape))
        for layer in layers:
            shape = layer.output_shape(shape)
    variables = model.variables(batch_size)

    def of(lifetime: str, names: set[str]) -> list[Variable]:
        return [each for name, each in variables if each.lifetime == lifetime and name in names]

    every = set(model.names)
    kind = model.precision.moments.name
    persistent = [*of("persistent", every), Variable("momenta", "persistent", kind, momenta(model, optimizer))]
    if (of_kernels := passes.kept_by_kernels()).nbytes:
        persistent.append(of_kernels)
    scores = batch_size * int(np.prod(shape))

    first = next((index for index, (_, layers, _) in enumerate(stages) if layers[0].parameters()), 0)
    codes = bool(stages) and isinstance(stages[first][1][0], nn.InputLinear | nn.InputConv2d)
    inputs = batch_size * int(np.prod(model.input_shape))
    flow = passes.Flow(Variable("X", "forward to backward", "int8" if codes else "bool", 0), inputs)
    done: set[str] = set()
    for names, layers, shape in stages:
        done |= set(names)
        if len(layers) > 1:
            found, flow = passes.pair_forward(layers, shape, batch_size)
        else:
            found, flow = passes.forward(layers[0], shape, batch_size, flow)
        for moment in found:
            yield [*persistent, *of("forward to backward", done), *moment]

    # Float64 scores, which become their powers, and the gradient; the two terms of each example are few.
    yield [*persistent, *of("forward to backward", every), flow.variable, passes.scratch(12 * scores)]

    grad_kind = passes.gradient_type(model.precision)
    grad = passes.Flow(Variable("dX", "transient", grad_kind.name, grad_kind.itemsize * scores), scores)
    left = set(every)
    for index in reversed(range(first, len(stages))):
        names, layers, shape = stages[index]
        kept = of("forward to backward", left)
        left -= set(names)
        step = of("step", every - left)
        if len(layers) > 1:
            found, grad = passes.pair_backward(layers, shape, batch_size, grad, input_gradient=index > first)
        else:
            found, grad = passes.backward(layers[0], shape, batch_size, grad, input_gradient=index > first)
        for moment in found:
            yield [*persistent, *kept, *step, *moment]

    # An update is one pass of a kernel, without temporaries.
    yield [*persistent, *of("step", every)]


def _totals(moment: list[Variable]) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for each in moment:
        found[each.name, each.lifetime, each.dtype] += each.nbytes
    return found


def predict(model: Sequential, optimizer: Optimizer, batch_size: int) -> list[Row]:
    """Predict what is alive at the fullest moment of a training step.

    Parameters
    ----------
    model : Sequential
    optimizer : Optimizer
    batch_size : int
        At least 2.

    Returns
    -------
    list of Row
        By lifetime, the largest first. Their sum is the predicted peak.

    Raises
    ------
    ValueError
        Where `batch_size` is below 2, which no batch norm takes.

    Notes
    -----
    Counted are arrays: the model, the optimiser's state, the batch of codes and all that a step makes of them. Not
    counted are the interpreter, imported libraries, the data set, the buffers of a BLAS and what an allocator keeps of
    freed memory. The sizes are those of the compiled kernels; other backends need more.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.mlp((8, 8, 1), precision="low-memory")
    >>> rows = predict(model, bl.optim.adam(), 100)
    >>> rows[0]
    Row(variable='momenta', lifetime='persistent', dtype='float16', bytes=870480)
    """
    if batch_size < 2:
        raise ValueError(f"batch_size must be at least 2, got {batch_size}")
    fullest = max((_totals(moment) for moment in moments(model, optimizer, batch_size)), key=Counter.total)
    rows = [Row(*key, count) for key, count in fullest.items() if count]
    return sorted(rows, key=lambda row: (_LIFETIMES.index(row.lifetime), -row.bytes))


def predict_by_variable(model: Sequential, optimizer: Optimizer, batch_size: int) -> dict[str, int]:
    """Return the most bytes that each variable ever has in a training step, which need not be at the same moment."""
    peaks: Counter[str] = Counter()
    for moment in moments(model, optimizer, batch_size):
        found: Counter[str] = Counter()
        for each in moment:
            found[each.name] += each.nbytes
        peaks |= found
    return dict(peaks)


def rows(model_name: str, batch_size: int, optimizer: Optimizer) -> tuple[AccountRow, ...]:
    """Return this library's policies ``standard`` and ``low-memory`` side by side; see `bitlearn.memory.account`."""
    sides: list[dict[tuple[str, str], tuple[str, int]]] = []
    # A name without an input shape is unknown or not built yet: `build` says which.
    shape: tuple[int, ...] = INPUT_SHAPES.get(model_name, (1,))
    for precision in ("standard", "low-memory"):
        model = models.build(model_name, shape, CLASSES, precision=precision)
        side: dict[tuple[str, str], tuple[str, int]] = {}
        for row in predict(model, optimizer, batch_size):
            key = (row.variable, row.lifetime)
            dtype, count = side.get(key, ("", 0))
            side[key] = (f"{dtype} and {row.dtype}" if dtype else row.dtype, count + row.bytes)
        sides.append(side)
    standard, low_memory = sides
    keys = sorted(standard | low_memory, key=lambda key: _LIFETIMES.index(key[1]))
    return tuple(AccountRow(*key, *standard.get(key, ("", 0)), *low_memory.get(key, ("", 0))) for key in keys)
