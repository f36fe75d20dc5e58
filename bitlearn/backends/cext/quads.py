"""Products with panels bound ahead: addresses looked up once, and columns recoded where a variant is faster so.

The recoded form (csrc/avx512/quads.h) takes two bits a weight beside the panels. It is made at the first product that
has the rows to be worth it, and kept as long as the operand.
"""

from __future__ import annotations

import math

import numpy as np

from bitlearn.backends.cext.arrays import BYTES, CODES, WORDS, code, conv2d, ffi, lib, pointer

#: Rows from which on a product of recoded columns is faster; and those that pay for columns that are recoded for it
#: alone.
_ROWS, _ROWS_ONCE = 8, 128
_OCTETS = ffi.typeof("uint8_t[]")


class _Columns:
    """The panels of an operand, and the same recoded."""

    def __init__(self, variant, panels, rows):
        self.panels = pointer(panels)
        self.recodes = lib.bl_variant_implements(variant, b"recode_panels")
        self._variant, self._recoded = variant, None
        # So many rows are worth a call of the recoded form.
        self.worth = 2**62 if not self.recodes else _ROWS if rows is None else _ROWS_ONCE

    def recoded(self, k, words):
        """Return the recoded columns; two threads that ask first at the same time make the same."""
        if self._recoded is None:
            octets = ffi.from_buffer(_OCTETS, np.empty(lib.bl_quads_bytes(k, words), dtype=np.uint8))
            lib.bl_recode_panels(self._variant, self.panels, k, words, octets)
            self._recoded = octets
        return self._recoded

    def nbytes(self):
        """The bytes of the recoded form."""
        return 0 if self._recoded is None else len(self._recoded)


def _scratch(m, words, threads=1):
    return ffi.from_buffer(_OCTETS, np.empty(threads * lib.bl_quads_scratch(m, words), dtype=np.uint8))


# Written out, with all looked up ahead that can be: a product of one row takes less time than a few look-ups.
def bind_xnor_matmul_panels(variant, panels, rows=None):
    """Return xnor_matmul_panels with its panels bound, for products of `rows` rows, or for as many as may come."""
    call, buffer, columns = lib.bl_xnor_matmul_panels, ffi.from_buffer, _Columns(variant, panels, rows)
    held, worth = columns.panels, columns.worth

    def product(a, n, out, threads=1):
        m, words = a.shape
        k, kind = out.shape[1], CODES[out.dtype]
        if m < worth or words > lib.BL_QUADS_WORDS:
            call(variant, buffer(WORDS, a), held, m, k, words, n, buffer(BYTES, out, True), kind)
        else:
            sizes = (m, k, words, n, buffer(BYTES, out, True), kind)
            recoded = columns.recoded(k, words)
            scratch = _scratch(m, words, threads)
            lib.bl_xnor_matmul_quads_on_threads(threads, variant, buffer(WORDS, a), recoded, *sizes, scratch)

    product.nbytes = columns.nbytes
    product.on_threads = bool(columns.recodes and lib.bl_has_threads())
    return product


def bind_xnor_matmul_sign_panels(variant, panels, rows=None):
    """Return xnor_matmul_sign_panels with its panels bound."""
    columns = _Columns(variant, panels, rows)

    def product(a, n, threshold, out):
        m, words = a.shape
        sizes = (m, len(threshold), words, n, pointer(threshold), pointer(out, True))
        if m < columns.worth or words > lib.BL_QUADS_WORDS:
            lib.bl_xnor_matmul_sign_panels(variant, pointer(a), columns.panels, *sizes)
        else:
            recoded = columns.recoded(len(threshold), words)
            lib.bl_xnor_matmul_sign_quads(variant, pointer(a), recoded, *sizes, _scratch(m, words))

    product.nbytes = columns.nbytes
    return product


def bind_planes_matmul_panels(variant, panels, rows=None):
    """Return planes_matmul_panels with its panels bound; the rows are integers, of some planes each."""
    columns = _Columns(variant, panels, rows)

    def product(planes, n, accumulate, out):
        m, bits, words = planes.shape
        sizes = (m, out.shape[1], words, n, accumulate, pointer(out, True))
        if m * bits < columns.worth or words > lib.BL_QUADS_WORDS:
            lib.bl_planes_matmul_panels(variant, pointer(planes), bits, columns.panels, *sizes)
        else:
            scratch = ffi.from_buffer(_OCTETS, np.empty(lib.bl_planes_scratch(m, bits, words), dtype=np.uint8))
            operands = (pointer(planes), bits, columns.panels, columns.recoded(out.shape[1], words))
            lib.bl_planes_matmul_quads(variant, *operands, *sizes, scratch)

    product.nbytes = columns.nbytes
    return product


def _window(x, kernel):
    """The words of a window."""
    return kernel[0] * kernel[1] * x.shape[3]


def bind_xnor_conv2d_panels(variant, panels, rows=None):
    """Return xnor_conv2d_panels with its panels bound; the rows are pixels of the result."""
    columns = _Columns(variant, panels, rows)

    def convolve(x, kernel, n, stride, padding, pad_value, out):
        shape = conv2d(n, x.shape, kernel, out.shape, x.shape[3], stride, padding, pad_value)
        window, result = _window(x, kernel), (pointer(out, True), code(out))
        if math.prod(out.shape[:3]) < columns.worth or not 0 < window <= lib.BL_QUADS_WORDS:
            lib.bl_xnor_conv2d_panels(variant, pointer(x), columns.panels, shape, *result)
        else:
            recoded, scratch = columns.recoded(out.shape[3], window), _scratch(lib.BL_QUADS_PIXELS, window)
            lib.bl_xnor_conv2d_quads(variant, pointer(x), columns.panels, recoded, shape, *result, scratch)

    convolve.nbytes = columns.nbytes
    return convolve


def bind_xnor_conv2d_sign_panels(variant, panels, rows=None):
    """Return xnor_conv2d_sign_panels with its panels bound; the rows are pixels of the result."""
    columns = _Columns(variant, panels, rows)

    def convolve(x, kernel, n, stride, padding, pad_value, threshold, out):
        out_shape = (*out.shape[:3], len(threshold))
        shape = conv2d(n, x.shape, kernel, out_shape, x.shape[3], stride, padding, pad_value)
        window, result = _window(x, kernel), (pointer(threshold), pointer(out, True))
        if math.prod(out.shape[:3]) < columns.worth or not 0 < window <= lib.BL_QUADS_WORDS:
            lib.bl_xnor_conv2d_sign_panels(variant, pointer(x), columns.panels, shape, *result)
        else:
            recoded, scratch = columns.recoded(len(threshold), window), _scratch(lib.BL_QUADS_PIXELS, window)
            lib.bl_xnor_conv2d_sign_quads(variant, pointer(x), columns.panels, recoded, shape, *result, scratch)

    convolve.nbytes = columns.nbytes
    return convolve


#: For each kernel that can look at its panels ahead: how.
BINDERS = {
    "xnor_matmul_panels": bind_xnor_matmul_panels,
    "xnor_matmul_sign_panels": bind_xnor_matmul_sign_panels,
    "planes_matmul_panels": bind_planes_matmul_panels,
    "xnor_conv2d_panels": bind_xnor_conv2d_panels,
    "xnor_conv2d_sign_panels": bind_xnor_conv2d_sign_panels,
}
