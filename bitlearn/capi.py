"""The kernels in C, for code that calls C by itself: their addresses, functions for ctypes, and capsules.

They are those of the compiled extension. What each computes and takes is said in ``csrc/kernels.h``,
``csrc/norm_steps.h``, ``csrc/steps.h`` and ``csrc/program.h``, of which ``csrc/CMakeLists.txt`` makes the header
``bitlearn.h``. They validate nothing: a wrong size or address ends the process.
"""

from __future__ import annotations

import ctypes
from difflib import get_close_matches
from functools import cache
from typing import Any

from bitlearn.errors import brief, by_name
from bitlearn.ops.dispatch import attribute

__all__ = ["address", "capsule", "constants", "function", "names", "signature", "structure"]

_VALUES: dict[str, Any] = {
    **{"void": None, "int": ctypes.c_int, "float": ctypes.c_float, "double": ctypes.c_double},
    **{"int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64, "intptr_t": ctypes.c_ssize_t, "char *": ctypes.c_char_p},
}


def _library() -> Any:
    """Return what the extension declares, or raise ImportError with the reason why it is not there."""
    return attribute("cext", "declared")


@cache
def names() -> tuple[str, ...]:
    """Return the names of all functions in the header.

    Returns
    -------
    tuple of str

    Raises
    ------
    ImportError
        If the compiled extension is not there.

    Examples
    --------
    >>> from bitlearn import capi
    >>> "bl_xnor_matmul" in capi.names()
    True
    """
    return tuple(_library().functions())


def constants() -> dict[str, int]:
    """Return the header's constants by name, among them the codes of element types.

    Returns
    -------
    dict of str to int

    Raises
    ------
    ImportError
        If the compiled extension is not there.

    Examples
    --------
    >>> from bitlearn import capi
    >>> capi.constants()["BL_INT32"]
    2
    """
    return _library().constants()


def _known(name: str) -> str:
    if name not in names():
        near = get_close_matches(name, names(), 1) if isinstance(name, str) else []
        meant = f"; perhaps {near[0]}" if near else ""
        raise ValueError(f"name must be that of a function of bitlearn.h, as bl_pack is, got {brief(name)}{meant}")
    return name


def address(name: str) -> int:
    """Return the address of a function.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    int
        Valid until the process ends.

    Raises
    ------
    ValueError
        If there is no such function.
    ImportError
        If the compiled extension is not there.

    Examples
    --------
    >>> from bitlearn import capi
    >>> capi.address("bl_popcount") > 0
    True
    """
    return _library().address(_known(name))


def signature(name: str) -> str:
    """Return the type of a function as written in C, without the names of its arguments and without ``const``.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    str

    Raises
    ------
    ValueError, ImportError
        As `address`.

    Examples
    --------
    >>> from bitlearn import capi
    >>> capi.signature("bl_transpose_bits")
    'void (int, uint64_t *, intptr_t, int64_t, uint64_t *)'
    """
    result, arguments = _library().types(_known(name))
    return f"{result} ({', '.join(arguments)})"


@cache
def structure(name: str) -> type[ctypes.Structure]:
    """Return a struct of the header as a ctypes class.

    Parameters
    ----------
    name : str
        ``"bl_conv2d"``, ``"bl_pool2d"``, ``"bl_call"`` or ``"bl_change"``.

    Returns
    -------
    type
        The same one each time; the functions of `function` take a reference to it.

    Raises
    ------
    ValueError
        If there is no such struct.
    ImportError
        If the compiled extension is not there.

    Examples
    --------
    >>> from bitlearn import capi
    >>> capi.structure("bl_conv2d")(batch=1, height=5, width=7).width
    7
    """
    members = by_name("name", name, _library().structs())
    fields = [(member, _VALUES.get(kind, ctypes.c_void_p)) for member, kind in members]
    return type(name, (ctypes.Structure,), {"_fields_": fields, "__doc__": f"{name} of bitlearn.h"})


def _as_ctypes(kind: str) -> Any:
    if kind in _VALUES:
        return _VALUES[kind]
    target = kind.removesuffix(" *")
    return ctypes.POINTER(structure(target)) if target in _library().structs() else ctypes.c_void_p


@cache
def function(name: str) -> Any:
    """Return a function for ctypes, its types declared; the interpreter's lock is released while it runs.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    ctypes function
        Arrays are passed as ``array.ctypes``, structs by ``ctypes.byref``, and None as NULL.

    Raises
    ------
    ValueError, ImportError
        As `address`.

    Examples
    --------
    >>> import numpy as np
    >>> import bitlearn as bl
    >>> from bitlearn import capi
    >>> words = bl.pack(np.array([[1.0, -1.0, 1.0]]))
    >>> turned, best = np.empty((3, 1), np.uint64), capi.function("bl_best_variant")()
    >>> capi.function("bl_transpose_bits")(best, words.ctypes, 1, 3, turned.ctypes)
    >>> turned.ravel()
    array([1, 0, 1], dtype=uint64)
    """
    result, arguments = _library().types(_known(name))
    return ctypes.CFUNCTYPE(_as_ctypes(result), *map(_as_ctypes, arguments))(address(name))


#: A capsule points to its name.
_NAMES: dict[str, bytes] = {}


def capsule(name: str) -> Any:
    """Return a capsule of a function: the way for C extensions to pass functions to each other without linking.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    PyCapsule
        Its name is the function's `signature`, as in Cython's ``__pyx_capi__``: to unpack it by
        ``PyCapsule_GetPointer``, the caller must state the type.

    Raises
    ------
    ValueError, ImportError
        As `address`.

    Examples
    --------
    >>> from bitlearn import capi
    >>> capi.capsule("bl_best_variant")
    <capsule object "int ()" at 0x...>
    """
    pointer, text = address(name), _NAMES.setdefault(name, signature(name).encode())
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return new(pointer, text, None)
