"""From arrays to what C takes: pointers, codes of types, and structs of sizes."""

from __future__ import annotations

import math

import numpy as np

try:
    from bitlearn.backends._cext import ffi, lib
except ImportError as error:
    raise ImportError(
        f"the compiled extension is missing or does not load ({error}); install bitlearn where there is a C compiler"
    ) from error

#: For each element type: the C type of its arrays and the code by which a kernel is told.
_TYPES = {
    "int8": ("int8_t[]", lib.BL_INT8),
    "int16": ("int16_t[]", lib.BL_INT16),
    "int32": ("int32_t[]", lib.BL_INT32),
    "int64": ("int64_t[]", lib.BL_INT64),
    "float32": ("float[]", lib.BL_FLOAT32),
    "float64": ("double[]", lib.BL_FLOAT64),
    "uint8": ("uint8_t[]", lib.BL_UINT8),
    "uint16": ("uint16_t[]", lib.BL_UINT16),
    "uint32": ("uint32_t[]", lib.BL_UINT32),
    "uint64": ("uint64_t[]", lib.BL_UINT64),
    "float16": ("uint16_t[]", lib.BL_FLOAT16),
    "bool": ("uint8_t[]", lib.BL_UINT8),
}
# Types made once: naming one in a call costs as much as the rest of the call.
POINTERS = {np.dtype(name): ffi.typeof(ctype) for name, (ctype, _) in _TYPES.items()}
WORDS, BYTES = ffi.typeof("uint64_t[]"), ffi.typeof("char[]")
CODES = {np.dtype(name): code for name, (_, code) in _TYPES.items()}


_FROM_BUFFER, _CAST = ffi.from_buffer, ffi.cast
_ADDRESS = ffi.typeof("intptr_t")


class StandIn:
    """What the functions of arguments are given in place of an array when a call is written down.

    It has the array's sizes, of which the rows may be made more, and in place of a pointer it gives itself: the
    address, and by how much that differs in a part of the rows (see bl_change in csrc/program.h).
    """

    __slots__ = ("address", "array", "dtype", "kind", "shape", "size", "step")

    def __init__(self, array):
        self.array, self.dtype, self.shape, self.size = array, array.dtype, array.shape, array.size
        self.kind, self.step, self.address = lib.BL_MOVES, 0, None

    def split(self, kind):
        """Differ by as many bytes as a row has."""
        self.kind, self.step = kind, self.array.strides[0]

    def grow(self):
        """Have a row more than the array."""
        rows, *rest = self.shape
        self.shape, self.size = (rows + 1, *rest), self.size + math.prod(rest)

    def pointer(self, writable):
        """Find the address, and stand for it."""
        if self.address is None:
            self.address = int(_CAST(_ADDRESS, _FROM_BUFFER(POINTERS[self.dtype], self.array, writable)))
        return self

    def first(self):
        """Find the address of the first element, wherever the others lie, and stand for it."""
        self.address = self.array.__array_interface__["data"][0]
        return self

    def __getattr__(self, name):
        return getattr(self.array, name)


def pointer(array, writable=False):
    """The array's memory; only `out` must be writable, for the others the kernels read alone."""
    if type(array) is StandIn:
        return array.pointer(writable)
    return _FROM_BUFFER(POINTERS[array.dtype], array, writable)


def address(array):
    """The memory of an array whose elements need not lie side by side; the caller keeps it alive."""
    if type(array) is StandIn:
        return array.first()
    return _CAST("void *", array.__array_interface__["data"][0])


def code(array):
    return CODES[array.dtype]
