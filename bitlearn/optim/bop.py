"""Bop (arXiv 1906.02107), which flips binary weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from bitlearn.nn.step import ParameterGradient
from bitlearn.optim.adam import Adam, adam
from bitlearn.optim.rule import Arrays, Optimizer, Updates
from bitlearn.precision import Precision
from bitlearn.program import Array
from bitlearn.safetensors import Types


@dataclass(frozen=True)
class Bop(Optimizer):
    """Bop (arXiv 1906.02107), which flips binary weights.

    ``m = (1 - gamma) * m + gamma * g``; a weight flips where ``w * m > threshold``. The weights of binary layers become
    ±1 at the start and stay so; every other parameter is left to `other`, whose learning rate is used. A binary
    gradient counts as ``sign / sqrt(fan_in)``.

    Parameters
    ----------
    threshold, gamma : float
        As for `bop`, which checks them.
    other : Optimizer
        For parameters that are not binary; Adam by default.
    """

    threshold: float = 1e-8
    gamma: float = 1e-4
    other: Optimizer = field(default_factory=Adam)
    moments = ("flip",)
    kernel = "bop_update"

    @property
    def learning_rate(self) -> float | None:  # type: ignore[override]
        """The learning rate of the parameters that are not binary."""
        return self.other.learning_rate

    def rate(self, precision: Precision) -> float:
        """Return the learning rate of the parameters that are not binary."""
        return self.other.rate(precision)

    def init(self, parameters: Arrays, precision: Precision, binary: set[str], signs: Collection[str] = ()) -> Arrays:
        """Binarise the weights; return moments of zero and the other optimiser's state."""
        self.check(parameters)
        state = super().init(parameters, precision, binary, signs)
        for name in binary & parameters.keys():
            for row in parameters[name]:  # one at a time: no temporary array of the weights' size
                row[...] = np.where(row >= 0, 1, -1)
        return state

    def layout(self, parameters: Arrays, precision: Precision, binary: set[str], signs: Collection[str] = ()) -> Types:
        """Return the types of the moments, and of the other optimiser's state."""
        flipped = {name: parameter for name, parameter in parameters.items() if name in binary}
        rest = {name: parameter for name, parameter in parameters.items() if name not in binary}
        return self.other.layout(rest, precision, binary, signs) | super().layout(flipped, precision, binary, signs)

    def numbers(self, step: int, learning_rate: float, factor: np.float32) -> tuple[float | np.float32, ...]:
        """Return what the moment keeps, the factor of the gradient and the threshold."""
        return 1 - self.gamma, np.float32(self.gamma) * factor, self.threshold

    def record(
        self,
        updates: Updates,
        name: str,
        gradient: ParameterGradient,
        parameter: np.ndarray | Array,
        state: Mapping[str, np.ndarray | Array],
    ) -> None:
        """Record the update of a parameter: by the other rule, if it is not binary."""
        if f"{name}.flip" in state:
            super().record(updates, name, gradient, parameter, state)
        else:
            self.other.record(updates, name, gradient, parameter, state)


def bop(threshold: float = 1e-8, gamma: float = 1e-4, learning_rate: float = 0.001) -> Bop:
    """Return Bop (arXiv 1906.02107), with Adam for parameters that are not binary.

    Parameters
    ----------
    threshold : float
        At least 0: a weight flips if its moment agrees with it by more than this.
    gamma : float
        In (0, 1]: how fast the moment follows the gradient.
    learning_rate : float
        That of Adam.

    Returns
    -------
    Bop

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.optim.bop(gamma=1e-3).gamma
    0.001
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be at least 0, got {threshold}")
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must be in (0, 1], got {gamma}")
    return Bop(threshold, gamma, adam(learning_rate))
