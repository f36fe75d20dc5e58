"""From arrays to what C takes: pointers, and codes of types."""

from __future__ import annotations

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


def pointer(array, writable=False):
    """The array's memory; only `out` must be writable, for the others the kernels read alone."""
    return ffi.from_buffer(POINTERS[array.dtype], array, writable)


def code(array):
    return CODES[array.dtype]


def conv2d(n, x_shape, kernel_size, out_shape, words, stride, padding, pad_value=0):
    """The sizes of a convolution: x_shape (batch, h, w, ...), out_shape (batch, out_h, out_w, out_channels)."""
    batch, height, width = x_shape[:3]
    return ffi.new(
        "bl_conv2d *",
        (batch, height, width, words, *out_shape[1:], *kernel_size, *stride, *padding, n, pad_value),
    )
