"""From a kernel's arguments to those of its function in C, by the names that the parameters have there.

C tells the names (bl_kernel_arguments), and the table of kernels what each argument is. A parameter in C is

``x``
    where x is an array, its memory, and NULL where x may have no rows and has none; else the argument as it is;
``x_type``
    the code of the array's element type;
``x_each``
    of an array declared as ``[rows|1]``, 1 where it has more than one;
``x_panels``
    of an array declared as ``bits|panels``, 1 where it is panels;
``x_height``, ``x_width``, or ``x_top``, ``x_left``
    the two values of an argument x, or x_size;
``rows``
    a size of the declarations, taken from the shape of an array;
``words``
    how many words a row of the first array of bits has;
``shape``
    a struct of such numbers, 0 where nothing tells one;

or what the table fixes, or NULL where the kernel has no such array. The order is the C function's own. Where that needs
strides, a function of `packing` makes the arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bitlearn.backends.cext import packing
from bitlearn.backends.cext.arrays import code, ffi, lib, pointer
from bitlearn.backends.table import TABLE, Array, Kernel

BY_HAND = packing.ARGUMENTS
_STRUCTS = {name: ffi.typeof(f"{name} *") for name in ("bl_conv2d", "bl_pool2d")}
_SCOPE = {"pointer": pointer, "code": code, "NULL": ffi.NULL, "new": ffi.new} | _STRUCTS
_OF_A_PAIR = {"height": 0, "width": 1, "top": 0, "left": 1}


def _parameters(function: str) -> list[tuple[str, Any]]:
    """The names and types of a function's parameters in C after `variant`."""
    text = ffi.string(lib.bl_kernel_arguments(function.encode())).decode()
    return list(zip(text.strip("()").split(", "), ffi.typeof(getattr(lib, f"bl_{function}")).args[1:], strict=True))


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
            raise TypeError(f"bl_{row.function} wants {', '.join(sorted(wanted))}, which no array of {row.name} tells")
        if len(found) == 1:
            (size,) = found
            lines.append(f"size_{size} = {name}.shape[{given[name].index(size)}]")
        else:
            names = (f"size_{size}" if size in found else "_" for size in given[name])
            lines.append(f"{', '.join(names)} = {name}.shape")
        wanted = wanted - found
    return lines


def _number(row: Kernel, name: str, sizes: set[str]) -> str:
    """Return a number as it is written; a size that an array tells is added to `sizes`."""
    stem, _, which = name.rpartition("_")
    for each, at in ((name, ""), *((one, f"[{_OF_A_PAIR.get(which)}]") for one in (stem, f"{stem}_size"))):
        if (not at or which in _OF_A_PAIR) and each not in row.arrays and each in (*row.parameters, *row.fixed):
            return f"{row.fixed.get(each, each)}{at}"
    sizes.add(name)
    return f"size_{name}"


def _struct(row: Kernel, ctype: Any, sizes: set[str]) -> str:
    told = {size for array in row.arrays.values() for size in _given(array)}
    values = []
    for name, _ in ctype.item.fields:
        here: set[str] = set()
        value = _number(row, name, here)
        values.append(value if here <= told else "0")
        sizes |= here & told
    return f"new({ctype.item.cname}, ({', '.join(values)}))"


def source(row: Kernel) -> str:
    """Return the source of the function that makes a kernel's arguments in C from its own."""
    arrays, written = row.arrays, {row.parameters[position] for position in row.writes}
    values: list[str] = []
    sizes: set[str] = set()
    for name, ctype in _parameters(row.function):
        array, _, what = name.rpartition("_")
        if name in arrays:
            value = f"pointer({name}, True)" if name in written else f"pointer({name})"
            values.append(f"{value} if {name}.shape[0] else NULL" if arrays[name].optional else value)
        elif array in arrays and what in ("type", "each", "panels"):
            told = {"type": "code({})", "each": "{}.shape[0] > 1", "panels": "len({}.shape) == 1"}[what]
            values.append(told.format(array))
        elif ctype.kind == "pointer" and name not in row.fixed:
            values.append(_struct(row, ctype, sizes) if ctype.item.kind == "struct" else "NULL")
        else:
            values.append(_number(row, name, sizes))
    lines = [*_taken(row, sizes), f"return {', '.join(values)}"]
    return f"def {row.name}({', '.join(row.parameters)}):\n" + "".join(f"    {line}\n" for line in lines)


def of(row: Kernel) -> Callable[..., tuple] | None:
    """Return the function that makes a kernel's arguments in C from its own, or None where C has no such kernel."""
    if row.name in BY_HAND:
        return BY_HAND[row.name]
    if lib.bl_kernel_arguments(row.function.encode()) == ffi.NULL:
        return None
    made: dict[str, Callable[..., tuple]] = {}
    exec(compile(source(row), f"<arguments of bl_{row.name}>", "exec"), _SCOPE, made)
    return made[row.name]


def of_table(table: dict[str, Kernel] = TABLE) -> dict[str, Callable[..., tuple]]:
    """Return those functions for every kernel of a table that C has."""
    found = {name: of(row) for name, row in table.items()}
    return {name: function for name, function in found.items() if function is not None}
