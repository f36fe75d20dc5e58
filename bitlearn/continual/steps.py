"""The training steps of a learner: those of a task, epoch by epoch, and single ones for batches of a stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bitlearn import streams
from bitlearn.continual.options import Options
from bitlearn.datasets.batches import batches
from bitlearn.errors import NonFiniteError
from bitlearn.nn.frozen import Batch
from bitlearn.nn.losses import Loss
from bitlearn.nn.model import Model
from bitlearn.optim import Optimizer, Transform
from bitlearn.optim.schedules import named
from bitlearn.rng import Key
from bitlearn.training.epochs import MadeBatch, epoch_steps, steps_in_epoch
from bitlearn.training.hooks import Hook
from bitlearn.training.step import NOTHING_ELSE, Trainer


@dataclass(frozen=True)
class TaskTraining:
    """What the steps of one task train, and on what.

    Parameters
    ----------
    network : Model
        The layers that are trained.
    count : int
        The number of examples in an epoch.
    batch_size : int
        The number of examples in a step.
    batch : callable
        A function from indices of examples, and the key of this step, to the step's inputs and labels, and any further
        inputs of its loss.
    prepare : callable, optional
        Called before each step with the trainer and the number of the step in the task: it may change the layers being
        trained.
    """

    network: Model
    count: int
    batch_size: int
    batch: Callable[[np.ndarray, Key], MadeBatch]
    prepare: Callable[[Trainer, int], None] | None = None


class Steps:
    """Makes the training steps of a learner's network, and counts their multiply-adds.

    Parameters
    ----------
    optimizer : Optimizer
    options : Options
    hooks : Hook
        Notified of each batch, step and epoch.
    loss : Loss, optional
        Softmax cross-entropy by default.
    transforms : tuple of callables
        Applied to gradients before updates: see `bitlearn.optim.transforms`.

    Attributes
    ----------
    made : int
        Steps so far, over all networks: random bits depend on this number, so they never repeat.
    operations : int
        Multiply-adds of the forward passes of these steps, through the layers that are trained.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        options: Options,
        hooks: Hook,
        loss: Loss | None = None,
        transforms: tuple[Transform, ...] = (),
    ):
        self.optimizer, self.options, self.hooks = optimizer, options, hooks
        self.loss, self.transforms = loss, transforms
        self.made, self.operations = 0, 0
        self._trainer: Trainer | None = None
        #: A network and its multiply-adds per example.
        self._counted: tuple[Model | None, int] = None, 0

    def trainer(self, network: Model) -> Trainer:
        """Return the trainer of a network. Its optimiser's state is reset if the last step was for another network."""
        if self._trainer is None or self._trainer.model is not network:
            self._trainer = None  # release the optimiser's state before the next one is allocated
            self._trainer = Trainer(network, self.optimizer, self.options.seed, self.loss, self.transforms)
        self._trainer.steps = self.made
        return self._trainer

    def grown(self, network: Model) -> None:
        """Continue with a network whose head has grown; the optimiser's state for other outputs is kept."""
        self._counted = None, 0
        if self._trainer is None or self._trainer.model is not network:
            return
        before, self._trainer = self._trainer.state, None
        for name, array in self.trainer(network).state.items():
            old = before[name]
            array[tuple(slice(size) for size in old.shape)] = old

    def rate(self, network: Model) -> float:
        """Return the learning rate of steps on a stream, which is also that of the first step of a task."""
        return self.options.learning_rate or self.optimizer.rate(network.precision)

    def _count(self, network: Model, examples: int) -> None:
        if self._counted[0] is not network:
            self._counted = network, sum(sum(layer.operations()) for _, layer in network.root.leaves())
        self.operations += examples * self._counted[1]

    def once(self, network: Model, x: Batch, y: np.ndarray, given: Mapping[str, np.ndarray] = NOTHING_ELSE) -> float:
        """Make a step on a batch of a stream, at the initial learning rate of tasks, and return its loss."""
        trainer = self.trainer(network)
        self.hooks.on_batch(trainer, x, y)
        loss = trainer.step(x, y, self.rate(network), given)
        self.made = trainer.steps
        self._count(network, len(y))
        self.hooks.on_step(self.made, self.made, loss)
        return loss

    def task(
        self, training: TaskTraining, index: int, first: int = 0, told: Callable[[int], None] | None = None
    ) -> None:
        """Make the steps of a task.

        Parameters
        ----------
        training : TaskTraining
        index : int
            The task's index.
        first : int
            The epoch to start with: earlier ones are done, and the optimiser is in the state they left.
        told : callable, optional
            Called after each epoch with the number of epochs done.
        """
        options, trainer = self.options, self.trainer(training.network)
        if first == 0:
            trainer.restart()
        in_epoch = steps_in_epoch(training.count, training.batch_size)
        steps, start = in_epoch * options.epochs, self.rate(training.network)
        if index and options.later_learning_rate is not None:
            start = options.later_learning_rate
        schedule = named(options.schedule)

        def batch(index_of: np.ndarray, step: int) -> MadeBatch:
            # Consecutive steps of all tasks share a stream, because a task's number of steps is not known before it
            # begins.
            if training.prepare is not None:
                training.prepare(trainer, step)
            made = training.batch(index_of, Key(options.seed, step, streams.REPLAYED + index))
            self._count(training.network, len(made[1]))
            return made

        def rate(step: int) -> float:
            return start * schedule(step / max(steps, 1))

        for epoch in range(first, options.epochs):
            begun = time.perf_counter()
            order = batches(
                training.count,
                training.batch_size,
                Key(options.seed, index * options.epochs + epoch, streams.TASK_BATCHES),
            )
            made = epoch_steps(trainer, order, batch, rate, self.hooks, step=epoch * in_epoch, steps=steps)
            try:
                losses = [loss for loss, _ in made]
            except NonFiniteError as error:
                raise error.located(f"of task {index + 1}") from None
            finally:
                self.made = trainer.steps
            entry = {
                "task": index + 1,
                "epoch": epoch + 1,
                "loss": float(np.mean(losses)),
                "seconds": time.perf_counter() - begun,
            }
            self.hooks.on_epoch(entry)
            if told is not None:
                told(epoch + 1)
