"""Our own training step under a policy, as `bitlearn.training.fit` makes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import bitlearn as bl
from bitlearn import energy
from bitlearn.nn.frozen import Batch
from bitlearn.nn.savings import Savings
from bitlearn.training import Trainer, plan

from . import QUANTIZED, Task, batch, model, optimizer

#: The budget for planning a step with the fewest bytes, as `bitlearn.training.fit` does with `memory_budget`.
_BUDGET = "14.5 MiB"


def prepare(task: Task) -> None:
    """Load all kernels with a step of the smallest network of the kind."""
    bl.set_num_threads(task.threads)
    _step(task, *batch(task.network, 2), tiny=True)()


def start(task: Task, codes: Batch, labels: np.ndarray) -> Callable[[], float]:
    """Return a step on this batch, which returns its loss."""
    return _step(task, codes, labels)


def joules(task: Task) -> float:
    """Return the modelled energy of a step, from its record."""
    trainer = _trainer(task, task.batch_size)
    return energy.of_program(trainer.record(task.batch_size).program).joules


def _trainer(task: Task, examples: int, tiny: bool = False) -> Trainer:
    network, rule = model(task.network, task.way, tiny=tiny), optimizer(task.rule, task.way)
    planned = plan(network, rule, examples, _BUDGET) if task.way == QUANTIZED.name and not tiny else None
    return Trainer(network, rule, savings=Savings() if planned is None else planned.savings)


def _step(task: Task, codes: Batch, labels: np.ndarray, tiny: bool = False) -> Callable[[], float]:
    trainer = _trainer(task, len(labels), tiny)
    rate = trainer.optimizer.rate(trainer.model.precision)
    return lambda: trainer.step(codes, labels, rate)
