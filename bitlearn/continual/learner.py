"""The loop of continual learning: each task in turn, then the accuracy on all that was seen."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.continual.methods import build
from bitlearn.continual.methods.method import Lesson
from bitlearn.continual.metrics import METRICS
from bitlearn.continual.options import Options
from bitlearn.continual.scenario import Scenario, Task
from bitlearn.datasets.batches import batches
from bitlearn.errors import NonFiniteError
from bitlearn.nn.sequential import Sequential
from bitlearn.optim import Optimizer
from bitlearn.rng import Key
from bitlearn.training import Schedule, Watcher, accuracy, steps_in_epoch, train_step

#: Streams of random bits, far from the small numbers that layers use: "CBAT" and "CSTP" in ASCII.
_BATCHES, _STEP = 0x43424154, 0x43535450


@dataclass(frozen=True)
class Outcome:
    """What continual learning gives.

    Parameters
    ----------
    method : str
    accuracy_matrix : list of list of (float or None)
        Row: after task i; column: on the test set of task j, predicting among all classes; None where not yet seen.
    metrics : dict of str to (float or None)
        ``average_accuracy`` and the other functions of `bitlearn.continual.metrics`.
    replay_bytes : int
        Of the replay memory at capacity: bits, labels and bookkeeping; 0 without one.
    seconds : float
        Of learning, evaluation left out.
    """

    method: str
    accuracy_matrix: list[list[float | None]]
    metrics: dict[str, float | None]
    replay_bytes: int
    seconds: float


def run(
    method: str,
    scenario: Scenario,
    model: Sequential,
    optimizer: Optimizer,
    options: Options,
    *,
    watcher: Watcher | None = None,
    measure: AbstractContextManager[Any] | None = None,
) -> Outcome:
    """Learn the tasks of a scenario one after the other, and measure the accuracy after each.

    Parameters
    ----------
    method : str
        A name of `bitlearn.continual.METHODS`.
    scenario : Scenario
    model : Sequential
        Changed in place; its outputs are all classes of the scenario. Models of the same seed start alike, so that
        methods can be compared.
    optimizer : Optimizer
        It starts anew with each task.
    options : Options
    watcher : Watcher, optional
        Told of each step and epoch; it is given the task's steps, and entries have the key ``task``.
    measure : context manager, optional
        Entered around the learning of each task, without the evaluation.

    Returns
    -------
    Outcome

    Raises
    ------
    NonFiniteError
        Naming the layer, the step and the task.
    ValueError
        Where there is no such method, or the model does not fit the scenario or the method.

    Notes
    -----
    Under an integer policy model and memory are the same, bit for bit, from every backend and any number of threads.

    Examples
    --------
    >>> import bitlearn as bl
    >>> x, y = np.eye(4, dtype=np.uint8).repeat(8, axis=0) * 255, np.arange(4).repeat(8)
    >>> scenario = bl.continual.class_incremental(x, y, x, y, 2)
    >>> model = bl.models.mlp((4,), 4, hidden=(64, 64), head="real", precision="low-memory")
    >>> outcome = run("latent-replay", scenario, model, bl.optim.adam(), Options(epochs=5, batch_size=8, replay_size=8))
    >>> outcome.accuracy_matrix[0][1] is None, outcome.replay_bytes
    (True, 104)
    """
    for name, wanted, found in (
        ("outputs", (scenario.classes,), model.output_shape),
        ("inputs", scenario.input_shape, model.input_shape),
    ):
        if wanted != found:
            raise ValueError(f"model must have {name} {wanted} for this scenario, got {found}")
    learner = build(method, model, scenario, options)
    measure = measure or nullcontext()
    matrix: list[list[float | None]] = []
    seconds = 0.0
    for task in scenario.tasks:
        begun = time.perf_counter()
        with measure:
            _learn(learner.lesson(task), task, optimizer, options, watcher)
            learner.finish(task)
        seconds += time.perf_counter() - begun
        seen = [accuracy(model, each.test) for each in scenario.tasks[: task.index + 1]]
        matrix.append([*seen, *[None] * (len(scenario.tasks) - len(seen))])
    metrics = {name: function(matrix) for name, function in METRICS.items()}
    return Outcome(method, matrix, metrics, learner.replay_bytes, seconds)


def _learn(lesson: Lesson, task: Task, optimizer: Optimizer, options: Options, watcher: Watcher | None) -> None:
    """Make the steps of a task."""
    network = lesson.network
    state = optimizer.init(network.parameters(), network.precision, network.binary_parameters())
    steps = steps_in_epoch(lesson.count, lesson.batch_size) * options.epochs
    schedule = Schedule(options.schedule, options.learning_rate or optimizer.learning_rate, steps)
    step = 0
    for epoch in range(options.epochs):
        begun, losses = time.perf_counter(), []
        order = Key(options.seed, task.index * options.epochs + epoch, _BATCHES)
        for index in batches(lesson.count, lesson.batch_size, order):
            # Streams of tasks next to each other: a task's steps are not known before it begins.
            x, y = lesson.batch(index, Key(options.seed, step, _STEP + task.index))
            try:
                losses.append(train_step(network, optimizer, state, x, y, schedule(step), seed=options.seed))
            except NonFiniteError as error:
                raise error.located(f"at step {step + 1} of task {task.index + 1}") from None
            step += 1
            if watcher is not None:
                watcher.on_step(step, steps, losses[-1])
        if watcher is not None:
            entry = {
                "task": task.index + 1,
                "epoch": epoch + 1,
                "loss": float(np.mean(losses)),
                "seconds": time.perf_counter() - begun,
            }
            watcher.on_epoch(entry)
