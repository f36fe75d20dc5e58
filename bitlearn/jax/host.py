"""Functions of NumPy arrays as operations of XLA: by its foreign function interface (FFI), else as callbacks of JAX.

A call by the FFI is given the memory of its operands and results; a callback makes arrays of JAX's of them first, which
takes longer than a small product. The structs are those of ``xla/ffi/api/c_api.h``, as far as they are read. Where JAX
has no FFI, or computes elsewhere than on the processor, it is callbacks.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

_POINTER, _SIZE, _INT, _LONG = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int64
#: What XLA calls element types, of those that are passed here.
_TYPES = {2: np.int8, 4: np.int32, 8: np.uint32, 11: np.float32}
_METADATA, _EXECUTE, _INVALID = 1, 3, 3


class _Version(ctypes.Structure):
    _fields_ = (("size", _SIZE), ("extension", _POINTER), ("major", _INT), ("minor", _INT))


class _Api(ctypes.Structure):
    _fields_ = (("size", _SIZE), ("extension", _POINTER), ("version", _Version), ("own", _POINTER), ("error", _POINTER))


class _ErrorArguments(ctypes.Structure):
    _fields_ = (("size", _SIZE), ("extension", _POINTER), ("message", ctypes.c_char_p), ("code", _INT))


class _Metadata(ctypes.Structure):
    _fields_ = (("size", _SIZE), ("version", _Version), ("traits", ctypes.c_uint32))


class _Extension(ctypes.Structure):
    _fields_ = (("size", _SIZE), ("type", _INT), ("next", _POINTER), ("metadata", ctypes.POINTER(_Metadata)))


class _Buffer(ctypes.Structure):
    _fields_ = (
        *(("size", _SIZE), ("extension", _POINTER), ("dtype", _INT), ("data", _POINTER)),
        *(("rank", _LONG), ("dims", ctypes.POINTER(_LONG))),
    )


class _Buffers(ctypes.Structure):
    _fields_ = (
        *(("size", _SIZE), ("extension", _POINTER), ("count", _LONG), ("types", _POINTER)),
        ("items", ctypes.POINTER(ctypes.POINTER(_Buffer))),
    )


class _Frame(ctypes.Structure):
    _fields_ = (
        *(("size", _SIZE), ("extension", _POINTER), ("api", ctypes.POINTER(_Api)), ("context", _POINTER)),
        *(("stage", _INT), ("operands", _Buffers), ("results", _Buffers)),
    )


_HANDLER = ctypes.CFUNCTYPE(_POINTER, ctypes.POINTER(_Frame))
_MAKE_ERROR = ctypes.CFUNCTYPE(_POINTER, ctypes.POINTER(_ErrorArguments))
#: What XLA calls must stay: by the names under which it is registered.
_registered: dict[tuple, tuple[str, Any]] = {}

Host = Callable[..., tuple[np.ndarray, ...]]


def _array(buffer: _Buffer) -> np.ndarray:
    """Return the array that lies in a buffer of XLA's."""
    kind, shape = np.dtype(_TYPES[buffer.dtype]), tuple(buffer.dims[: buffer.rank])
    nbytes = kind.itemsize * int(np.prod(shape))
    if not nbytes:
        return np.empty(shape, kind)
    return np.frombuffer((ctypes.c_char * nbytes).from_address(buffer.data), kind).reshape(shape)


def _arrays(buffers: _Buffers) -> list[np.ndarray]:
    return [_array(buffers.items[at].contents) for at in range(buffers.count)]


def _handler(function: Host) -> Any:
    """Return what XLA calls for a function of arrays."""

    @_HANDLER
    def handle(given: Any) -> int | None:
        frame = given.contents
        try:
            if frame.extension:
                extension = _Extension.from_address(frame.extension)
                if extension.type == _METADATA:
                    # Of what is read here nothing has changed from the first version to the present one.
                    version, own = extension.metadata.contents.version, frame.api.contents.version
                    version.major, version.minor = own.major, own.minor
                    return None
            if frame.stage == _EXECUTE:
                found = function(*_arrays(frame.operands))
                for result, array in zip(_arrays(frame.results), found, strict=True):
                    result[...] = array
            return None
        except Exception as error:
            text = f"{type(error).__name__}: {error}".encode()
            arguments = _ErrorArguments(ctypes.sizeof(_ErrorArguments), None, text, _INVALID)
            return _MAKE_ERROR(frame.api.contents.error)(ctypes.byref(arguments))

    return handle


def _target(function: Host, key: tuple) -> str:
    """Return the name under which XLA knows a function; a key says which functions are the same."""
    if key not in _registered:
        name, handler = f"bitlearn_{'_'.join(map(str, key))}", _handler(function)
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(ctypes.cast(handler, _POINTER).value), platform="cpu")
        _registered[key] = name, handler
    return _registered[key][0]


def by_ffi() -> bool:
    """Whether calls go by the FFI: JAX has it, and computes on the processor."""
    return hasattr(jax, "ffi") and jax.default_backend() == "cpu"


def call(
    function: Host, key: tuple, kinds: Sequence[jax.ShapeDtypeStruct], *arrays: Any, vmap_method: str = "sequential"
) -> tuple:
    """Call a function of arrays on the host, under ``jit`` and ``vmap`` too.

    Parameters
    ----------
    function : callable
        Of NumPy arrays, which it does not change or keep; it returns as many as there are `kinds`.
    key : tuple
        A name and what the function depends on besides its arrays: functions with the same key do the same.
    kinds : sequence of ShapeDtypeStruct
        Of the results.
    arrays : Array
    vmap_method : str
        As `jax.pure_callback` has it.

    Returns
    -------
    tuple of Array
    """
    if by_ffi():
        return tuple(jax.ffi.ffi_call(_target(function, key), tuple(kinds), vmap_method=vmap_method)(*arrays))
    return tuple(jax.pure_callback(function, tuple(kinds), *arrays, vmap_method=vmap_method))
