"""The table of kernels: what each is called, what its arguments are, and how its rows may be shared by threads.

A row of the table is made where the kernel is specified: by `kernel`, over its function in
`bitlearn.backends.reference`. Whoever calls, splits, records, tests or times a kernel asks here. The calls of C, what
Numba compiles ahead and the operands of the tests are made from what is declared of its arguments.

An array is declared by its types, and by its shape in named sizes that all of a kernel's arrays share:

``"int32|int64[rows, n]"``
    one of two types;
``"float64[rows|1]"``
    as many values as there are rows, or one for all of them;
``"int64[groups, 2, channels]"``
    an axis of two;
``"bits[rows, n]"``
    packed signs: uint64 words, ``ceil(n / 64)`` of them a row, bits past the last value zero;
``"bits[rows, n]?"``
    may have no rows, as where there is no mask;
``"x[rows, n]"``
    of the type of x;
``"int32|int64|float32[m, n] by g"``
    of the type that stands where g has its own;
``"panels[k, n]"``
    k rows of n values as column panels (`bitlearn.panels`): one axis, where ``"bits|panels[k, n]"`` has two or one.

Any other argument is a number or a tuple of them. One that has the name of a size is that size; of one that is not, the
values may be given by which it is tried and compiled ahead, as in ``half=(False, True)``.

What a kernel does with numbers is declared too, for whoever counts it (`bitlearn.energy`): "bit" is the product of two
signs and its count, and "add" or "multiply" is followed by a type, or by the argument whose type it is. Comparisons and
operations on the bits of a word count as additions, divisions and roots as multiplications. Moves count nothing.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bitlearn.bits import words_for
from bitlearn.panels import panel_words

#: What a pass over an array takes for a value, about, in operations on a word.
WORK_OF_A_VALUE = 4

#: How many operations of each kind.
Operations = dict[str, float]

_DECLARATION = re.compile(r"(?P<types>[\w|]+)\[(?P<axes>[\w|, ]+)\](?P<optional>\??)(?: by (?P<by>\w+))?")


@dataclass(frozen=True)
class Array:
    """The declaration of an argument that is an array.

    Parameters
    ----------
    types : tuple of str
        NumPy's names, "bits" or "panels".
    axes : tuple of tuple of str
        The possible lengths of each axis: a size, or a number.
    optional : bool
        Whether it may have no rows.
    by : str or None
        The argument whose type this one shares.
    """

    types: tuple[str, ...]
    axes: tuple[tuple[str, ...], ...]
    optional: bool
    by: str | None

    @property
    def dtypes(self) -> tuple[np.dtype, ...]:
        """Its NumPy types."""
        return tuple(np.dtype("uint64" if name in _PACKED else name) for name in self.types)

    @property
    def sizes(self) -> tuple[str, ...]:
        """The names in its shape."""
        return tuple(name for axis in self.axes for name in axis if not name.isdigit())

    def shape(self, kind: str, sizes: dict[str, int], each: bool = True) -> tuple[int, ...]:
        """Return its shape for a type and some sizes; without `each`, the last that an axis may be."""
        values = [axis[0 if each else -1] for axis in self.axes]
        *outer, n = [int(value) if value.isdigit() else sizes[value] for value in values]
        if kind == "panels":
            return (panel_words(outer[0], words_for(n)),)
        return (*outer, words_for(n) if kind == "bits" else n)


_PACKED = ("bits", "panels")


def _declared(arguments: dict[str, Any], parameters: tuple[str, ...]) -> dict[str, Array]:
    """Return what the declarations among the arguments say, in the order of the parameters."""
    arrays: dict[str, Array] = {}
    for name in parameters:
        text = arguments.get(name)
        if not isinstance(text, str):
            continue
        found = _DECLARATION.fullmatch(text)
        if found is None:
            raise ValueError(f"an array is declared as in 'int32|int64[rows, n]', got {text!r}")
        types, by = tuple(found["types"].split("|")), found["by"]
        if types[0] in arrays:
            types, by = arrays[types[0]].types, types[0]
        axes = tuple(tuple(axis.strip().split("|")) for axis in found["axes"].split(","))
        arrays[name] = Array(types, axes, bool(found["optional"]), by)
    return arrays


def _nothing(*given: Any) -> Operations:
    return {}


@dataclass(frozen=True)
class Kernel:
    """A kernel's row in the table.

    Parameters
    ----------
    name : str
    specification : callable
        Its executable specification: plain NumPy.
    parameters : tuple of str
        The names of its arguments, in order.
    arrays : dict of str to Array
        The declarations of those that are arrays.
    values : dict of str to tuple
        Values to test with, for some of the others.
    writes : tuple of int
        The positions of the arrays that it writes.
    rows : tuple of int
        The positions of the arrays whose first axes are its rows: any range of them may be computed separately. Empty
        if a kernel is not split.
    first : int or None
        The position of the argument with the number of the first row, if the kernel has one; ranges are counted from
        it.
    work : callable
        ``work(*arguments)``: roughly how many operations on words a row takes.
    function : str
        The name of its C function, without ``bl_``.
    fixed : dict of str to int or tuple
        Arguments of that function that are always the same.
    operations : callable
        ``operations(*arguments)``: the arithmetic of a call, by the kind of operation.
    changes : tuple of int
        The positions of the arrays that it both reads and writes; with `accumulate`, also the last one.
    scratch : int or None
        The position of an array (threads, bytes) of which each thread takes a row.
    parts_a_thread : int
        How many parts the rows are divided into for each thread.
    """

    name: str
    specification: Callable[..., None] | None
    parameters: tuple[str, ...]
    arrays: dict[str, Array]
    values: dict[str, tuple]
    writes: tuple[int, ...]
    rows: tuple[int, ...]
    first: int | None
    work: Callable[..., int]
    function: str
    fixed: dict[str, Any]
    operations: Callable[..., Operations] = _nothing
    changes: tuple[int, ...] = ()
    scratch: int | None = None
    parts_a_thread: int = 1

    def moved(self, arguments: tuple[Any, ...]) -> list[Any]:
        """Return the arrays that a call reads or writes; one that it changes stands twice."""
        found = [each for each in arguments if getattr(each, "shape", ())]
        if "accumulate" in self.parameters and arguments[self.parameters.index("accumulate")]:
            found.append(arguments[self.writes[-1]])
        return found + [arguments[position] for position in self.changes]

    @cached_property
    def sizes(self) -> tuple[str, ...]:
        """The sizes that its arrays are made of, in order."""
        return tuple(dict.fromkeys(name for array in self.arrays.values() for name in array.sizes))


def _counted(each: Operations, parameters: tuple[str, ...]) -> Callable[..., Operations]:
    """Return what counts the operations of a kernel that passes over its values."""

    def operations(*given: Any) -> Operations:
        values = max((array.size for array in given if hasattr(array, "dtype") and array.dtype != np.uint64), default=0)
        kinds = {
            name: f"{name.partition(' ')[0]} {given[parameters.index(kind)].dtype.name}"
            for name in each
            if (kind := name.partition(" ")[2]) in parameters
        }
        return {kinds.get(name, name): count * values for name, count in each.items()}

    return operations if each else _nothing


#: Every kernel by its name.
TABLE: dict[str, Kernel] = {}


def kernel(
    *,
    writes: str = "out",
    split: str | None = None,
    work: Callable[..., int] | None = None,
    function: str | None = None,
    fixed: dict[str, Any] | None = None,
    operations: Operations | Callable[..., Operations] | None = None,
    changes: str = "",
    **arguments: Any,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that enters a kernel's specification in the table.

    Parameters
    ----------
    writes : str
        Names of the arguments it writes, separated by spaces.
    split : str, optional
        The size whose ranges threads may share: the arrays that have it as their first axis are split. An argument
        called `first` is the number of their first row.
    work : callable, optional
        By default four operations for each value in a row of the widest array that is split.
    function : str, optional
        The C function that it is one use of; by default the one of the same name.
    fixed : dict, optional
        What that function is passed for arguments that the kernel does not have.
    operations : dict or callable, optional
        Its arithmetic: per value of its largest array that is not packed, or in total, as a function of the arguments.
        By default it only moves values.
    changes : str
        The names of the arrays that it both reads and writes, separated by spaces.
    **arguments : str or tuple
        The declaration of each array, and values of other arguments.

    Returns
    -------
    callable
        Enters a function in `TABLE`, and returns it unchanged.
    """

    def enter(specification: Callable[..., None]) -> Callable[..., None]:
        name, parameters = specification.__name__, tuple(inspect.signature(specification).parameters)
        arrays = _declared(arguments, parameters)
        if unknown := arguments.keys() - set(parameters):
            raise TypeError(f"{name} has no argument {', '.join(sorted(unknown))}")
        rows = tuple(
            position for position, each in enumerate(parameters) if each in arrays and split in arrays[each].axes[0]
        )

        certain = [position for position in rows if not arrays[parameters[position]].optional]

        def passes_over_a_row(*given: Any) -> int:
            return WORK_OF_A_VALUE * max(given[position][:1].size for position in certain)

        TABLE[name] = Kernel(
            name,
            specification,
            parameters,
            arrays,
            {each: values for each, values in arguments.items() if isinstance(values, tuple)},
            tuple(parameters.index(each) for each in writes.split()),
            rows,
            parameters.index("first") if "first" in parameters and rows else None,
            work or passes_over_a_row,
            function or name,
            fixed or {},
            operations if callable(operations) else _counted(operations or {}, parameters),
            tuple(parameters.index(each) for each in changes.split()),
        )
        return specification

    return enter
