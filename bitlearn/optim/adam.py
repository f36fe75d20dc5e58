"""Adam (arXiv 1412.6980)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bitlearn.nn.step import ParameterGradient
from bitlearn.optim.rule import Arrays, Optimizer, positive, share


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (arXiv 1412.6980): moments of the gradient and of its square, bias corrected.

    A binary gradient counts as -1, 0 or +1: Adam is insensitive to a constant factor, and the square of an attenuated
    gradient would vanish in few bits. Where all gradients of a large parameter are signs, the mean of their squares is
    the same for all its weights, and kept once (`Optimizer.init`); weights beyond the clip, which have no gradient, are
    divided by that of the others.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : float
        As for `adam`, which checks them.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-7
    moments = ("mean", "square")
    squares = ("square",)
    kernel = "adam_update"

    def check_state(self, state: Arrays) -> None:
        """Raise ValueError where a mean is not finite, or a mean of squares is negative."""
        super().check_state(state)
        for name, array in state.items():
            if name.endswith(".square") and (array < 0).any():
                raise ValueError(f"means of squares must be at least 0, got others as {name}")

    def attenuation(self, gradient: ParameterGradient) -> np.float32:
        """Return 1."""
        return np.float32(1)

    def numbers(self, step: int, learning_rate: float, factor: np.float32) -> tuple[float | np.float32, ...]:
        """Return the decays, what they leave, the rate and epsilon."""
        correction = math.sqrt(1 - power(self.beta2, step))
        rate = learning_rate * correction / (1 - power(self.beta1, step))
        # The published algorithm adds epsilon to the corrected root; here the root is not corrected, so epsilon is.
        return self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2, rate, self.epsilon * correction


def power(base: float, exponent: int) -> float:
    """Return a power by multiplications alone: ``base**exponent`` has other last bits on other systems.

    Parameters
    ----------
    base : float
    exponent : int
        At least 0.

    Returns
    -------
    float

    Examples
    --------
    >>> power(0.5, 3), power(0.9, 0)
    (0.125, 1.0)
    """
    found = 1.0
    while exponent:
        if exponent & 1:
            found *= base
        base *= base
        exponent >>= 1
    return found


def adam(learning_rate: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-7) -> Adam:
    """Return Adam (arXiv 1412.6980).

    Parameters
    ----------
    learning_rate, epsilon : float
        Above 0.
    beta1, beta2 : float
        In [0, 1): how much of the moments is kept in each step.

    Returns
    -------
    Adam

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.optim.adam().learning_rate
    0.001
    """
    positive("learning_rate", learning_rate)
    positive("epsilon", epsilon)
    share("beta1", beta1)
    share("beta2", beta2)
    return Adam(learning_rate, beta1, beta2, epsilon)
