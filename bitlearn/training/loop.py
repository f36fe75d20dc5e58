"""The loop over epochs and steps, for `fit` and for each task of continual learning."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.bits import Bits
from bitlearn.datasets.augment import augment
from bitlearn.datasets.batches import batches
from bitlearn.datasets.preparation import Examples
from bitlearn.errors import NonFiniteError
from bitlearn.files import exclusive
from bitlearn.nn.frozen import Batch, Frozen
from bitlearn.nn.losses import Loss, check_labels
from bitlearn.nn.model import Model
from bitlearn.nn.savings import Savings
from bitlearn.optim import Optimizer, Transform
from bitlearn.optim.schedules import named
from bitlearn.rng import Key
from bitlearn.training import checkpoints
from bitlearn.training.budget import plan
from bitlearn.training.hooks import Hook, Hooks
from bitlearn.training.options import Options
from bitlearn.training.result import Result
from bitlearn.training.step import Trainer

#: A batch's input and labels, and further inputs of its loss.
MadeBatch = tuple[Batch, np.ndarray] | tuple[Batch, np.ndarray, Mapping[str, np.ndarray]]
#: Images are shifted by up to this fraction (one over it) of their height.
_SHIFT = 0.125
#: Bytes of examples hashed at a time.
_DIGESTED = 2**22
#: Examples validated at a time without a budget.
_VALIDATED = 1000


def accuracy(
    network: Model | Frozen,
    examples: Examples,
    *,
    batch_size: int = _VALIDATED,
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
    """Make the steps of an epoch; yield each one's loss and seconds.

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
        hooks.on_step(step, steps, loss)
        yield loss, seconds


def fit(
    model: Model,
    optimizer: Optimizer,
    train: Examples,
    options: Options,
    *,
    validation: Examples | None = None,
    hooks: Hook | Iterable[Hook] | None = None,
    loss: Loss | None = None,
    transforms: tuple[Transform, ...] = (),
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    measure: AbstractContextManager[Any] | None = None,
    make_trainer: Callable[..., Trainer] = Trainer,
    memory_budget: int | str | None = None,
    narrow: Collection[str] = (),
) -> Result:
    """Train a model, and keep the inference form of its best epoch.

    Parameters
    ----------
    model : Model
        Changed in place.
    optimizer : Optimizer
    train : Examples
    options : Options
    validation : Examples, optional
        Held-out examples for choosing the best epoch.
    hooks : Hook or iterable of Hook, optional
        Notified of batches, steps and epochs.
    loss : Loss, optional
        Softmax cross-entropy by default.
    transforms : tuple of callables
        Applied to gradients before updates: see `bitlearn.optim.transforms`.
    checkpoint : path, optional
        Where to write the whole state after each epoch, atomically. No other training run may write there meanwhile.
    resume : bool
        Continue from `checkpoint` if it exists, on the same examples; ``result.resumed`` says from which epoch. The
        result is the same, bit for bit, as without the interruption. With more epochs than before, learning rates from
        here on follow the longer schedule.
    measure : context manager, optional
        Entered around the steps of each epoch only.
    make_trainer : callable
        Makes the object that computes the steps, called like `Trainer`: for several workers, a `functools.partial` of
        `DataParallel <bitlearn.training.DataParallel>`, whose workers are not released here.
    memory_budget : int or str, optional
        The memory that training may use beyond the imported libraries and the data, in bytes or as ``"64 MiB"``:
        `bitlearn.training.plan` chooses how. Hooks are notified of the choice before the first step, and the result
        contains it.
    narrow : collection of {"moments", "gradients", "statistics"}
        What may change the result to fit the budget: fewer bits than the policy says, or statistics of micro-batches
        (see `bitlearn.training.plan`); by default nothing.

    Returns
    -------
    Result

    Raises
    ------
    NonFiniteError
        Naming the step and the layer; the last checkpoint is kept.
    ValueError
        If the data do not fit the model or the options, the checkpoint belongs to another training run, or nothing fits
        `memory_budget` (the message has a table of the smallest configuration).
    BlockingIOError
        If another training run, in this process or another, writes to `checkpoint`.
    """
    in_epoch = steps_in_epoch(len(train), options.batch_size)
    steps, told, path = in_epoch * options.epochs, Hooks(hooks), None if checkpoint is None else Path(checkpoint)
    if len(train) < 2:
        raise ValueError(f"train must hold at least 2 examples, since a batch norm needs two, got {len(train)}")
    for name, part in (("train", train), ("validation", validation)):
        if part is not None and part.y is None:
            raise ValueError(f"{name} must have labels, got examples without")
    check_labels(train.y, model.output_shape[-1])
    schedule, start_rate = named(options.schedule), options.learning_rate or optimizer.rate(model.precision)
    result, savings, validated = Result(), Savings(), _VALIDATED
    if memory_budget is not None:
        if make_trainer is not Trainer:
            raise ValueError(f"memory_budget must be None if {make_trainer} makes the steps, got {memory_budget!r}")
        held_out, partial = validation is not None, len(train) % options.batch_size >= 2
        chosen = result.plan = plan(
            model, optimizer, options.batch_size, memory_budget,
            narrow=narrow, validation=held_out, partial=partial, loss=loss, transforms=transforms,
        )  # fmt: skip
        told.on_plan(chosen)
        if chosen.precision != model.precision:
            model = model.under(chosen.precision)  # with the same arrays
        savings, validated = chosen.savings, chosen.validation_batch
    saved = {} if memory_budget is None else {"savings": savings}
    trainer = make_trainer(model, optimizer, options.seed, loss, transforms, **saved)
    last = options.max_steps

    def batch(index: np.ndarray, step: int) -> tuple[Batch, np.ndarray]:
        return _augmented(train.codes(index), options, step), train.y[index]

    def rate(step: int) -> float:
        return start_rate * schedule(step / max(steps, 1))

    with nullcontext() if path is None else exclusive(path):
        start, training = 0, dict[str, Any]()
        if path is not None:
            training = _description(trainer, train, validation, options) | {"ghost": savings.ghost}
            if resume and path.exists():
                start, result.history, result.best = checkpoints.restore(path, model, trainer, training, in_epoch)
                result.resumed = start
        told.on_begin(model, result.history)
        try:
            for epoch in range(start, options.epochs):
                if (last is not None and trainer.steps >= last) or (
                    result.history and result.history[-1].get("stopped")
                ):
                    break
                order = batches(len(train), options.batch_size, Key(options.seed, epoch, streams.BATCHES))
                begun, first = time.perf_counter(), len(result.losses)
                shown = steps if last is None else min(steps, last)
                with measure or nullcontext():
                    made = epoch_steps(trainer, order, batch, rate, told, step=trainer.steps, steps=shown, last=last)
                    for step_loss, seconds in made:
                        result.losses.append(step_loss)
                        result.step_seconds.append(seconds)
                    trainer.settle()
                entry: dict[str, Any] = {
                    "epoch": epoch + 1,
                    "loss": float(np.mean(result.losses[first:])),
                    "validation_accuracy": None,
                    "seconds": time.perf_counter() - begun,
                }
                if validation is not None:
                    entry["validation_accuracy"] = accuracy(model, validation, batch_size=validated)
                _keep_best(model, result, entry)
                result.history.append(entry)
                if told.on_epoch(entry):
                    entry["stopped"] = True
                # Training cannot be resumed from an epoch that `max_steps` cut short.
                if path is not None and trainer.steps == (epoch + 1) * in_epoch:
                    assert result.best is not None
                    checkpoints.store(path, model, trainer, training, epoch + 1, result.history, result.best)
        finally:
            told.on_end()
    return result


def _augmented(codes: Batch, options: Options, step: int) -> Batch:
    if not options.augment:
        return codes
    if isinstance(codes, Bits) or codes.ndim != 4:
        raise ValueError(f"augmentation needs images, got examples of shape {codes.shape[1:]}")
    shift = round(codes.shape[1] * _SHIFT)
    # Pixels that move in at the edge are black.
    return augment(codes, Key(options.seed, step, streams.AUGMENTATION), shift=shift, flip=options.mirror, fill=-128)


def _keep_best(model: Model, result: Result, entry: dict[str, Any]) -> None:
    value = entry["validation_accuracy"]
    earlier = [each["validation_accuracy"] for each in result.history]
    if value is None or not earlier or value > max(earlier):
        result.best = model.freeze()


def _digest(*parts: Examples | None) -> str:
    """Return the SHA-256 of examples: raw arrays, labels, and how they become codes."""
    total = hashlib.sha256()
    for part in parts:
        if part is not None:
            scaling = part.preparation.scaling.arrays()
            for array in (part.x, part.y, *scaling.values()):
                total.update(f"{array.dtype.str} {array.shape} {part.preparation.image_size} ".encode())
                # Files are read a few MiB at a time, never as a whole.
                some = max(1, _DIGESTED * len(array) // max(array.nbytes, 1))
                for start in range(0, len(array), some):
                    total.update(np.ascontiguousarray(array[start : start + some]).reshape(-1).view(np.uint8))
    return total.hexdigest()


def _description(trainer: Trainer, train: Examples, validation: Examples | None, options: Options) -> dict[str, Any]:
    """Return what the steps depend on, for JSON: it must not change between a checkpoint and resuming from it.

    The number of epochs may change, and the shapes of the arrays are compared anyway.
    """
    found = asdict(options) | {
        "schedule": options.schedule if isinstance(options.schedule, str) else "a callable",
        "precision": trainer.model.precision.setting(),
        "optimizer": repr(trainer.optimizer),
        "loss": type(trainer.loss).__name__,
        "transforms": len(trainer.transforms),
        "examples": len(train),
        "validation": None if validation is None else len(validation),
        "data": _digest(train, validation),
    }
    del found["max_steps"]
    return found
