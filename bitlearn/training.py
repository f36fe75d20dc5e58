"""The training loop: steps, epochs, evaluation, checkpoints."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bitlearn import checkpoints
from bitlearn.arena import track
from bitlearn.datasets.augment import augment
from bitlearn.datasets.batches import batches
from bitlearn.datasets.preparation import Examples
from bitlearn.errors import NonFiniteError
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.layer import Value
from bitlearn.nn.losses import softmax_cross_entropy
from bitlearn.nn.sequential import Sequential
from bitlearn.optim import Arrays, Optimizer
from bitlearn.rng import Key

SCHEDULES = ("cosine", "constant", "step")
#: Streams of random bits, far from the small numbers that layers use: "BATC", "AUGM" and "ROUN" in ASCII.
_BATCHES, _AUGMENT, _ROUNDING = 0x42415443, 0x4155474D, 0x524F554E
#: Images are shifted by up to this share of their height.
_SHIFT = 0.125


@dataclass(frozen=True)
class Schedule:
    """How the learning rate falls over the steps.

    Parameters
    ----------
    name : {"cosine", "constant", "step"}
        ``cosine``: from the start to 0, half a period. ``step``: a tenth after half of the steps, a hundredth after
        three quarters.
    start : float
    steps : int
        How many steps there will be.

    Examples
    --------
    >>> Schedule("cosine", 0.001, 100)(50)
    0.0005
    """

    name: str
    start: float
    steps: int

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.name!r}")

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        done = step / max(self.steps, 1)
        if self.name == "cosine":
            return self.start * 0.5 * (1 + math.cos(math.pi * done))
        if self.name == "step":
            return self.start * (0.1 if done >= 0.5 else 1.0) * (0.1 if done >= 0.75 else 1.0)
        return self.start


@dataclass(frozen=True)
class Options:
    """How to train.

    Parameters
    ----------
    epochs, batch_size, seed : int
    learning_rate : float, optional
        The optimiser's own by default.
    schedule : {"cosine", "constant", "step"}
    max_steps : int, optional
        Stop after so many steps; the schedule is that of the full training.
    augment : bool
        Random shifts by up to an eighth of the height, and, for colour images, random mirroring.
    """

    epochs: int = 10
    batch_size: int = 100
    seed: int = 0
    learning_rate: float | None = None
    schedule: str = "cosine"
    max_steps: int | None = None
    augment: bool = False

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("seed", 0), ("max_steps", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be a finite number above 0, got {self.learning_rate}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")


class Watcher(Protocol):
    """Who is told how training goes on: a progress bar, a log."""

    def on_step(self, step: int, steps: int, loss: float) -> None:
        """A step is done; `step` counts from 1, of `steps` in all."""

    def on_epoch(self, entry: dict[str, float]) -> None:
        """An epoch is done: ``epoch``, ``loss``, ``validation_accuracy``, ``seconds``."""


@dataclass
class Result:
    """What training gives.

    Parameters
    ----------
    history : list of dict
        One entry an epoch: ``epoch``, ``loss`` (mean over its steps), ``validation_accuracy`` (None without held-out
        data) and ``seconds`` of its steps.
    step_seconds : list of float
    losses : list of float
        Of every step.
    best : Frozen or None
        The inference form after the epoch of the highest validation accuracy; after the last one without held-out data.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best: Frozen | None = None


def train_step(
    model: Sequential,
    optimizer: Optimizer,
    state: Arrays,
    x: Value,
    y: np.ndarray,
    learning_rate: float,
    *,
    seed: int = 0,
) -> float:
    """Make one step on a batch and return its loss.

    Parameters
    ----------
    model : Sequential
    optimizer : Optimizer
    state : dict of ndarray
        The optimiser's, from its ``init``; changed in place like the model's parameters.
    x : ndarray of int8, or Bits
        Codes, or the packed bits at which a network was cut.
    y : ndarray of int, shape (batch,)
    learning_rate : float
    seed : int
        With the step that `state` counts, of the random bits by which some policies round gradients.

    Returns
    -------
    float
        The mean cross-entropy, in nats.

    Raises
    ------
    NonFiniteError
        Where a score, a weight or a gradient is NaN or infinite, naming the layer; parameters and state are as before.
    ValueError
        Where a label is outside the classes.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model, optimizer = bl.models.mlp((4,), 2, hidden=(8,)), bl.optim.adam()
    >>> state = optimizer.init(model.parameters(), model.precision, model.binary_parameters())
    >>> x = np.array([[100, -100, 3, 7], [-90, 80, 3, -7]], dtype=np.int8)
    >>> loss = train_step(model, optimizer, state, x, np.array([0, 1]), 0.001)
    """
    scores, caches = model.forward(x, training=True)
    assert isinstance(scores, np.ndarray)
    try:
        loss, grad = softmax_cross_entropy(scores, y)
    except NonFiniteError as error:
        raise error.located(f"in layer {_first_not_finite(model)!r}") from None
    key = Key(seed, int(state["step"]), _ROUNDING)
    _, gradients = model.backward(caches, track("dX", grad), key=key)
    optimizer.update(model.parameters(), gradients, state, learning_rate)
    return loss


def _first_not_finite(model: Sequential) -> str:
    """Name the first layer that holds a value that is not finite; the last layer where none does."""
    for name, layer in model.items():
        for array in (layer.parameters() | layer.statistics()).values():
            if not np.isfinite(array).all():
                return name
    return model.names[-1]


def accuracy(network: Sequential | Frozen, examples: Examples, *, batch_size: int = 1000) -> float:
    """Return the share of examples whose class is predicted, with running statistics.

    Parameters
    ----------
    network : Sequential or Frozen
    examples : Examples
    batch_size : int
        How many examples are worked on at a time; the result does not depend on it.

    Returns
    -------
    float
        0 where there are no examples.

    Examples
    --------
    >>> import bitlearn as bl
    >>> from bitlearn.datasets.preparation import Examples, prepare
    >>> x = np.zeros((4, 8), dtype=np.uint8)
    >>> accuracy(bl.models.mlp((8,), 2, hidden=(8,)), Examples(x, np.array([0, 0, 0, 0]), prepare(x))) in (0.0, 1.0)
    True
    """
    right = 0
    for start in range(0, len(examples), batch_size):
        rows = slice(start, start + batch_size)
        right += int((network.predict(examples.codes(rows)) == examples.y[rows]).sum())
    return right / max(len(examples), 1)


def steps_in_epoch(count: int, batch_size: int) -> int:
    """Return how many steps an epoch has; a last batch of one is left out.

    Parameters
    ----------
    count, batch_size : int
        The examples of an epoch, and of a step.

    Returns
    -------
    int
    """
    return count // batch_size + (count % batch_size >= 2)


def fit(
    model: Sequential,
    optimizer: Optimizer,
    train: Examples,
    options: Options,
    *,
    validation: Examples | None = None,
    watcher: Watcher | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    measure: AbstractContextManager[Any] | None = None,
) -> Result:
    """Train a model, and keep the inference form of its best epoch.

    Parameters
    ----------
    model : Sequential
        Changed in place.
    optimizer : Optimizer
    train : Examples
    options : Options
    validation : Examples, optional
        Held-out examples by which the best epoch is chosen.
    watcher : Watcher, optional
    checkpoint : path, optional
        Where to write all state after each epoch, atomically.
    resume : bool
        Go on from `checkpoint` where it exists. The result is the same, bit for bit, as without the interruption.
    measure : context manager, optional
        Entered around the steps of each epoch, and around nothing else.

    Returns
    -------
    Result

    Raises
    ------
    NonFiniteError
        Naming the step and the layer; the last checkpoint is kept.
    ValueError
        Where the data do not fit the model or the options, or the checkpoint is of another training.
    """
    steps = steps_in_epoch(len(train), options.batch_size) * options.epochs
    classes = model.output_shape[-1]
    if len(train) and not (train.y.min() >= 0 and train.y.max() < classes):
        raise ValueError(f"labels must lie in [0, {classes}), got {train.y.min()} to {train.y.max()}")
    schedule = Schedule(options.schedule, options.learning_rate or optimizer.learning_rate, steps)
    training = _description(model, optimizer, train, validation, options)
    state = optimizer.init(model.parameters(), model.precision, model.binary_parameters())
    result, start = Result(), 0
    if resume and checkpoint is not None and checkpoint.exists():
        start, result.history, result.best = checkpoints.restore(checkpoint, model, state, training)
    measure = measure or nullcontext()
    step = int(state["step"])
    for epoch in range(start, options.epochs):
        if options.max_steps is not None and step >= options.max_steps:
            break
        order = batches(len(train), options.batch_size, Key(options.seed, epoch, _BATCHES))
        begun, first = time.perf_counter(), len(result.losses)
        with measure:
            for index in order:
                if options.max_steps is not None and step >= options.max_steps:
                    break
                x = track("X", _augmented(train.codes(index), options, step))
                before = time.perf_counter()
                try:
                    loss = train_step(model, optimizer, state, x, train.y[index], schedule(step), seed=options.seed)
                except NonFiniteError as error:
                    raise error.located(f"at step {step + 1}") from None
                result.step_seconds.append(time.perf_counter() - before)
                result.losses.append(loss)
                step += 1
                if watcher is not None:
                    watcher.on_step(step, steps if options.max_steps is None else min(steps, options.max_steps), loss)
        seconds = time.perf_counter() - begun
        entry: dict[str, Any] = {
            "epoch": epoch + 1,
            "loss": float(np.mean(result.losses[first:])),
            "validation_accuracy": None if validation is None else accuracy(model, validation),
            "seconds": seconds,
        }
        _keep_best(model, result, entry)
        result.history.append(entry)
        if watcher is not None:
            watcher.on_epoch(entry)
        # An epoch that `max_steps` cut short is no place to go on from.
        if checkpoint is not None and step == (epoch + 1) * steps_in_epoch(len(train), options.batch_size):
            assert result.best is not None
            checkpoints.store(checkpoint, model, state, training, epoch + 1, result.history, result.best)
    return result


def _augmented(codes: np.ndarray, options: Options, step: int) -> np.ndarray:
    if not options.augment:
        return codes
    if codes.ndim != 4:
        raise ValueError(f"augmentation needs images, got examples of shape {codes.shape[1:]}")
    shift = round(codes.shape[1] * _SHIFT)
    # What moves in at the edge is black. Digits and letters must not be mirrored, so only colour images are.
    return augment(codes, Key(options.seed, step, _AUGMENT), shift=shift, flip=codes.shape[3] == 3, fill=-128)


def _keep_best(model: Sequential, result: Result, entry: dict[str, Any]) -> None:
    value = entry["validation_accuracy"]
    earlier = [each["validation_accuracy"] for each in result.history]
    if value is None or not earlier or value > max(earlier):
        result.best = model.freeze()


def _description(
    model: Sequential, optimizer: Optimizer, train: Examples, validation: Examples | None, options: Options
) -> dict[str, Any]:
    """Return what the steps depend on, as JSON knows it: it may not change between a checkpoint and going on from it.

    How far to go may change, and the shapes of the arrays are compared anyway.
    """
    found = asdict(options) | {
        "precision": model.precision.setting(),
        "optimizer": repr(optimizer),
        "examples": len(train),
        "validation": None if validation is None else len(validation),
    }
    del found["max_steps"]
    return found
