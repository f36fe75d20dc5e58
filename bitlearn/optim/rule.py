"""What every optimiser is: named arrays of state, a few numbers per step, and a kernel that updates a parameter.

An update is one pass over a parameter: its kernel reads the gradient in the form in which the backward pass left it,
and makes no float32 copy of float16 weights, of packed signs or of integer sums. Every operation is one IEEE operation
on float32, in a fixed order: the same weights from every processor.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from bitlearn import streams
from bitlearn.nn.step import ParameterGradient, Step, training_key
from bitlearn.optim import blocks, parts
from bitlearn.precision import Precision
from bitlearn.program import Array, Program
from bitlearn.safetensors import Types

Arrays = dict[str, np.ndarray]

#: The name under which a state counts its steps.
STEP = "step"


class Optimizer(ABC):
    """A rule that turns gradients into changes of parameters, in place.

    The state is a dictionary of arrays; a checkpoint needs nothing else.
    """

    #: The suffixes of the arrays of a weight's size that the rule keeps.
    moments: tuple[str, ...]
    #: Those of them that are divided by the root of: in 8 bits they are kept as roots.
    squares: tuple[str, ...] = ()
    learning_rate: float | None
    #: The types of parameters that the rule knows.
    types: tuple[str, ...] = ("float32", "float16")

    def rate(self, precision: Precision) -> float:
        """Return the initial learning rate under a policy.

        Parameters
        ----------
        precision : Precision

        Returns
        -------
        float
        """
        assert self.learning_rate is not None
        return self.learning_rate

    def init(self, parameters: Arrays, precision: Precision, binary: set[str], signs: Collection[str] = ()) -> Arrays:
        """Return the initial state.

        Parameters
        ----------
        parameters : dict of str to ndarray
            A network's parameters, by name.
        precision : Precision
            The policy, which sets the type of the moments.
        binary : set of str
            The parameters that are binarised before use.
        signs : collection of str
            The parameters whose gradients are nothing but packed signs: a mean of the squares of these is one number
            for all weights of a large parameter, and kept once.

        Returns
        -------
        dict of str to ndarray
        """
        self.check(parameters)
        layout = self.layout(parameters, precision, binary, signs)
        return {name: np.zeros(shape, dtype=kind) for name, (shape, kind) in layout.items()}

    def layout(self, parameters: Arrays, precision: Precision, binary: set[str], signs: Collection[str] = ()) -> Types:
        """Return the shapes and dtypes of the state's arrays by name, without making them.

        Parameters
        ----------
        parameters, precision, binary, signs
            As `init` takes them.

        Returns
        -------
        dict of str to (tuple of int, dtype)
        """
        found: Types = {STEP: ((), np.dtype(np.int64))}
        for name, parameter in parameters.items():
            kind = self.moment_type(precision, name in binary)
            for suffix in self.moments:
                own = f"{name}.{suffix}"
                if suffix in self.squares and name in signs and math.prod(parameter.shape) >= parts.SHARED_FROM:
                    found[own] = (1,), kind if kind.kind == "f" else np.dtype(np.float32)
                elif kind == np.int8:
                    codes, scales = blocks.layout(parameter.shape, suffix in self.squares)
                    found[own], found[f"{own}.{blocks.SCALE}"] = codes, scales
                else:
                    found[own] = parameter.shape, kind
        return found

    @staticmethod
    def moment_type(precision: Precision, binary: bool) -> np.dtype:
        """Return the type of the moments of a binarised parameter, or of any other, under a policy.

        It is the policy's; but float32 in place of float16 where gradients are whole. Their squares are below the
        smallest float16, so that Adam's mean of the squares would be 0, and so are the ten-thousandths of them that
        Bop adds up. Those of signs are not.
        """
        kind = precision.moments_of(binary)
        return np.dtype(np.float32) if kind == np.float16 and not precision.sign_weight_gradient else kind

    def check(self, parameters: Arrays) -> None:
        """Raise ValueError if the rule does not support the type of a parameter."""
        for name, parameter in parameters.items():
            if parameter.dtype.name not in self.types:
                known = " or ".join(self.types)
                raise ValueError(f"{name} must be {known} for {type(self).__name__}, got {parameter.dtype}")

    def check_state(self, state: Arrays) -> None:
        """Raise ValueError if a state, from a file, holds values that the rule never produces.

        Parameters
        ----------
        state : dict of str to ndarray
        """
        for name, array in state.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"what an optimiser keeps must be finite, got NaN or infinity as {name}")
            if name.endswith(f".{blocks.SCALE}") and (array < 0).any():
                raise ValueError(f"scales of moments must be at least 0, got others as {name}")
        if state[STEP] < 0:
            raise ValueError(f"an optimiser must have made at least 0 steps, got {state[STEP]}")

    @abstractmethod
    def numbers(self, step: int, learning_rate: float, factor: np.float32) -> tuple[float | np.float32, ...]:
        """Return the kernel's coefficients in a step, counted from 1; `factor` is the weight of a binary gradient."""

    def attenuation(self, gradient: ParameterGradient) -> np.float32:
        """Return the weight of a sign: ``1 / sqrt(fan_in)`` (arXiv 2102.04270), or 1 for any other gradient."""
        return np.float32(1.0 / math.sqrt(gradient.fan_in)) if gradient.is_signs else np.float32(1)

    @property
    @abstractmethod
    def kernel(self) -> str:
        """The name of the kernel."""

    def update(
        self, parameters: Arrays, gradients: Arrays, state: Arrays, learning_rate: float, *, seed: int = 0
    ) -> None:
        """Make one step on float32 gradients, outside a network.

        Parameters
        ----------
        parameters : dict of str to ndarray of float32 or float16
            Integers too, if the rule takes them. Those that have a gradient are changed in place.
        gradients : dict of str to ndarray
            Of the parameters' shapes.
        state : dict of str to ndarray
            The result of `init`; changed in place.
        learning_rate : float
        seed : int
            The seed of the random bits with which a rule rounds.

        Raises
        ------
        ValueError
            If the shapes of a gradient and its parameter differ; nothing is changed.
        """
        updates = Updates(Step(1))
        updates.step.phase = "update"
        for name, values in gradients.items():
            if np.shape(values) != parameters[name].shape:
                wanted = parameters[name].shape
                raise ValueError(f"the gradient of {name!r} must have shape {wanted}, got {np.shape(values)}")
            real = np.ascontiguousarray(values, dtype=np.float32)
            self.record(updates, name, ParameterGradient(updates.step.constant(real)), parameters[name], state)
        updates.count(state[STEP])
        program = Program(updates.step)  # which makes the memory that `write` fills
        updates.write(int(state[STEP]) + 1, learning_rate)
        for key, stream in updates.step.keys:
            key.outside()[...] = training_key(seed, int(state[STEP]), streams.ROUNDING + stream)
        program.run()

    def record(
        self,
        updates: Updates,
        name: str,
        gradient: ParameterGradient,
        parameter: np.ndarray | Array,
        state: Mapping[str, np.ndarray | Array],
    ) -> None:
        """Record the update of a parameter.

        Parameters
        ----------
        updates : Updates
            The step, and the numbers of its rules.
        name : str
        gradient : ParameterGradient
        parameter : ndarray or Array
            Changed in place by the step: the network's own array, or a copy that the step makes.
        state : mapping of str to (ndarray or Array)
            The result of `init`; changed in place by the step.
        """
        step = updates.step
        numbers = updates.numbers(self, self.attenuation(gradient))
        scale = step.constant(_ONE) if gradient.scale is None else gradient.scale
        each = scale.shape[0] > 1
        weight = live(step, parameter, "W")
        moments = [live(step, state[f"{name}.{suffix}"], "momenta") for suffix in self.moments]
        shared = [moment.shape == (1,) != weight.shape for moment in moments]
        if any(shared) and not gradient.is_signs:
            raise ValueError(f"the gradient of {name!r} must be signs, of which one square is kept, got numbers")

        def run(some: slice, moments: list[Array]) -> None:
            values, factor, changed = gradient.values, scale, weight
            if moments and moments[0].shape != weight.shape:  # not all of a matrix
                values, factor, changed = values[some], scale[some] if each else scale, weight[some]
            rows = factor.shape[0] if each else None
            arrays = [as_matrix(array, rows) for array in (changed, *moments)]
            step.run(self.kernel, as_matrix(values, rows), factor, gradient.clip, numbers, *arrays)

        scales = [state.get(f"{name}.{suffix}.{blocks.SCALE}") for suffix in self.moments]
        if not any(shared) and (not moments or any(found is None for found in scales)):
            run(slice(None), moments)
            return
        kept: list[parts.Moment] = []
        for moment, alone, found in zip(moments, shared, scales, strict=True):
            if alone:
                kept.append(parts.Shared(step, moment))
            elif found is None:
                kept.append(parts.Whole(moment))
            else:
                kept.append(blocks.Coded(step, moment, live(step, found, "momenta"), updates.key()))
        parts.update(weight.shape, kept, run)
        if any(shared):  # which a weight that is within the clip takes on
            one = step.constant(_PLUS), step.constant(_ONE), gradient.clip, numbers
            step.run(self.kernel, *one, *(as_matrix(array, None) for array in parts.single(step, moments)))


_ONE = np.ones(1)
#: The sign of one gradient.
_PLUS = np.ones((1, 1), dtype=np.uint64)


def live(step: Step, array: np.ndarray | Array, name: str) -> Array:
    """Return an array outside as a step takes it; one of the step is one already."""
    return array if isinstance(array, Array) else step.constant(array, name)


def as_matrix(array: Array, rows: int | None) -> Array:
    """Return an array as (rows, last axis), or as so many rows; float16 as its bits, which the kernels take."""
    last = array.shape[-1] if array.shape else 1
    shape = (array.size // max(last, 1), last) if rows is None else (rows, array.size // max(rows, 1))
    found = array.reshape(*shape)
    return Array(found.buffer, found.shape, np.dtype(np.uint16), found.offset) if found.dtype == np.float16 else found


@dataclass(eq=False)
class Updates:
    """The updates of a recorded step, and the numbers that its rules need at each run.

    Parameters
    ----------
    step : Step
    precision : Precision, optional
        The network's policy; None outside a network.
    binary : frozenset of str
        The parameters that are binarised before use.
    """

    step: Step
    precision: Precision | None = None
    binary: frozenset[str] = frozenset()
    _keys: int = field(default=0, init=False)
    _numbers: dict[tuple[int, float], tuple[Optimizer, np.float32, Array]] = field(default_factory=dict, init=False)
    _views: dict[tuple[int, float], np.ndarray] = field(default_factory=dict, init=False)

    def numbers(self, rule: Optimizer, factor: np.float32) -> Array:
        """Return the array that holds a rule's coefficients."""
        key = (id(rule), float(factor))
        if key not in self._numbers:
            count = len(rule.numbers(1, 0.0, factor))
            self._numbers[key] = (rule, factor, self.step.setting("coefficients", (count,), np.float32))
        return self._numbers[key][2]

    @property
    def coefficients(self) -> list[tuple[Optimizer, np.float32, Array]]:
        """The rules of the step, the weight of a binary gradient in each, and the array that holds its numbers."""
        return list(self._numbers.values())

    def key(self) -> Array:
        """Return the key of a stream of random bits that no other parameter of the step uses."""
        self._keys += 1
        return self.step.key(streams.UPDATES - streams.ROUNDING + self._keys - 1)

    def count(self, *counts: np.ndarray) -> None:
        """Record that these count a step."""
        for each in counts:
            self.step.run("count_step", self.step.constant(each).reshape(1))

    def write(self, step: int, learning_rate: float) -> None:
        """Write the coefficients of a step, counted from 1, into memory that holds them from run to run."""
        for key, (rule, factor, array) in self._numbers.items():
            if key not in self._views:
                self._views[key] = array.outside()
            self._views[key][...] = rule.numbers(step, learning_rate, factor)


def positive(name: str, value: float) -> None:
    """Raise ValueError where a number is not finite and above 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value}")


def share(name: str, value: float) -> None:
    """Raise ValueError where a number is not in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value}")
