"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlearn.optim.rule import Optimizer, positive, share
from bitlearn.precision import Precision

#: The learning rates to begin with where the signs of gradients are kept, and where gradients are whole: those of
#: binary weights are as small as the loss's, which is a mean. The published gradient of a batch norm does not sum to 0:
#: at 10 training diverges, at 3 it does best.
_RATE_OF_SIGNS, _RATE, _RATE_OF_L1 = 0.1, 10.0, 3.0


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum: ``v = momentum * v + g``, ``w = w - learning_rate * v``.

    With a momentum of 0, no v is kept. A binary gradient counts as ``sign / sqrt(fan_in)``.

    Parameters
    ----------
    learning_rate, momentum : float
        As for `sgd`, which checks them.
    """

    learning_rate: float | None = None
    momentum: float = 0.9

    @property
    def moments(self) -> tuple[str, ...]:  # type: ignore[override]
        """The velocity, if there is momentum."""
        return ("velocity",) if self.momentum else ()

    @property
    def kernel(self) -> str:
        """The kernel with a velocity, or without one."""
        return "sgd_update" if self.momentum else "descent_update"

    def rate(self, precision: Precision) -> float:
        """Return the learning rate; if none was given, 0.1 for signs of gradients, 3 after norm "l1", otherwise 10."""
        if self.learning_rate is not None:
            return self.learning_rate
        whole = _RATE_OF_L1 if precision.norm == "l1" else _RATE
        return _RATE_OF_SIGNS if precision.sign_weight_gradient else whole

    def numbers(self, step: int, learning_rate: float, factor: np.float32) -> tuple[float | np.float32, ...]:
        """Return the momentum, the factor of the gradient and the rate."""
        return (self.momentum, factor, learning_rate) if self.momentum else (factor, learning_rate)


def sgd(learning_rate: float | None = None, momentum: float = 0.9) -> SGD:
    """Return stochastic gradient descent with momentum.

    Parameters
    ----------
    learning_rate : float, optional
        Above 0. By default 0.1 under a policy that keeps only the signs of gradients (``low-memory``), where a sign
        counts as ``1 / sqrt(fan_in)``; 3 under one of whole gradients and the norm "l1" (``float32-bits``); otherwise
        10.
    momentum : float
        In [0, 1).

    Returns
    -------
    SGD

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.optim.sgd(0.05)
    SGD(learning_rate=0.05, momentum=0.9)
    """
    if learning_rate is not None:
        positive("learning_rate", learning_rate)
    share("momentum", momentum)
    return SGD(learning_rate, momentum)
