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

    def __init__(self, kernel, variant, panels, rows):
        self.panels = pointer(panels)
        # What chooses between tiles and counted bits recodes for the second variant, and for that alone.
        self.chooses = variant == lib.bl_variant_count()
        self.variant = 1 if self.chooses else variant
        self._kernel, self._recoded = kernel, None
        # So many rows are worth a call of the recoded form.
        self.recodes = lib.bl_variant_implements(self.variant, b"recode_panels")
        self.worth = 2**62 if not self.recodes else _ROWS if rows is None else _ROWS_ONCE

    def on_tiles(self, m, k, n):
        """Whether a kernel that chooses takes tiles for a product."""
        return self.chooses and lib.bl_tiles_pay(self._kernel, lib.BL_UINT64, m, k, n) == 1

    def keeps_windows(self, pixels, k, words, n):
        """Whether a convolution runs on the panels as they are, its windows of so many words and values."""
        return pixels < self.worth or not 0 < words <= lib.BL_QUADS_WORDS or self.on_tiles(pixels, k, n)

    def recoded(self, k, words):
        """Return the recoded columns; two threads that ask first at the same time make the same."""
        if self._recoded is None:
            octets = ffi.from_buffer(_OCTETS, np.empty(lib.bl_quads_bytes(k, words), dtype=np.uint8))
            lib.bl_recode_panels(self.variant, self.panels, k, words, octets)
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
    call, buffer = lib.bl_xnor_matmul_panels, ffi.from_buffer
    columns = _Columns(b"xnor_matmul_panels", variant, panels, rows)
    held, worth, chooses = columns.panels, columns.worth, columns.chooses

    def product(a, n, out, threads=1):
        m, words = a.shape
        k, kind = out.shape[1], CODES[out.dtype]
        if m < worth or words > lib.BL_QUADS_WORDS or (chooses and columns.on_tiles(m, k, n)):
            call(variant, buffer(WORDS, a), held, m, k, words, n, buffer(BYTES, out, True), kind)
        else:
            sizes = (m, k, words, n, buffer(BYTES, out, True), kind)
            recoded = columns.recoded(k, words)
            scratch = _scratch(m, words, threads)
            lib.bl_xnor_matmul_quads_on_threads(threads, columns.variant, buffer(WORDS, a), recoded, *sizes, scratch)

    product.nbytes = columns.nbytes
    # What may run on tiles is split into ranges of rows as they are.
    product.on_threads = bool(columns.recodes and not chooses and lib.bl_has_threads())
    return product


def bind_xnor_matmul_sign_panels(variant, panels, rows=None):
    """Return xnor_matmul_sign_panels with its panels bound."""
    columns = _Columns(b"xnor_matmul_sign_panels", variant, panels, rows)

    def product(a, n, threshold, out):
        m, words = a.shape
        sizes = (m, len(threshold), words, n, pointer(threshold), pointer(out, True))
        if m < columns.worth or words > lib.BL_QUADS_WORDS or columns.on_tiles(m, len(threshold), n):
            lib.bl_xnor_matmul_sign_panels(variant, pointer(a), columns.panels, *sizes)
        else:
            recoded = columns.recoded(len(threshold), words)
            lib.bl_xnor_matmul_sign_quads(columns.variant, pointer(a), recoded, *sizes, _scratch(m, words))

    product.nbytes = columns.nbytes
    return product


def bind_planes_matmul_panels(variant, panels, rows=None):
    """Return planes_matmul_panels with its panels bound; the rows are integers, of some planes each."""
    columns = _Columns(b"planes_matmul_panels", variant, panels, rows)

    def product(planes, n, accumulate, out):
        m, bits, words = planes.shape
        sizes = (m, out.shape[1], words, n, accumulate, pointer(out, True))
        if m * bits < columns.worth or words > lib.BL_QUADS_WORDS:
            lib.bl_planes_matmul_panels(variant, pointer(planes), bits, columns.panels, *sizes)
        else:
            scratch = ffi.from_buffer(_OCTETS, np.empty(lib.bl_planes_scratch(m, bits, words), dtype=np.uint8))
            operands = (pointer(planes), bits, columns.panels, columns.recoded(out.shape[1], words))
            lib.bl_planes_matmul_quads(columns.variant, *operands, *sizes, scratch)

    product.nbytes = columns.nbytes
    return product


def _window(x, kernel):
    """The words of a window."""
    return kernel[0] * kernel[1] * x.shape[3]


def bind_xnor_conv2d_panels(variant, panels, rows=None):
    """Return xnor_conv2d_panels with its panels bound; the rows are pixels of the result."""
    columns = _Columns(b"xnor_conv2d_panels", variant, panels, rows)

    def convolve(x, kernel, n, stride, padding, pad_value, out):
        shape = conv2d(n, x.shape, kernel, out.shape, x.shape[3], stride, padding, pad_value)
        window, result = _window(x, kernel), (pointer(out, True), code(out))
        if columns.keeps_windows(math.prod(out.shape[:3]), out.shape[3], window, math.prod(kernel) * n):
            lib.bl_xnor_conv2d_panels(variant, pointer(x), columns.panels, shape, *result)
        else:
            recoded, scratch = columns.recoded(out.shape[3], window), _scratch(lib.BL_QUADS_PIXELS, window)
            lib.bl_xnor_conv2d_quads(columns.variant, pointer(x), columns.panels, recoded, shape, *result, scratch)

    convolve.nbytes = columns.nbytes
    return convolve


def bind_xnor_conv2d_sign_panels(variant, panels, rows=None):
    """Return xnor_conv2d_sign_panels with its panels bound; the rows are pixels of the result."""
    columns = _Columns(b"xnor_conv2d_sign_panels", variant, panels, rows)

    def convolve(x, kernel, n, stride, padding, pad_value, threshold, out):
        out_shape = (*out.shape[:3], len(threshold))
        shape = conv2d(n, x.shape, kernel, out_shape, x.shape[3], stride, padding, pad_value)
        window, result = _window(x, kernel), (pointer(threshold), pointer(out, True))
        if columns.keeps_windows(math.prod(out.shape[:3]), len(threshold), window, math.prod(kernel) * n):
            lib.bl_xnor_conv2d_sign_panels(variant, pointer(x), columns.panels, shape, *result)
        else:
            recoded, scratch = columns.recoded(len(threshold), window), _scratch(lib.BL_QUADS_PIXELS, window)
            lib.bl_xnor_conv2d_sign_quads(columns.variant, pointer(x), columns.panels, recoded, shape, *result, scratch)

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
