"""Optimisers: SGD with momentum, Adam and Bop, each an ``init`` and an ``update`` over named arrays.

An update is one pass over a parameter: its kernel reads the gradient in the form in which the backward pass left it,
and makes no float32 copy of float16 weights, of packed signs or of integer sums. Every operation is one IEEE operation
on float32, in a fixed order: the same weights from every processor.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import WORD, words_for
from bitlearn.ops.updates import update as run_update
from bitlearn.precision import Precision
from bitlearn.quantizers import BinaryGradient, ParameterGradient, SumsGradient

Arrays = dict[str, np.ndarray]
Gradients = dict[str, ParameterGradient]

_STEP = "step"


@dataclass(frozen=True, eq=False)
class _Form:
    """A gradient as the kernels take it: an array, and what one of its numbers is worth where it is not real."""

    values: np.ndarray
    scale: float | None


#: The types that a gradient of integers may have: exact sums, or packed signs.
_SUMS: tuple[np.dtype, ...] = (np.dtype(np.int32), np.dtype(np.int64))
_WORDS: tuple[np.dtype, ...] = (WORD,)


def _form(name: str, gradient: ParameterGradient, parameter: np.ndarray) -> _Form:
    kinds = _SUMS
    shape = parameter.shape
    if isinstance(gradient, BinaryGradient):
        if gradient.n != shape[-1]:
            raise ValueError(f"the gradient of {name!r} must hold {shape[-1]} values a row, got {gradient.n}")
        form, kinds, shape = _Form(gradient.words, 1.0), _WORDS, (*shape[:-1], words_for(shape[-1]))
    elif isinstance(gradient, SumsGradient):
        form = _Form(gradient.sums, float(gradient.scale))
    else:
        form = _Form(np.asarray(gradient), None)
    if form.values.shape != shape:
        raise ValueError(f"the gradient of {name!r} must have shape {shape}, got {form.values.shape}")
    if form.scale is not None and form.values.dtype not in kinds:
        raise TypeError(f"the gradient of {name!r} must be {' or '.join(map(str, kinds))}, got {form.values.dtype}")
    return form


def _forms(parameters: Arrays, gradients: Gradients) -> dict[str, _Form]:
    """Return the gradients as the kernels take them; a wrong one raises before anything is changed."""
    return {name: _form(name, gradient, parameters[name]) for name, gradient in gradients.items()}


def _attenuation(gradient: ParameterGradient) -> np.float32:
    """1 / sqrt(fan_in) for a binary gradient (arXiv 2102.04270), 1 for another."""
    fan_in = gradient.fan_in if isinstance(gradient, BinaryGradient) else 1
    return np.float32(1.0 / math.sqrt(fan_in))


def _numbers(*coefficients: float | np.float32) -> np.ndarray:
    """A rule's coefficients as its kernel takes them."""
    return np.array(coefficients, dtype=np.float32)


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
        gradients : dict of str to (ndarray, BinaryGradient or SumsGradient)
            Real numbers count as float32.
        state : dict of str to ndarray
            What `init` gave; changed in place.
        learning_rate : float

        Raises
        ------
        TypeError, ValueError
            Where a gradient has another shape than its parameter, or sums or words of another type; nothing is changed.
        """


def _zeros(parameters: Arrays, precision: Precision, binary: set[str], *suffixes: str) -> Arrays:
    state: Arrays = {_STEP: np.zeros((), dtype=np.int64)}
    for name, parameter in parameters.items():
        kind = precision.moments_of(name in binary)
        for suffix in suffixes:
            state[f"{name}.{suffix}"] = track("momenta", np.zeros(parameter.shape, dtype=kind))
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
        return _zeros(parameters, precision, binary, "velocity")

    def update(self, parameters: Arrays, gradients: Gradients, state: Arrays, learning_rate: float) -> None:
        """Make one step; a binary gradient counts ``sign / sqrt(fan_in)``."""
        forms = _forms(parameters, gradients)
        state[_STEP] += 1
        for name, form in forms.items():
            numbers = _numbers(self.momentum, _attenuation(gradients[name]), learning_rate)
            run_update("sgd_update", form.values, form.scale, numbers, parameters[name], state[f"{name}.velocity"])


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
        return _zeros(parameters, precision, binary, "mean", "square")

    def update(self, parameters: Arrays, gradients: Gradients, state: Arrays, learning_rate: float) -> None:
        """Make one step."""
        forms = _forms(parameters, gradients)
        state[_STEP] += 1
        step = int(state[_STEP])
        correction = math.sqrt(1 - self.beta2**step)
        rate = learning_rate * correction / (1 - self.beta1**step)
        # The published algorithm adds epsilon to the corrected root; here the root is not corrected, so epsilon is.
        epsilon = self.epsilon * correction
        numbers = _numbers(self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2, rate, epsilon)
        for name, form in forms.items():
            moments = state[f"{name}.mean"], state[f"{name}.square"]
            run_update("adam_update", form.values, form.scale, numbers, parameters[name], *moments)


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
        return self.other.init(rest, precision, binary) | _zeros(flipped, precision, binary, "flip")

    def update(self, parameters: Arrays, gradients: Gradients, state: Arrays, learning_rate: float) -> None:
        """Make one step; a binary gradient counts ``sign / sqrt(fan_in)``."""
        forms = _forms(parameters, {name: each for name, each in gradients.items() if f"{name}.flip" in state})
        rest = {name: each for name, each in gradients.items() if name not in forms}
        self.other.update(parameters, rest, state, learning_rate)
        gamma, keep = np.float32(self.gamma), np.float32(1 - self.gamma)
        for name, form in forms.items():
            numbers = _numbers(keep, gamma * _attenuation(gradients[name]), self.threshold)
            run_update("bop_update", form.values, form.scale, numbers, parameters[name], state[f"{name}.flip"])


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
