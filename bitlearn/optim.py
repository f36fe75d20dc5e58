"""Optimisers: SGD with momentum, Adam and Bop, each an ``init`` and an ``update`` over named arrays.

An update works on a few rows at a time, so that float32 copies of float16 weights and of packed gradients stay small.
Every operation is one IEEE operation on float32, in a fixed order: the same weights from every processor.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from bitlearn.arena import track
from bitlearn.precision import Precision
from bitlearn.quantizers import BinaryGradient

Arrays = dict[str, np.ndarray]
Gradients = dict[str, "np.ndarray | BinaryGradient"]

# Values of a parameter that are updated at a time: float32 arrays of 64 KiB, which stay in the second-level cache.
_BLOCK_VALUES = 2**14
_STEP = "step"


def _blocks(parameter: np.ndarray) -> Iterator[slice]:
    rows = max(1, _BLOCK_VALUES // max(parameter[0].size if parameter.ndim > 1 and len(parameter) else 1, 1))
    for start in range(0, len(parameter), rows):
        yield slice(start, start + rows)


def _dense(gradient: np.ndarray | BinaryGradient, parameter: np.ndarray, rows: slice) -> np.ndarray:
    if isinstance(gradient, BinaryGradient):
        return gradient.dense(parameter, rows)
    return gradient[rows]


def _attenuation(gradient: np.ndarray | BinaryGradient) -> np.float32:
    """1 / sqrt(fan_in) for a binary gradient (arXiv 2102.04270), 1 for another."""
    fan_in = gradient.fan_in if isinstance(gradient, BinaryGradient) else 1
    return np.float32(1.0 / math.sqrt(fan_in))


class Optimizer(ABC):
    """A rule that turns gradients into changes of parameters, in place.

    The state is a dictionary of arrays, all that a checkpoint has to hold.
    """

    #: How many moments of a weight's size the rule keeps.
    moments: int
    learning_rate: float

    @abstractmethod
    def init(self, parameters: Arrays, precision: Precision, binary: set[str]) -> Arrays:
        """Return the state to begin with.

        Parameters
        ----------
        parameters : dict of str to ndarray
            A network's, by name.
        precision : Precision
            It names the type of the moments.
        binary : set of str
            The parameters that are binarised before use.

        Returns
        -------
        dict of str to ndarray
        """

    @abstractmethod
    def update(self, parameters: Arrays, gradients: Gradients, state: Arrays, learning_rate: float) -> None:
        """Make one step.

        Parameters
        ----------
        parameters : dict of str to ndarray
            Those that have a gradient are changed in place.
        gradients : dict of str to (ndarray or BinaryGradient)
        state : dict of str to ndarray
            What `init` gave; changed in place.
        learning_rate : float
        """


def _zeros(parameters: Arrays, precision: Precision, *suffixes: str) -> Arrays:
    state: Arrays = {_STEP: np.zeros((), dtype=np.int64)}
    for name, parameter in parameters.items():
        for suffix in suffixes:
            state[f"{name}.{suffix}"] = track("momenta", np.zeros(parameter.shape, dtype=precision.moments))
    return state


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum: ``v = momentum * v + g``, ``w = w - learning_rate * v``.

    Parameters
    ----------
    learning_rate, momentum : float
        As `sgd`, which checks them.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    moments = 1

    def init(self, parameters: Arrays, precision: Precision, binary: set[str]) -> Arrays:
        """Return velocities of zero."""
        return _zeros(parameters, precision, "velocity")

    def update(self, parameters: Arrays, gradients: Gradients, state: Arrays, learning_rate: float) -> None:
        """Make one step; a binary gradient counts ``sign / sqrt(fan_in)``."""
        state[_STEP] += 1
        momentum, rate = np.float32(self.momentum), np.float32(learning_rate)
        for name, gradient in gradients.items():
            parameter, velocity = parameters[name], state[f"{name}.velocity"]
            attenuation = _attenuation(gradient)
            for rows in _blocks(parameter):
                step = velocity[rows].astype(np.float32) * momentum + _dense(gradient, parameter, rows) * attenuation
                velocity[rows] = step
                parameter[rows] = parameter[rows].astype(np.float32) - rate * step


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (arXiv 1412.6980): moments of the gradient and of its square, bias corrected.

    A binary gradient counts -1, 0 or +1: Adam is blind to a constant factor, and the attenuated one's square would
    vanish in few bits.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : float
        As `adam`, which checks them.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-7
    moments = 2

    def init(self, parameters: Arrays, precision: Precision, binary: set[str]) -> Arrays:
        """Return moments of zero."""
        return _zeros(parameters, precision, "mean", "square")

    def update(self, parameters: Arrays, gradients: Gradients, state: Arrays, learning_rate: float) -> None:
        """Make one step."""
        state[_STEP] += 1
        step = int(state[_STEP])
        correction = math.sqrt(1 - self.beta2**step)
        rate = np.float32(learning_rate * correction / (1 - self.beta1**step))
        # The published algorithm adds epsilon to the corrected root; here the root is not corrected, so epsilon is.
        epsilon = np.float32(self.epsilon * correction)
        beta1, beta2 = np.float32(self.beta1), np.float32(self.beta2)
        rest1, rest2 = np.float32(1 - self.beta1), np.float32(1 - self.beta2)
        for name, gradient in gradients.items():
            parameter, mean, square = parameters[name], state[f"{name}.mean"], state[f"{name}.square"]
            for rows in _blocks(parameter):
                g = _dense(gradient, parameter, rows)
                first = mean[rows].astype(np.float32) * beta1 + g * rest1
                second = square[rows].astype(np.float32) * beta2 + (g * g) * rest2
                mean[rows], square[rows] = first, second
                parameter[rows] = parameter[rows].astype(np.float32) - rate * first / (np.sqrt(second) + epsilon)


@dataclass(frozen=True)
class Bop(Optimizer):
    """Bop (arXiv 1906.02107), which flips binary weights.

    ``m = (1 - gamma) * m + gamma * g``; a weight flips where ``w * m > threshold``. The weights of binary layers become
    ±1 at once and stay so; every other parameter is left to `other`, and the learning rate is that of `other`.

    Parameters
    ----------
    threshold, gamma : float
        As `bop`, which checks them.
    other : Optimizer
        For what is not binary; Adam by default.
    """

    threshold: float = 1e-8
    gamma: float = 1e-4
    other: Optimizer = field(default_factory=Adam)
    moments = 1

    @property
    def learning_rate(self) -> float:  # type: ignore[override]
        """The learning rate of the parameters that are not binary."""
        return self.other.learning_rate

    def init(self, parameters: Arrays, precision: Precision, binary: set[str]) -> Arrays:
        """Binarise the weights; return moments of zero and the other optimiser's state."""
        flipped = {name: parameter for name, parameter in parameters.items() if name in binary}
        for weight in flipped.values():
            weight[...] = np.where(weight >= 0, 1, -1)
        rest = {name: parameter for name, parameter in parameters.items() if name not in binary}
        return self.other.init(rest, precision, binary) | _zeros(flipped, precision, "flip")

    def update(self, parameters: Arrays, gradients: Gradients, state: Arrays, learning_rate: float) -> None:
        """Make one step; a binary gradient counts ``sign / sqrt(fan_in)``."""
        binary = [name for name in gradients if f"{name}.flip" in state]
        self.other.update(parameters, {k: g for k, g in gradients.items() if k not in binary}, state, learning_rate)
        gamma, keep = np.float32(self.gamma), np.float32(1 - self.gamma)
        threshold = np.float32(self.threshold)
        for name in binary:
            weight, moment, gradient = parameters[name], state[f"{name}.flip"], gradients[name]
            factor = gamma * _attenuation(gradient)
            for rows in _blocks(weight):
                mean = moment[rows].astype(np.float32) * keep + _dense(gradient, weight, rows) * factor
                moment[rows] = mean
                weight[rows] = np.where(weight[rows] * mean > threshold, -weight[rows], weight[rows])


def sgd(learning_rate: float = 0.1, momentum: float = 0.9) -> SGD:
    """Return stochastic gradient descent with momentum.

    Parameters
    ----------
    learning_rate : float
        Above 0.
    momentum : float
        In [0, 1).

    Returns
    -------
    SGD

    Raises
    ------
    ValueError
        Where a number is out of its range.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.optim.sgd(0.05)
    SGD(learning_rate=0.05, momentum=0.9)
    """
    _positive("learning_rate", learning_rate)
    _share("momentum", momentum)
    return SGD(learning_rate, momentum)


def adam(learning_rate: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-7) -> Adam:
    """Return Adam (arXiv 1412.6980).

    Parameters
    ----------
    learning_rate, epsilon : float
        Above 0.
    beta1, beta2 : float
        In [0, 1): how much of the moments a step keeps.

    Returns
    -------
    Adam

    Raises
    ------
    ValueError
        Where a number is out of its range.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.optim.adam().learning_rate
    0.001
    """
    _positive("learning_rate", learning_rate)
    _positive("epsilon", epsilon)
    _share("beta1", beta1)
    _share("beta2", beta2)
    return Adam(learning_rate, beta1, beta2, epsilon)


def bop(threshold: float = 1e-8, gamma: float = 1e-4, learning_rate: float = 0.001) -> Bop:
    """Return Bop (arXiv 1906.02107), with Adam for what is not binary.

    Parameters
    ----------
    threshold : float
        At least 0: a weight flips where its moment agrees with it by more than this.
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
        Where a number is out of its range.

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


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value}")


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value}")


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "adam": adam, "bop": bop}
