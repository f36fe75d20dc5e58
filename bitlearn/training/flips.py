"""How many binary weights change sign during training."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.nn.frozen import Batch
from bitlearn.nn.model import Model
from bitlearn.ops.packing import pack
from bitlearn.training.hooks import Hook
from bitlearn.training.step import Trainer


def flip_ratio(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> float:
    """Return the share of binary weights whose sign differs between two results of `signs`.

    Parameters
    ----------
    before, after : dict of str to ndarray of uint64

    Returns
    -------
    float
        The share of all weights, each counted once; 0 if there are none.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.mlp((4,), 2, hidden=(8,), head="real")
    >>> before = signs(model)
    >>> model["linear1"].weight[0] *= -1
    >>> flip_ratio(before, signs(model)) == 4 / 32
    True
    """
    different = sum(int(np.bitwise_count(before[name] ^ after[name]).sum()) for name in after if name != _COUNT)
    return different / max(int(after[_COUNT][0]), 1)


_COUNT = ""


def signs(model: Model) -> dict[str, np.ndarray]:
    """Return the packed signs of a network's binary weights by name, and their number under an empty name.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict of str to ndarray of uint64
    """
    parameters, binary = model.parameters(), model.binary_parameters()
    found = {name: pack(parameters[name]) for name in sorted(binary)}
    return found | {_COUNT: np.array([sum(parameters[name].size for name in binary)], dtype=np.uint64)}


class FlipRatio(Hook):
    """A hook that measures the share of binary weights that change sign.

    Attributes
    ----------
    steps : list of float
        For each step, the share of weights that changed sign. A weight that flips and flips back counts twice.
    epochs : list of float
        For each epoch, the share of weights whose sign afterwards differs from that before.

    Notes
    -----
    An epoch's entry contains both: ``flip_ratio``, the mean of its steps, and ``flip_ratio_of_epoch``. The signs are
    packed before and after each step, which takes two bits of memory per weight and a pass over the weights.

    Examples
    --------
    >>> import bitlearn as bl
    >>> digits = bl.datasets.load("digits")
    >>> train = bl.datasets.Examples(digits.x_train, digits.y_train, bl.datasets.prepare(digits.x_train))
    >>> model = bl.models.mlp((8, 8, 1), 10, hidden=(64,), head="real", precision="dual-16")
    >>> flips = FlipRatio()
    >>> result = bl.training.fit(model, bl.optim.adam(), train, bl.training.Options(epochs=1), hooks=flips)
    >>> len(flips.steps) == len(result.losses), 0 < flips.epochs[0] < 1
    (True, True)
    """

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.epochs: list[float] = []
        self._first = 0
        self._begun: tuple[Trainer, dict[str, np.ndarray]] | None = None
        self._last: tuple[Trainer, dict[str, np.ndarray]] | None = None

    def on_batch(self, trainer: Trainer, x: Batch, y: np.ndarray) -> None:
        """Store the signs before a step."""
        self._last = (trainer, signs(trainer.model))
        if self._begun is None:
            self._begun = self._last

    def on_step(self, step: int, steps: int, loss: float) -> None:
        """Compare them with the signs after it."""
        if self._last is not None:
            trainer, before = self._last
            self.steps.append(flip_ratio(before, signs(trainer.model)))

    def on_epoch(self, entry: dict[str, Any]) -> None:
        """Add the shares to the epoch's entry."""
        if self._begun is None:
            return
        trainer, before = self._begun
        self.epochs.append(flip_ratio(before, signs(trainer.model)))
        entry["flip_ratio"] = float(np.mean(self.steps[self._first :]))
        entry["flip_ratio_of_epoch"] = self.epochs[-1]
        self._first, self._begun = len(self.steps), None
