"""A training step recorded for what it would take, without allocating anything for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from bitlearn.nn.losses import Loss
from bitlearn.nn.model import Model
from bitlearn.nn.savings import Savings
from bitlearn.optim import Optimizer, Transform
from bitlearn.optim.rule import Arrays
from bitlearn.program import Program
from bitlearn.training.step import Trainer, state_options


@dataclass(frozen=True)
class _Outline:
    """The shape and type of an array that is not allocated, which is all that a record needs."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def flags(self) -> Any:
        return np.empty(0).flags


def record(
    model: Model,
    optimizer: Optimizer,
    batch_size: int,
    savings: Savings | None = None,
    loss: Loss | None = None,
    transforms: tuple[Transform, ...] = (),
) -> Program:
    """Return the recorded step of a network: neither its arrays nor the optimiser's state are allocated.

    Parameters
    ----------
    model : Model
        Not changed (Bop, for example, would set weights to ±1 when it starts).
    optimizer : Optimizer
    batch_size : int
        At least 2.
    savings : Savings, optional
        How the step is recorded; by default nothing is saved.
    loss, transforms
        As `Trainer <bitlearn.training.Trainer>` takes them.
    """
    layout = optimizer.layout(model.parameters(), *state_options(model, transforms))
    state = {name: _Outline(*kind) if kind[0] else np.zeros((), kind[1]) for name, kind in layout.items()}
    trainer = Trainer(model, optimizer, 0, loss, transforms, savings=savings or Savings(), state=cast(Arrays, state))
    return trainer.record(batch_size).program
