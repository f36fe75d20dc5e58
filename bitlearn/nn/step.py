"""What a layer records into: the recorder, the batch, random keys, and the destination of gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from bitlearn.bits import WORD, ones, words_for
from bitlearn.nn.savings import Savings
from bitlearn.ops.dispatch import run
from bitlearn.program import Array, Kernel, Recorder, counted
from bitlearn.rng import Key


@dataclass(frozen=True, eq=False)
class ParameterGradient:
    """The gradient of a parameter, in the form that its product produces.

    Parameters
    ----------
    values : Array
        float32 or exact integer sums of the parameter's shape; or packed signs, uint64, along its last axis.
    scale : Array or None
        The unit of the sums, float64: one (1,), or one per row (rows,) of the first axis. None for the other forms.
    clip : float
        The gradient passes where the latent weight's magnitude is at most this (straight-through estimator).
    fan_in : int
        How many weights feed one result.
    whole : bool
        Whether it belongs to the whole batch although the step sees only a part: made from results of
        `Step.over_batch`.
    to_sign : bool
        Whether the sums become signs once they cover the whole batch.
    """

    values: Array
    scale: Array | None = None
    clip: float = float("inf")
    fan_in: int = 1
    whole: bool = False
    to_sign: bool = False

    @property
    def is_signs(self) -> bool:
        """Whether it is one bit per weight."""
        return self.values.dtype == np.uint64


class Step(Recorder):
    """A training step, or an inference, that is being recorded.

    Parameters
    ----------
    batch : int
        How many examples it takes.
    on_gradient : callable, optional
        ``on_gradient(name, gradient)`` is called with each parameter's gradient as soon as it is recorded, and may
        record the parameter's update at once. Without it, gradients are kept to the end, in `gradients`.
    early : bool
        Whether lasting state (running statistics) may change before the end, because nothing after the loss can fail.
    guarded : bool
        Whether the results of Python functions on gradients are checked as they return: real values must be finite.
    savings : Savings
        What is done to save memory.
    task : int, optional
        The number of the task that it learns or predicts, for layers that distinguish tasks.

    Attributes
    ----------
    gradients : dict of str to ParameterGradient
        By ``path.parameter``.
    keys : list of (Array, int)
        Random keys, (4,) uint32 each, and their streams: the caller that runs the program writes seed and step into
        them.
    """

    #: Whether what is made of weights lasts for other runs.
    lasting = False
    #: How many values the largest sums have that are formed again in the backward pass.
    recomputed = 0
    #: Whether the step has a part of its batch, from the example of this number on: see `bitlearn.nn.partial`.
    partial, first = False, 0

    def __init__(
        self,
        batch: int,
        *,
        on_gradient: Callable[[str, ParameterGradient], None] | None = None,
        early: bool = True,
        guarded: bool = False,
        savings: Savings = Savings(),  # noqa: B008 - it never changes
        task: int | None = None,
    ):
        super().__init__()
        self.savings = savings
        self.batch, self.task = batch, task
        self.on_gradient = on_gradient
        self.early = early
        self.guarded = guarded
        self._late: list[tuple[Kernel, tuple[Any, ...]]] = []
        self.gradients: dict[str, ParameterGradient] = {}
        self.keys: list[tuple[Array, int]] = []
        self._ones: dict[int, np.ndarray] = {}
        #: ``meet(path, value)`` is told what flows into each layer of an inference.
        self.meet: Callable[[str, Any], None] | None = None

    def key(self, stream: int) -> Array:
        """Return the key of a stream of random bits, as the kernels take it."""
        key = self.setting("random keys", (4,), np.uint32)
        self.keys.append((key, stream))
        return key

    def ones(self, rows: int, n: int) -> Array:
        """Return packed +1 values, (rows, words): copies of a row, which need memory only while they are used."""
        found = self._ones.get(n)
        if found is None:
            found = self._ones[n] = ones((1,), n)
        out, done = self.empty("ones", (rows, words_for(n)), WORD), min(rows, 1)
        self.run("copy", self.constant(found)[:done], out[:done])
        while done < rows:
            more = min(done, rows - done)
            self.run("copy", out[:more], out[done : done + more])
            done += more
        return out

    def gradient(self, name: str, gradient: ParameterGradient) -> None:
        """Receive the gradient of a parameter of the layer being recorded."""
        full = f"{self.path}.{name}" if self.path else name
        if self.on_gradient is None:
            self.gradients[full] = gradient
            self.keep(gradient.values)
            if gradient.scale is not None:
                self.keep(gradient.scale)
        else:
            self.on_gradient(full, gradient)

    def run(self, kernel: Kernel, *arguments: Any, check: Array | None = None, what: str = "") -> None:
        """Record a call: see `Recorder.run`."""
        if callable(kernel) and check is None and self.guarded and self.phase == "backward":
            check, what = self.finite(), "the gradient"
            loss = next((at for at, call in enumerate(self.calls) if call.phase == "loss"), 0)
            kernel = _guarded(kernel, [at for at, each in enumerate(arguments) if _is_gradient(each, loss)])
            arguments = (*arguments, check)
        super().run(kernel, *arguments, check=check, what=what)

    @property
    def micro_batches(self) -> list[slice]:
        """The ranges of examples of which a batch norm has statistics: all, or of ghost statistics one a micro-batch.

        Raises
        ------
        ValueError
            If ghost statistics are wanted of a part of a batch.
        """
        ghost, batch = self.savings.ghost, self.batch
        if ghost is not None and self.partial:
            raise ValueError(f"ghost statistics must be of a step with the whole batch, got {batch} of its examples")
        count = 1 if ghost is None else max(1, batch // ghost)
        return [slice(batch * i // count, batch * (i + 1) // count) for i in range(count)]

    def of_all(self, rows: int) -> int:
        """Return how many rows the whole batch has if the examples of this step have `rows`."""
        return rows

    def over_batch(self, how: Literal["sum", "largest"], array: Array) -> None:
        """Record that rows of an array become the sum, or the maximum, over the whole batch.

        A sum is then in the first row, and the others are 0; a maximum is in every row. If the step has the whole batch
        there is nothing to do: what follows takes all rows.
        """

    def whole_gradients(self, kept: list[tuple[str, ParameterGradient]]) -> list[tuple[str, ParameterGradient]]:
        """Record the calls that turn gradients into those of the whole batch; return these."""
        return kept

    def commit(self, kernel: Kernel, *arguments: Any) -> None:
        """Record a call that changes its last argument, which is lasting state: now, or with `finish`.

        A Python function may fail half way: it is given a copy, which replaces the lasting array once everything has
        succeeded.
        """
        if callable(kernel):
            *given, lasting = arguments
            changed = self.empty(lasting.buffer.name, lasting.shape, lasting.dtype)
            flat = lasting.reshape(1, -1), changed.reshape(1, -1)
            self.run("copy", *flat)
            self.run(kernel, *given, changed)
            kernel, arguments = "copy", flat[::-1]
        if self.early:
            before, self.phase = self.phase, "update"
            self.run(kernel, *arguments)
            self.phase = before
        else:
            self._late.append((kernel, arguments))

    def finish(self) -> None:
        """Record what was left to the end."""
        for kernel, arguments in self._late:
            self.run(kernel, *arguments)
        self._late.clear()

    def prepared(self, kernel: str, name: str, shape: tuple[int, ...], dtype: DTypeLike, *inputs: Any) -> Array:
        """Return the weights as a kernel prepares them for a product: in a training step, prepared again each time."""
        out = self.empty(name, shape, dtype)
        self.run(kernel, *inputs, out)
        return out

    def derived(self, name: str, values: Callable[[], np.ndarray], *of: np.ndarray) -> Array:
        """Return what a function computes from constant arrays, which are passed too."""
        return self.constant(values(), name)


def _is_gradient(argument: Any, loss: int) -> bool:
    """Whether an argument is an array of real values that came into being after the scores."""
    if not isinstance(argument, Array) or argument.dtype.kind != "f" or argument.buffer.memory is not None:
        return False
    return argument.buffer.first is None or argument.buffer.first >= loss


def _guarded(function: Callable[..., object], positions: list[int]) -> Callable[..., None]:
    """Return a function that clears its last argument where others, at those positions, are not finite after it."""

    def guarded(*given: Any) -> None:
        *arguments, finite = given
        function(*arguments)
        finite[0] = all(np.isfinite(arguments[position]).all() for position in positions)

    guarded.__name__ = getattr(function, "__name__", "guarded")
    if (operations := getattr(function, "operations", None)) is not None:
        guarded = counted(lambda *given: operations(*given[:-1]))(guarded)
    return guarded


class Inference(Step):
    """An inference that is being recorded: weights do not change, so what depends on them is computed now, and once.

    Parameters
    ----------
    batch : int
    operands : dict
        What was made for other programs of the same network, and what this one adds; each with a way to make it again.
    """

    lasting = True

    def __init__(self, batch: int, operands: dict[Any, tuple[np.ndarray, Callable[[], None]]]):
        super().__init__(batch)
        self._operands = operands

    def prepared(self, kernel: str, name: str, shape: tuple[int, ...], dtype: DTypeLike, *inputs: Any) -> Array:
        """Return what a kernel computes from constant arrays: computed now, and kept for other programs."""
        key = (kernel, shape, *((id(a.buffer.memory), a.shape) if isinstance(a, Array) else a for a in inputs))
        if key not in self._operands:
            out = np.empty(shape, dtype=dtype)
            arguments = [each.outside() if isinstance(each, Array) else each for each in inputs]

            def make() -> None:
                run(kernel, (*arguments, out), threads=1)

            make()
            self._operands[key] = out, make
        return self.constant(self._operands[key][0], name)

    def derived(self, name: str, values: Callable[[], np.ndarray], *of: np.ndarray) -> Array:
        """Return what a function computes from constant arrays, computed again when these have changed.

        Parameters
        ----------
        name : str
        values : callable
            Returns the same shape and dtype each time.
        *of : ndarray
            The arrays that it reads, by which an earlier result is recognised.
        """
        key = (name, *map(id, of))
        if key not in self._operands:
            out = values()

            def make() -> None:
                out[...] = values()

            self._operands[key] = out, make
        return self.constant(self._operands[key][0], name)


def training_key(seed: int, step: int, stream: int) -> np.ndarray:
    """Return the words of a key of a training step."""
    return Key(seed, step, stream).as_words()
