"""From a kernel's arguments to those of its function in C, by the names that the parameters have there.

C tells the names (bl_kernel_arguments), and the table of kernels what each argument is. A parameter in C is

``x``
    where x is an array, its memory, and NULL where x may have no rows and has none; else the argument as it is;
``x_type``
    the code of the array's element type;
``x_each``
    of an array declared as ``[rows|1]``, 1 where it has more than one;
``rows``
    a size of the declarations, taken from the shape of an array;
``words``
    how many words a row of the first array of bits has.

The order is the C function's own. Where that wants anything else, strides or a struct of sizes, a function of
`packing`, `convolutions` or `pooling` makes the arguments.
"""

from __future__ import annotations

from collections.abc import Callable

from bitlearn.backends.cext import convolutions, packing, pooling
from bitlearn.backends.cext.arrays import code, ffi, lib, pointer
from bitlearn.backends.table import TABLE, Array, Kernel

_SCOPE = {"pointer": pointer, "code": code, "NULL": ffi.NULL}
BY_HAND = packing.ARGUMENTS | convolutions.ARGUMENTS | pooling.ARGUMENTS


def _parameters(kernel: str) -> list[str]:
    """The names of a kernel's parameters in C after `variant`."""
    text = ffi.string(lib.bl_kernel_arguments(kernel.encode())).decode()
    return text.strip("()").split(", ")


def _given(array: Array) -> list[str]:
    """The sizes that an array's shape tells, for each axis one or an empty name."""
    names = [axis[0] if len(axis) == 1 and not axis[0].isdigit() else "" for axis in array.axes]
    if {"bits", "panels"} & set(array.types):
        names[-1] = "words" if array.types == ("bits",) else ""
    return [] if array.optional or "panels" in array.types else names


def _taken(row: Kernel, wanted: set[str]) -> list[str]:
    """Return lines that take sizes from the shapes of arrays, as many as possible from each."""
    lines, given = [], {name: _given(array) for name, array in row.arrays.items()}
    while wanted:
        name = max(given, key=lambda each: len(wanted & set(given[each])))
        if not (found := wanted & set(given[name])):
            raise TypeError(f"bl_{row.name} wants {', '.join(sorted(wanted))}, which no array of {row.name} tells")
        if len(found) == 1:
            (size,) = found
            lines.append(f"size_{size} = {name}.shape[{given[name].index(size)}]")
        else:
            names = (f"size_{size}" if size in found else "_" for size in given[name])
            lines.append(f"{', '.join(names)} = {name}.shape")
        wanted = wanted - found
    return lines


def source(row: Kernel) -> str:
    """Return the source of the function that makes a kernel's arguments in C from its own."""
    arrays, written = row.arrays, {row.parameters[position] for position in row.writes}
    values, sizes = [], set()
    for name in _parameters(row.name):
        array, _, what = name.rpartition("_")
        if name in arrays:
            value = f"pointer({name}, True)" if name in written else f"pointer({name})"
            values.append(f"{value} if {name}.shape[0] else NULL" if arrays[name].optional else value)
        elif name in row.parameters:
            values.append(name)
        elif array in arrays and what in ("type", "each"):
            values.append(f"code({array})" if what == "type" else f"{array}.shape[0] > 1")
        else:
            sizes.add(name)
            values.append(f"size_{name}")
    lines = [*_taken(row, sizes), f"return {', '.join(values)}"]
    return f"def {row.name}({', '.join(row.parameters)}):\n" + "".join(f"    {line}\n" for line in lines)


def of(row: Kernel) -> Callable[..., tuple] | None:
    """Return the function that makes a kernel's arguments in C from its own, or None where C has no such kernel."""
    if row.name in BY_HAND:
        return BY_HAND[row.name]
    if lib.bl_kernel_arguments(row.name.encode()) == ffi.NULL:
        return None
    made: dict[str, Callable[..., tuple]] = {}
    exec(compile(source(row), f"<arguments of bl_{row.name}>", "exec"), _SCOPE, made)
    return made[row.name]


def of_table(table: dict[str, Kernel] = TABLE) -> dict[str, Callable[..., tuple]]:
    """Return those functions for every kernel of a table that C has."""
    found = {name: of(row) for name, row in table.items()}
    return {name: function for name, function in found.items() if function is not None}
