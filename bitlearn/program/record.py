"""The record of a program: arrays with a name, shape and type but no memory yet, and the calls on them.

Everything that depends on data is computed by kernels into arrays; nothing between two calls depends on data. So a
record is valid for every run on inputs of its shapes, and an array lives from the first to the last call that names it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from bitlearn.ops.dispatch import TABLE, lookup, row_of

Kernel = str | Callable[..., object]
Function = TypeVar("Function", bound=Callable[..., object])


def counted(operations: Callable[..., dict[str, float]]) -> Callable[[Function], Function]:
    """Return a decorator that states the arithmetic of a Python function in a record: see `Call.operations`.

    Parameters
    ----------
    operations : callable
        ``operations(*arguments)`` gets the function's arguments, and returns the number of operations of each kind.

    Returns
    -------
    callable
        The decorator.

    Examples
    --------
    >>> @counted(lambda x: {"multiply float32": x.size})
    ... def double(x):
    ...     x *= 2
    """

    def mark(function: Function) -> Function:
        function.operations = operations  # type: ignore[attr-defined]
        return function

    return mark


@dataclass(eq=False, slots=True)
class Buffer:
    """Memory that arrays are views of.

    Parameters
    ----------
    name : str
        The variable's name in a memory table.
    path : str
        The layer that it belongs to.
    dtype : dtype
        The type of the array it was made for.
    nbytes : int
    memory : ndarray, optional
        Its memory outside a program: parameters, statistics, the state of an optimiser, constants.
    first, last : int
        The first and last call at which it is alive; -1 before the first call, and None after the last.
    """

    name: str
    path: str
    dtype: np.dtype
    nbytes: int
    memory: np.ndarray | None = None
    first: int | None = None
    last: int | None = -1

    def touch(self, call: int) -> None:
        """Count a call that names the buffer."""
        if self.first is None:
            self.first = call
        if self.last is not None:
            self.last = call


@dataclass(frozen=True, eq=False, slots=True)
class Array:
    """A C-contiguous array in a buffer.

    Parameters
    ----------
    buffer : Buffer
    shape : tuple of int
    dtype : dtype
    offset : int
        Bytes from the start of the buffer.
    """

    buffer: Buffer
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int = 0

    @property
    def size(self) -> int:
        """The number of its values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of its bytes."""
        return self.size * self.dtype.itemsize

    def reshape(self, *shape: int) -> Array:
        """Return the array in another shape with the same number of values, one of whose sizes may be -1."""
        if -1 in shape:
            others = math.prod(size for size in shape if size != -1)
            shape = tuple(self.size // max(others, 1) if size == -1 else size for size in shape)
        if math.prod(shape) != self.size:
            raise ValueError(f"shape must hold {self.size} values, got {shape}")
        return Array(self.buffer, shape, self.dtype, self.offset)

    def __getitem__(self, rows: slice) -> Array:
        """Return a range of the first axis."""
        start, stop, _ = rows.indices(self.shape[0])
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        return Array(self.buffer, (max(stop - start, 0), *self.shape[1:]), self.dtype, self.offset + start * row)

    def __len__(self) -> int:
        return self.shape[0]

    def view(self, memory: np.ndarray) -> np.ndarray:
        """Return the array in the memory of its buffer, given as bytes."""
        return memory[self.offset : self.offset + self.nbytes].view(self.dtype).reshape(self.shape)

    def outside(self) -> np.ndarray:
        """Return the array itself if its buffer lives outside a program."""
        if self.buffer.memory is None:
            raise ValueError(f"an array must live outside a program to be read, got {self.buffer.name!r}")
        return self.view(self.buffer.memory.reshape(-1).view(np.uint8))

    def as_bytes(self) -> Array:
        """Return its memory as int8: those of a value beside each other, along the last axis."""
        *others, last = self.shape
        return Array(self.buffer, (*others, last * self.dtype.itemsize), np.dtype(np.int8), self.offset)

    def rows(self) -> Array:
        """Return it as a matrix: the first axis, and all others merged."""
        return self.reshape(self.shape[0], math.prod(self.shape[1:]))

    def pixels(self) -> Array:
        """Return it as a matrix: all other axes merged, and the last axis."""
        return self.reshape(math.prod(self.shape[:-1]), self.shape[-1])


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """One call of a program.

    Parameters
    ----------
    kernel : str or callable
        A kernel's name, or a Python function that is called with NumPy arrays.
    arguments : tuple
        Arrays, numbers, and tuples of numbers, as the kernel takes them.
    path : str
        The layer that recorded it.
    check : Array, optional
        One byte that the call leaves at 1, or sets to 0 to stop the program.
    what : str
        What was not finite, if the program stops here.
    phase : str
        "forward", "loss" or "backward"; "update" for calls that change lasting state or decide whether they may.
    """

    kernel: Kernel
    arguments: tuple[Any, ...]
    path: str
    phase: str
    check: Array | None = None
    what: str = ""

    @property
    def name(self) -> str:
        """The name of the kernel or Python function."""
        return self.kernel if isinstance(self.kernel, str) else getattr(self.kernel, "__name__", "function").lstrip("_")

    def operations(self) -> dict[str, float] | None:
        """Return the call's arithmetic, by kind of operation; None for a function that does not state it.

        Returns
        -------
        dict of str to float
            The number of operations of kind "bit", the product of two signs and its count, and of "add" and "multiply"
            with a type, as in "add int32". Comparisons count as additions, divisions and roots as multiplications.
        """
        if isinstance(self.kernel, str):
            return _row(self.kernel).operations(*self.arguments)
        operations = getattr(self.kernel, "operations", None)
        return None if operations is None else operations(*self.arguments)

    def moved(self) -> list[Array]:
        """Return the arrays that the call moves, each as often as it is moved; once each for a Python function."""
        if isinstance(self.kernel, str):
            return _row(self.kernel).moved(self.arguments)
        return [each for each in self.arguments if isinstance(each, Array)]


def _row(kernel: str) -> Any:
    return TABLE.get(kernel) or row_of(lookup(kernel))


@dataclass(frozen=True, eq=False)
class Cut:
    """A point between two calls where a program waits for the results of others.

    Parameters
    ----------
    at : int
        The number of calls before it.
    how : {"sum", "largest", "vote"}
        How the arrays of several programs are combined. Their first axes are also parts of one whole: sums and maxima
        have one row for all. A vote is taken on each bit.
    arrays : tuple of Array
    """

    at: int
    how: str
    arrays: tuple[Array, ...]


@dataclass(eq=False)
class Recorder:
    """What a program is recorded into: calls, and the arrays that they use.

    Attributes
    ----------
    calls : list of Call
    buffers : list of Buffer
    cuts : list of Cut
    path : str
        The layer whose calls are being recorded.
    phase : str
        The part of a step that is being recorded.

    Examples
    --------
    >>> from bitlearn.program import Program
    >>> recorder = Recorder()
    >>> x, words = recorder.input("x", (2, 64), np.float32), recorder.output("words", (2, 1), np.uint64)
    >>> recorder.run("pack", x, recorder.constant(np.zeros(1, np.float32)), words)
    >>> program = Program(recorder)
    >>> program[x][...] = 1
    >>> program.run()
    >>> hex(int(program[words][1, 0]))
    '0xffffffffffffffff'
    """

    calls: list[Call] = field(default_factory=list, init=False)
    buffers: list[Buffer] = field(default_factory=list, init=False)
    cuts: list[Cut] = field(default_factory=list, init=False)
    path: str = field(default="", init=False)
    phase: str = field(default="forward", init=False)
    _constants: dict[int, tuple[np.ndarray, Buffer]] = field(default_factory=dict, init=False)
    _flags: list[Array] = field(default_factory=list, init=False)

    def empty(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return an array for a variable, uninitialised, that lives from its first call to its last."""
        kind = np.dtype(dtype)
        buffer = Buffer(name, self.path, kind, math.prod(shape) * kind.itemsize)
        self.buffers.append(buffer)
        return Array(buffer, tuple(shape), kind)

    def input(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return an array that is written before each run."""
        array = self.empty(name, shape, dtype)
        array.buffer.first = -1
        return array

    def output(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return an array that is read after a run."""
        array = self.empty(name, shape, dtype)
        array.buffer.last = None
        return array

    def keep(self, array: Array) -> Array:
        """Keep an array to the end of a run, so that it can be read then."""
        array.buffer.last = None
        return array

    def setting(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return an array that keeps its values from run to run; it may be written at any time between runs."""
        array = self.input(name, shape, dtype)
        array.buffer.last = None
        return array

    def constant(self, values: np.ndarray, name: str = "constants") -> Array:
        """Return an array that lives outside the program: the memory of `values` itself, which must be C-contiguous."""
        if not values.flags.c_contiguous:
            raise ValueError("an array outside a program must be C-contiguous, got one with strides")
        if id(values) not in self._constants:
            buffer = Buffer(name, self.path, values.dtype, values.nbytes, values)
            self.buffers.append(buffer)
            self._constants[id(values)] = (values, buffer)
        return Array(self._constants[id(values)][1], values.shape, values.dtype)

    def finite(self) -> Array:
        """Return a byte, 1 before each run, for a kernel that sets it to 0 if a value is not finite."""
        flag = self.setting("finite", (1,), np.uint8)
        self._flags.append(flag)
        return flag

    @property
    def flags(self) -> list[Array]:
        """Every byte that `finite` returned."""
        return self._flags

    def run(self, kernel: Kernel, *arguments: Any, check: Array | None = None, what: str = "") -> None:
        """Record a call of a kernel, or of a Python function on the arrays.

        Parameters
        ----------
        kernel : str or callable
        *arguments : Array, number or tuple of numbers
        check : Array, optional
            One of the arguments, from `finite`: if the call sets it to 0, the program stops and raises.
        what : str
            What is not finite then, for the error.
        """
        row = TABLE.get(kernel) if isinstance(kernel, str) else None
        if row is not None and len(arguments) != len(row.parameters):
            raise TypeError(f"{kernel} must get {', '.join(row.parameters)}, got {len(arguments)} arguments")
        for argument in arguments:
            if isinstance(argument, Array):
                argument.buffer.touch(len(self.calls))
        self.calls.append(Call(kernel, arguments, self.path, self.phase, check, what))

    def cut(self, how: str, *arrays: Array) -> None:
        """Record that the program waits here until its caller has combined these arrays: see `Cut`."""
        for array in arrays:
            array.buffer.touch(len(self.calls))
        self.cuts.append(Cut(len(self.calls), how, arrays))

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """Record the calls inside the ``with`` block under a layer's path."""
        before, self.path = self.path, path
        try:
            yield
        finally:
            self.path = before
