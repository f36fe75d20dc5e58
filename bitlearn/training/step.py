"""A training step as a program: recorded once per batch size, and run once per batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.errors import NonFiniteError
from bitlearn.nn.frozen import Batch, check_batch
from bitlearn.nn.losses import Loss, SoftmaxCrossEntropy, check_labels
from bitlearn.nn.model import Model
from bitlearn.nn.savings import Savings
from bitlearn.nn.step import ParameterGradient, Step, training_key
from bitlearn.nn.value import Value
from bitlearn.ops.dispatch import chosen
from bitlearn.optim import Optimizer, Transform, transforms
from bitlearn.optim.rule import STEP, Arrays, Updates
from bitlearn.optim.transforms import OfUpdate
from bitlearn.precision import Precision
from bitlearn.program import Array, Program
from bitlearn.threads import get_num_threads, uninterrupted

#: The number of programs kept, one per batch size.
_MOST_PROGRAMS = 4
#: The further inputs of most losses besides labels: none.
NOTHING_ELSE: Mapping[str, np.ndarray] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Passes:
    """The arrays of a recorded forward pass, loss and backward pass that are written before a run and read after it.

    Parameters
    ----------
    x, labels : Array
    given : dict of str to Array
        Further inputs of the loss.
    terms : Array
        The array that the loss is computed from.
    """

    x: Array
    labels: Array
    given: dict[str, Array]
    terms: Array

    def write(self, program: Program, x: np.ndarray, y: np.ndarray, given: Mapping[str, np.ndarray]) -> None:
        """Write a batch, after `checked`, into a program."""
        program[self.x][...] = x
        program[self.labels][...] = y
        for name, array in self.given.items():
            program[array][...] = given[name]


def record_passes(model: Model, loss: Loss, step: Step) -> Passes:
    """Record the passes of a network for a step's examples; gradients go where the step sends them."""
    root, spec, batch = model.root, model.root.spec, step.batch
    x, labels = step.input("X", spec.array_shape(batch), spec.dtype), step.input("labels", (batch,), np.int64)
    types = loss.inputs(model.output_shape[-1])
    given = {name: step.input(name, (batch, *shape), dtype) for name, (shape, dtype) in types.items()}
    if spec.kind == "real":  # bits and codes are always finite
        with step.at(model.names[0]):
            finite = step.finite()
            step.run("all_finite", x.rows(), finite, check=finite, what="the input")
    scores, cache = root.forward(step, Value(step, spec, x))
    if scores.spec.kind != "real" or len(scores.spec.shape) != 1:
        raise ValueError(f"a network must end in a row of real values to be trained, got {scores.spec}")
    step.phase = "loss"
    grad, terms = loss.gradient(step, scores, labels, model.precision, **given)
    step.phase = "backward"
    root.backward(step, cache, grad, wanted=False)
    return Passes(x, labels, given, terms)


def checked(
    model: Model, loss: Loss, x: Batch, y: np.ndarray, given: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    """Return the array of a batch and the further inputs of its loss, or raise ValueError if they do not fit."""
    values = check_batch(x, model.root.spec)
    if y.shape != (len(values),) or y.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers of shape ({len(values)},), got {y.dtype} {y.shape}")
    classes = model.output_shape[-1]
    check_labels(y, classes)
    if given or type(loss).inputs is not Loss.inputs:
        wanted = {name: ((len(values), *shape), dtype) for name, (shape, dtype) in loss.inputs(classes).items()}
        found = {name: (array.shape, array.dtype) for name, array in given.items()}
        if wanted != found:
            raise ValueError(f"the loss must be given {wanted or 'nothing but labels'}, got {found or 'nothing else'}")
    return values, given


def state_options(model: Model, transforms: Sequence[Transform]) -> tuple[Precision, set[str], set[str]]:
    """Return what an optimiser's state depends on: the policy, the binary parameters, and those that get only signs.

    Transforms make numbers of signs, as small as they like: their moments are those of whole gradients.
    """
    precision = model.precision
    if any(not isinstance(each, OfUpdate) for each in transforms):
        precision = replace(precision, sign_weight_gradient=False)
    return precision, model.binary_parameters(), set() if transforms else model.sign_parameters()


@dataclass(frozen=True, eq=False)
class Recorded:
    """A recorded step: the program, and the arrays that are written before a run and read after it."""

    program: Program
    passes: Passes
    updates: Updates
    keys: list[tuple[Array, int]]


class Trainer:
    """A network, an optimiser and their state; `step` makes one step on a batch.

    Parameters
    ----------
    model : Model
        Its parameters and running statistics are changed in place.
    optimizer : Optimizer
    seed : int
        The seed of the random bits with which some policies round gradients.
    loss : Loss
        Softmax cross-entropy by default.
    transforms : sequence of callables
        Applied to a gradient before its update: see `bitlearn.optim.transforms`. Those of updates come last.
    steps : int
        The number of steps already made: random bits depend on it, so they never repeat.
    savings : Savings
        What a step does to save memory at the cost of time (`bitlearn.training.plan`); its result is the same.
    state : dict of str to ndarray, optional
        The optimiser's state to continue from; by default the initial state.

    Attributes
    ----------
    state : dict of str to ndarray
        The optimiser's state: together with parameters, statistics and `steps`, everything a checkpoint has to hold.
    task : int or None
        The task that steps belong to, for layers that distinguish tasks; it may be changed between steps.

    Notes
    -----
    A step that fails changes nothing. Under an integer policy a value can fail to be finite only before the loss:
    gradients after it are integers with a scale that is kept below 2**30. So a parameter is updated as soon as its
    gradient is known, and no two layers' weight gradients are in memory at once. Under ``standard``, and if a Python
    function takes part after the loss (in a layer, or a transform), all gradients are kept and checked before the first
    update.

    An exception raised by a signal handler, such as that of Ctrl-C, does not leave a step half done either: it takes
    effect before the step or after it.

    Examples
    --------
    >>> import bitlearn as bl
    >>> trainer = Trainer(bl.models.mlp((4,), 2, hidden=(8,)), bl.optim.adam())
    >>> x = np.array([[100, -100, 3, 7], [-90, 80, 3, -7]], dtype=np.int8)
    >>> trainer.step(x, np.array([0, 1]), 0.001) > 0
    True
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        seed: int = 0,
        loss: Loss | None = None,
        transforms: tuple[Transform, ...] = (),
        steps: int = 0,
        savings: Savings = Savings(),  # noqa: B008 - it never changes
        state: Arrays | None = None,
    ) -> None:
        self.model, self.optimizer, self.seed, self.transforms = model, optimizer, seed, transforms
        self.loss, self.savings = SoftmaxCrossEntropy() if loss is None else loss, savings
        self.parameters = model.parameters()
        self.state: Arrays = self._fresh() if state is None else state
        self._steps = np.array([steps], dtype=np.int64)
        self._last: Recorded | None = None
        self.task: int | None = None
        self._programs: dict[tuple[Any, ...], Recorded] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle without programs, which hold addresses."""
        return self.__dict__ | {"_programs": {}, "_last": None}

    @property
    def steps(self) -> int:
        """How many steps have been made, including those before this trainer."""
        return int(self._steps[0])

    @steps.setter
    def steps(self, steps: int) -> None:
        self._steps[0] = steps

    def lasting(self) -> Arrays:
        """Return the live arrays that a step changes: parameters, running statistics, the optimiser's state, `steps`.

        Returns
        -------
        dict of str to ndarray
            By their names in the network and in `state`; the number of steps is ``"steps"``, (1,) int64.
        """
        return {name.partition(".")[2]: array for name, array in self.arrays().items()} | {"steps": self._steps}

    def arrays(self) -> Arrays:
        """Return the live arrays that a step changes, by their names in a checkpoint."""
        return (
            {f"parameters.{name}": array for name, array in self.model.parameters().items()}
            | {f"statistics.{name}": array for name, array in self.model.statistics().items()}
            | {f"state.{name}": array for name, array in self.state.items()}
        )

    def settle(self) -> None:
        """Make the model's arrays those after the last step: here they always are."""

    def _fresh(self) -> Arrays:
        """Return an initial state of the optimiser."""
        return self.optimizer.init(self.parameters, *state_options(self.model, self.transforms))

    def restart(self) -> None:
        """Reset the optimiser's state; `steps` continues."""
        fresh = self._fresh()

        def begin() -> None:
            for name, array in self.state.items():
                array[...] = fresh[name]

        uninterrupted(begin)

    def record(self, batch: int) -> Recorded:
        """Record a step on `batch` examples: forward, loss, backward, updates."""
        if not self.model.precision.integer or self.transforms:
            return self._record(batch, early=False)
        recorded = self._record(batch, early=True)
        calls = recorded.program.calls
        first = next(at for at, call in enumerate(calls) if call.phase == "update")
        # A Python function may fail in any way: nothing lasting may have changed by then.
        may_fail = any(callable(call.kernel) for call in calls[first:])
        return self._record(batch, early=False) if may_fail else recorded

    def _record(self, batch: int, early: bool) -> Recorded:
        """Record a step that updates as soon as each gradient is known, or only after all have been checked."""
        kept: list[tuple[str, ParameterGradient]] = []
        on_gradient = (lambda *found: update(*found)) if early else (lambda *found: kept.append(found))
        step = self._begun(batch, on_gradient, early)
        updates = Updates(step, self.model.precision, frozenset(self.model.binary_parameters()))

        def update(name: str, gradient: ParameterGradient) -> None:
            before, step.phase = step.phase, "update"
            self.optimizer.record(updates, name, gradient, self.parameters[name], self.state)
            step.phase = before

        passes = record_passes(self.model, self.loss, step)
        step.phase = "update"
        fit = [(name, self._checked(step, name, gradient)) for name, gradient in step.whole_gradients(kept)]
        copied, fit = self._changed(step, updates, fit)
        step.finish()
        for name, gradient in fit:
            with step.at(name.rpartition(".")[0]):
                update(name, gradient)
        for pair in copied:
            step.run("copy", *pair)
        updates.count(self.state[STEP], self._steps)
        step.on_gradient = None  # break the cycle, which would keep the step and its arrays until garbage collection
        return Recorded(Program(step, self.model.arena), passes, updates, step.keys)

    def _begun(self, batch: int, on_gradient: Callable[[str, ParameterGradient], None], early: bool) -> Step:
        """Return the step that everything is recorded into."""
        guarded, savings = self.model.precision.integer, self.savings
        return Step(batch, on_gradient=on_gradient, early=early, guarded=guarded, savings=savings, task=self.task)

    def _changed(
        self, step: Step, updates: Updates, kept: list[tuple[str, ParameterGradient]]
    ) -> tuple[list[tuple[Array, Array]], list[tuple[str, ParameterGradient]]]:
        """Record the updates with transforms, on copies; return what to copy back, and the gradients of the others."""
        pairs, others = [], []
        for name, gradient in kept:
            concerned = [each for each in self.transforms if isinstance(each, OfUpdate) and each.concerns(name)]
            if not concerned:
                others.append((name, gradient))
                continue
            record = partial(self.optimizer.record, updates, name, gradient)
            with step.at(name.rpartition(".")[0]):
                pairs += transforms.changed(step, concerned, name, self.parameters[name], self.state, record)
        return pairs, others

    def _checked(self, step: Step, name: str, gradient: ParameterGradient) -> ParameterGradient:
        """Record the checks and transforms of a gradient that is kept; return the input of the update."""
        path, _, parameter = name.rpartition(".")

        def check(values: Array, what: str) -> None:
            finite, rows = step.finite(), values.reshape(1, -1) if len(values.shape) == 1 else values.rows()
            step.run("all_finite", rows, finite, check=finite, what=what)

        with step.at(path):
            if gradient.scale is not None:
                finite = step.finite()
                arrays = gradient.values, gradient.scale, finite
                step.run(_is_finite, *arrays, check=finite, what=f"the gradient of {parameter}")
            elif not gradient.is_signs:
                check(gradient.values, f"the gradient of {parameter}")
            if of_gradients := tuple(each for each in self.transforms if not isinstance(each, OfUpdate)):
                counted = self.optimizer.attenuation(gradient)
                gradient = transforms.apply(step, of_gradients, name, gradient, self.parameters[name], counted)
                check(gradient.values, f"what the transforms make of the gradient of {parameter}")
        return gradient

    def recorded(self, batch: int, *part: int) -> Recorded:
        """Return the recorded step for a batch size, recording it if it is new; `part` is for `record`."""
        key = (batch, *part, chosen(), get_num_threads(), self.task)
        found = self._programs.get(key)
        if found is None:
            found = self.record(batch, *part)
            if len(self._programs) >= _MOST_PROGRAMS:
                del self._programs[next(iter(self._programs))]
            self._programs[key] = found
        return found

    def step(
        self, x: Batch, y: np.ndarray, learning_rate: float, given: Mapping[str, np.ndarray] = NOTHING_ELSE
    ) -> float:
        """Make one step on a batch and return its loss.

        Parameters
        ----------
        x : ndarray of int8, or Bits, shape (batch, ...)
            Codes, or the packed bits at which a network was cut.
        y : ndarray of int, shape (batch,)
        learning_rate : float
        given : mapping of str to ndarray, shape (batch, ...)
            Further inputs of the loss, as its `inputs <bitlearn.nn.Loss.inputs>` says.

        Returns
        -------
        float
            The mean loss, before the step.

        Raises
        ------
        NonFiniteError
            If a score, a weight or a gradient is NaN or infinite, naming the layer; everything is as before.
        ValueError
            If a label is outside the classes, or the batch does not fit the network.
        MemoryError
            If there is not enough memory for the arrays of a step; everything is as before.
        RuntimeError
            If another thread is making a step, with this trainer or with one of a network that shares layers.
        """
        values, given = checked(self.model, self.loss, x, y, given)
        recorded = self._last = self.recorded(len(values))
        program = recorded.program

        def make() -> float:
            self._write(recorded, values, y, given, learning_rate)
            try:
                program.run()
            except NonFiniteError as error:
                raise self._located(error) from None
            return self.loss.value(program, recorded.passes.terms)

        return program.exclusively(make)

    def last_loss(self) -> float:
        """Return the loss of the last step, if nothing else has been computed since: for one that was interrupted."""
        assert self._last is not None
        return self.loss.value(self._last.program, self._last.passes.terms)

    def _write(
        self, recorded: Recorded, x: np.ndarray, y: np.ndarray, given: Mapping[str, np.ndarray], learning_rate: float
    ) -> None:
        """Write the inputs of a run of a step: a batch, after `checked`, random keys and coefficients."""
        recorded.passes.write(recorded.program, x, y, given)
        for key, stream in recorded.keys:
            key.outside()[...] = training_key(self.seed, self.steps, streams.ROUNDING + stream)
        recorded.updates.write(int(self.state[STEP]) + 1, learning_rate)

    def _located(self, error: NonFiniteError) -> NonFiniteError:
        """Return an error that names a layer."""
        return error if error.where else error.located(f"in layer {self._first_not_finite()!r}")

    def _first_not_finite(self) -> str:
        """Return the name of the first layer with a value that is not finite, or the last layer if there is none."""
        for path, layer in self.model.items():
            if any(not np.isfinite(array).all() for _, array in layer.state()):
                return path
        return self.model.names[-1]


def _is_finite(sums: np.ndarray, scale: np.ndarray, finite: np.ndarray) -> None:
    """Clear `finite` if integer sums and their scale, after a Python function, are not finite as float32."""
    largest = max(int(sums.max(initial=0)), -int(sums.min(initial=0)))
    with np.errstate(over="ignore", invalid="ignore"):
        finite[0] = np.isfinite((largest * scale).astype(np.float32)).all()
