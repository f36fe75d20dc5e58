"""The inference form of a network: packed weights, batch norm and sign folded into one integer a channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bitlearn.bits import WORD, Bits, words_for
from bitlearn.nn.layer import Arrays, Layer
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Inference
from bitlearn.nn.summary import Summary, summarize
from bitlearn.nn.value import Value
from bitlearn.ops import check
from bitlearn.ops.dispatch import chosen
from bitlearn.program import Array, Program
from bitlearn.threads import get_num_threads

#: What flows in and out of a network.
Batch = Bits | np.ndarray
#: Programs that are kept, one a batch size: as many as a caller with a remainder and single examples uses.
_MOST_PROGRAMS = 8


class Frozen:
    """A network for inference only, made by `Model.freeze`.

    Parameters
    ----------
    root : Layer
        Bound; it needs no parameters.
    arrays : dict of str to ndarray
        The results of its layers' `inference`, by ``path.name``.

    Notes
    -----
    Weights take one bit, and between layers only bits flow: ``sign((y - mean) / std + bias)`` is ``y >= threshold``
    with one integer per channel. (Real weights stay real, and so do the values on a shortcut.) A max pool before the
    batch norm is moved after it, as an OR of bits: the comparison is monotone. Predictions equal the trained network's.
    The calls of an inference are recorded once per batch size, and weights laid out for the kernels once; several
    threads may predict at the same time.
    """

    def __init__(self, root: Layer, arrays: Arrays):
        self.root, self.arrays = root, arrays
        self._operands: dict[Any, tuple[np.ndarray, Callable[[], None]]] = {}
        self._programs: dict[tuple[Any, ...], list[tuple[Program, Array, Array]]] = {}

    def __reduce__(self) -> tuple[type[Frozen], tuple[Layer, Arrays]]:
        """Copy and pickle without programs, which hold addresses."""
        return Frozen, (self.root, self.arrays)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.root.spec.shape

    @property
    def classes(self) -> int:
        """The number of classes: the last axis of its result."""
        return self.root.output.shape[-1]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its arrays, by name."""
        return {name: array.shape for name, array in self.arrays.items()}

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def operand_bytes(self) -> int:
        """The bytes of the weights as laid out for the kernels, which are made with the first program."""
        return sum(array.nbytes for array, _ in self._operands.values())

    def refresh(self, arrays: Arrays) -> None:
        """Replace the values of its arrays, in place: programs and memory stay.

        Parameters
        ----------
        arrays : dict of str to ndarray
            The results of its layers' `inference`, with the same names and shapes.
        """
        for name, array in self.arrays.items():
            array[...] = arrays[name]
        for _, make in self._operands.values():
            make()

    def record(self, batch: int, meet: Callable[[str, Value], None] | None = None) -> tuple[Inference, Array, Value]:
        """Record an inference of so many examples; return the record, its input and its result.

        Parameters
        ----------
        batch : int
        meet : callable, optional
            ``meet(path, value)`` is called with the input of each layer that is inside another.
        """
        step, spec = Inference(batch, self._operands), self.root.spec
        step.meet = meet
        x = step.input("X", spec.array_shape(batch), spec.dtype)
        y = self.root.predict(step, self.arrays, Value(step, spec, x))
        step.keep(y.array)
        return step, x, y

    def _program(self, batch: int) -> tuple[tuple[Any, ...], tuple[Program, Array, Array]]:
        """Return a program that nobody runs, and where to return it."""
        key = (batch, chosen(), get_num_threads())
        idle = self._programs.get(key)
        if idle:
            try:
                return key, idle.pop()
            except IndexError:  # another thread was faster
                pass
        step, x, y = self.record(batch)
        return key, (Program(step), x, y.array)

    def _run(self, x: np.ndarray) -> np.ndarray:
        key, (program, into, out) = self._program(len(x))
        program[into][...] = x
        program.run()
        result = program[out].copy()
        if key not in self._programs and len(self._programs) >= _MOST_PROGRAMS:
            self._programs.pop(next(iter(self._programs)), None)
        self._programs.setdefault(key, []).append((program, into, out))
        return result

    def apply(self, x: Batch, *, batch_size: int = 1000) -> Batch:
        """Return the network's result for all examples: packed bits, integer sums or real values.

        Parameters
        ----------
        x : ndarray or Bits, shape (count, ...)
            The network's input: int8 codes, or packed bits if it is the upper part of a network.
        batch_size : int
            How many examples are processed at a time; the result does not depend on it.

        Returns
        -------
        Bits or ndarray, shape (count, ...)

        Raises
        ------
        TypeError, ValueError
            If the examples have the wrong type or shape.
        NonFiniteError
            If a real value inside is NaN or infinite, naming the layer.
        """
        spec, output = self.root.spec, self.root.output
        values = check_batch(x, spec)
        if 0 < len(values) <= batch_size:
            result = self._run(values)
        else:
            parts = [self._run(values[i : i + batch_size]) for i in range(0, len(values), batch_size)]
            result = np.concatenate([np.empty(output.array_shape(0), dtype=output.dtype), *parts])
        return Bits(result, output.channels) if output.kind == "bits" else result

    def scores(self, x: Batch, *, batch_size: int = 1000) -> np.ndarray:
        """Return the scores of the classes.

        Parameters
        ----------
        x, batch_size
            As `apply`.

        Returns
        -------
        ndarray of float32, shape (count, classes)
        """
        found = self.apply(x, batch_size=batch_size)
        if isinstance(found, Bits):
            raise ValueError(f"a network must end in real values to give scores, got {self.root.output}")
        return found

    def predict(self, x: Batch, *, batch_size: int = 1000) -> np.ndarray:
        """Return the class with the largest score for each example, the first one in a tie.

        Parameters
        ----------
        x, batch_size
            As `apply`.

        Returns
        -------
        ndarray of int64, shape (count,)
        """
        return self.scores(x, batch_size=batch_size).argmax(axis=1)

    def summary(self) -> Summary:
        """Return a table of the layers, like `Model.summary`."""
        return summarize(self.root, bare=True)

    def __repr__(self) -> str:
        return f"Frozen({self.root!r}, {self.nbytes} bytes)"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


def check_batch(x: Batch, spec: Spec) -> np.ndarray:
    """Return the array of a batch of examples: TypeError or ValueError where it is of another type than `spec`."""
    if spec.kind == "bits":
        if not isinstance(x, Bits):
            raise TypeError(f"examples must be Bits, got {type(x).__name__}")
        if x.shape[1:] != spec.shape:
            raise ValueError(f"examples must have shape {spec.shape}, got {x.shape[1:]}")
        if x.words.shape[-1] != words_for(x.n):  # an array can be given another shape in place
            raise ValueError(f"examples must have {words_for(x.n)} words in their last axis, got {x.words.shape[-1]}")
        return x.words.astype(WORD, copy=False)
    if not isinstance(x, np.ndarray):
        raise TypeError(f"examples must be an array of {spec.dtype}, got {type(x).__name__}")
    if x.shape[1:] != spec.shape:
        raise ValueError(f"examples must have shape {spec.shape}, got {x.shape[1:]}")
    if x.dtype != spec.dtype:
        raise TypeError(f"examples must be {spec.dtype}, got {x.dtype}")
    return check.array("examples", x)
