"""The steps of an epoch, and the accuracy after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from bitlearn.datasets.preparation import Examples
from bitlearn.errors import NonFiniteError
from bitlearn.nn.frozen import Batch, Frozen
from bitlearn.nn.model import Model
from bitlearn.training.hooks import Hook
from bitlearn.training.step import Trainer

#: A batch's input and labels, and further inputs of its loss.
MadeBatch = tuple[Batch, np.ndarray] | tuple[Batch, np.ndarray, Mapping[str, np.ndarray]]
#: Examples validated at a time without a budget.
VALIDATED = 1000


def accuracy(
    network: Model | Frozen,
    examples: Examples,
    *,
    batch_size: int = VALIDATED,
    outputs: Sequence[int] | None = None,
) -> float:
    """Return the share of examples whose class is predicted correctly, with running statistics.

    Parameters
    ----------
    network : Model or Frozen
    examples : Examples
    batch_size : int
        How many examples are processed at a time; the result does not depend on it.
    outputs : sequence of int, optional
        The classes to predict among, in increasing order; all by default.

    Returns
    -------
    float
        0 if there are no examples.

    Examples
    --------
    >>> import bitlearn as bl
    >>> x = np.zeros((4, 8), dtype=np.uint8)
    >>> examples = bl.datasets.Examples(x, np.array([0, 0, 0, 0]), bl.datasets.prepare(x))
    >>> accuracy(bl.models.mlp((8,), 2, hidden=(8,)), examples) in (0.0, 1.0)
    True
    """
    if examples.y is None:
        raise ValueError("examples must have labels for an accuracy, got some without")
    right, frozen = 0, network.freeze() if isinstance(network, Model) else network
    among = None if outputs is None else np.asarray(outputs)
    for start in range(0, len(examples), batch_size):
        rows = slice(start, start + batch_size)
        codes = examples.codes(rows)
        found = frozen.predict(codes) if among is None else among[frozen.scores(codes)[:, among].argmax(axis=1)]
        right += int((found == examples.y[rows]).sum())
    return right / max(len(examples), 1)


def steps_in_epoch(count: int, batch_size: int) -> int:
    """Return how many steps an epoch has; a last batch of one is left out.

    Parameters
    ----------
    count, batch_size : int
        The examples per epoch and per step.

    Returns
    -------
    int
    """
    return count // batch_size + (count % batch_size >= 2)


def epoch_steps(
    trainer: Trainer,
    order: Iterable[np.ndarray],
    batch: Callable[[np.ndarray, int], MadeBatch],
    rate: Callable[[int], float],
    hooks: Hook,
    *,
    step: int,
    steps: int,
    last: int | None = None,
) -> Iterator[tuple[float, float]]:
    """Make the steps of an epoch; yield each one's loss and seconds, before the hooks are told of it.

    Parameters
    ----------
    trainer : Trainer
    order : iterable of ndarray of int
        The examples of each batch.
    batch : callable
        ``batch(index, step)`` returns a batch's input and labels, and further inputs of its loss if there are any.
    rate : callable
        The learning rate of a step, counted from 0.
    hooks : Hook
    step, steps : int
        The number of steps done and of all steps, for hooks.
    last : int, optional
        Stop after this many steps.

    Raises
    ------
    NonFiniteError
        Naming the step and the layer.
    """
    for index in order:
        if last is not None and step >= last:
            return
        x, y, *given = batch(index, step)
        hooks.on_batch(trainer, x, y)
        before = time.perf_counter()
        try:
            loss = trainer.step(x, y, rate(step), *given)
        except NonFiniteError as error:
            raise error.located(f"at step {step + 1}") from None
        seconds = time.perf_counter() - before
        step += 1
        yield loss, seconds
        hooks.on_step(step, steps, loss)
