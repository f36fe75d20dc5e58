"""What the library in C declares: its functions with their types and addresses, its constants and its structs."""

from __future__ import annotations

from bitlearn.backends.cext.arrays import ffi, lib


def functions():
    """The names of all functions."""
    return [name for name in dir(lib) if not isinstance(getattr(lib, name), int)]


def constants():
    """The constants by name."""
    return {name: getattr(lib, name) for name in dir(lib) if isinstance(getattr(lib, name), int)}


def structs():
    """The members of each struct, with their types, in order."""
    names = ffi.list_types()[0]
    return {name: [(each, field.type.cname) for each, field in ffi.typeof(name).fields] for name in names}


def types(function):
    """The type of a function's result, and those of its arguments, as C writes them; `const` is not kept."""
    found = ffi.typeof(ffi.addressof(lib, function))
    return found.result.cname, [argument.cname for argument in found.args]


def address(function):
    """The address of a function, for who calls C himself."""
    return int(ffi.cast("intptr_t", ffi.addressof(lib, function)))
