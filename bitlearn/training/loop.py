"""Training over all epochs, with checkpoints and hooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.bits import Bits
from bitlearn.datasets.augment import augment
from bitlearn.datasets.batches import batches
from bitlearn.datasets.preparation import Examples
from bitlearn.files import exclusive
from bitlearn.nn.frozen import Batch
from bitlearn.nn.losses import Loss, check_labels
from bitlearn.nn.model import Model
from bitlearn.nn.savings import Savings
from bitlearn.optim import Optimizer, Transform
from bitlearn.optim.schedules import named
from bitlearn.rng import Key
from bitlearn.training import checkpoints
from bitlearn.training.budget import plan
from bitlearn.training.description import description
from bitlearn.training.epochs import VALIDATED, MadeBatch, accuracy, epoch_steps, steps_in_epoch
from bitlearn.training.hooks import Hook, Hooks
from bitlearn.training.options import Options
from bitlearn.training.result import Result
from bitlearn.training.step import Trainer

#: Images are shifted by up to this fraction of their height.
_SHIFT = 0.125


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
    narrow: str | Collection[str] = (),
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
        Where to write the whole state after each epoch, atomically, and where Ctrl-C, or an exit from another signal's
        handler, interrupts an epoch (only the last epoch's is kept if `make_trainer` uses other processes). No other
        training run may write there meanwhile.
    resume : bool
        Continue from `checkpoint` if it exists, on the same examples; ``result.resumed`` says from which epoch, and
        ``result.resumed_steps`` from which step of the next one. The result is the same, bit for bit, as without the
        interruption. With more epochs than before, learning rates from here on follow the longer schedule.
    measure : context manager, optional
        Entered around the steps of each epoch only.
    make_trainer : callable
        Makes the object that computes the steps, called like `Trainer`: for several workers, a `functools.partial` of
        `DataParallel <bitlearn.training.DataParallel>`, whose workers are not released here.
    memory_budget : int or str, optional
        The memory that training may use beyond the imported libraries and the data, in bytes or as ``"64 MiB"``:
        `bitlearn.training.plan` chooses how. Hooks are notified of the choice before the first step, and the result
        contains it.
    narrow : {"moments", "gradients", "statistics"}, or a collection of them
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
    result, savings, validated = Result(), Savings(), VALIDATED
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

    def batch(index: np.ndarray, step: int) -> MadeBatch:
        return _augmented(train.codes(index), options, step), train.y[index]

    def rate(step: int) -> float:
        return start_rate * schedule(step / max(steps, 1))

    with nullcontext() if path is None else exclusive(path):
        start, begun, training = 0, checkpoints.Begun(), dict[str, Any]()
        if path is not None:
            training = description(trainer, train, validation, options) | {"ghost": savings.ghost}
            if resume and path.exists():
                kept = checkpoints.restore(path, model, trainer, training, in_epoch)
                start, result.history, result.best, begun = kept
                result.resumed, result.resumed_steps = start, len(begun.losses)
        told.on_begin(model, result.history)
        try:
            for epoch in range(start, options.epochs):
                if (last is not None and trainer.steps >= last) or (
                    result.history and result.history[-1].get("stopped")
                ):
                    break
                losses, before, begun = begun.losses, begun.seconds, checkpoints.Begun()
                clock = time.perf_counter()
                try:
                    order = batches(len(train), options.batch_size, Key(options.seed, epoch, streams.BATCHES))
                    shown = steps if last is None else min(steps, last)
                    with measure or nullcontext():
                        left = islice(order, len(losses), None)
                        made = epoch_steps(trainer, left, batch, rate, told, step=trainer.steps, steps=shown, last=last)
                        for step_loss, seconds in made:
                            losses.append(step_loss)
                            result.losses.append(step_loss)
                            result.step_seconds.append(seconds)
                        trainer.settle()
                    entry: dict[str, Any] = {
                        "epoch": epoch + 1,
                        "loss": float(np.mean(losses)),
                        "validation_accuracy": None,
                        "seconds": before + time.perf_counter() - clock,
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
                except (KeyboardInterrupt, SystemExit):
                    # Workers in other processes are interrupted too, so that theirs are not the arrays after a step.
                    if path is not None and make_trainer is Trainer and (count := trainer.steps - epoch * in_epoch):
                        if len(losses) < count:  # interrupted between a step and its loss
                            losses.append(trainer.last_loss())
                        begun = checkpoints.Begun(losses, before + time.perf_counter() - clock)
                        best = model.freeze() if result.best is None else result.best
                        checkpoints.store(path, model, trainer, training, epoch, result.history[:epoch], best, begun)
                    raise
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
