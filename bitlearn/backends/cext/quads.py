"""Products with panels bound ahead: columns recoded where a variant is faster so, and as long kept as the operand.

The recoded form (csrc/avx512/quads.h) takes two bits per weight beside the panels. Which form a product runs on is
csrc/forms.c's to say.
"""

from __future__ import annotations

import math

import numpy as np

from bitlearn.backends.cext.arrays import BYTES, CODES, WORDS, ffi, lib, pointer
from bitlearn.backends.cext.kernel import called, row_of

#: The forms of the right operand, by their numbers in C.
FORMS = ("words", "panels", "recoded")


def recoded_bytes(k, words):
    """The bytes of k recoded columns of so many words."""
    return lib.bl_quads_bytes(k, words)


def recoded_scratch(rows, words):
    """The bytes that a thread needs for a product of so many rows with recoded columns; 0 rows for a convolution."""
    return lib.bl_quads_scratch(max(rows, lib.BL_QUADS_PIXELS), words)


def product_form(variant, kernel, rows, k, words, n, once):
    """The fastest form of a product's right operand: plain words, panels, or recoded panels."""
    return FORMS[lib.bl_product_form(variant, row_of(kernel).function.encode(), rows, k, words, n, once)]


class _Operand:
    """The panels of an operand, and the same recoded, made at the first product that has the rows to be worth it."""

    def __init__(self, kernel, variant, panels, once):
        self.kernel, self.variant, self.panels, self.once = kernel, variant, panels, once
        # What chooses between tiles and counted bits recodes for the second variant.
        self.recoding = 1 if variant == lib.BL_CHOICE else variant
        #: By the rows of a product: its columns and their words where it runs on panels, else None.
        self.known, self._columns = {}, None

    def recodes(self, rows, k, words, n):
        """Whether a product of so many rows runs on recoded columns; the other sizes are the operand's own."""
        if rows not in self.known:
            form = product_form(self.variant, self.kernel, rows, k, words, n, self.once)
            self.known[rows] = None if form == "recoded" else (k, words)
        return self.known[rows] is None

    def columns(self, k, words):
        """Return the recoded columns; two threads that ask first at the same time make the same."""
        if self._columns is None:
            columns = np.empty(recoded_bytes(k, words), dtype=np.uint8)
            lib.bl_recode_panels(self.recoding, pointer(self.panels), k, words, pointer(columns, True))
            self._columns = columns
        return self._columns

    def nbytes(self):
        """The bytes of the recoded form."""
        return 0 if self._columns is None else self._columns.nbytes


def _sizes(kernel, left, given, out):
    """Return the rows, columns, words and values of a product, and its scratch of recoded rows for each thread."""
    k = len(given[-2]) if kernel.endswith("_sign") else out.shape[-1]
    if "conv2d" in kernel:
        taps = math.prod(given[0])
        rows, words, n = math.prod(out.shape[:3]), taps * left.shape[3], taps * given[1]
        return rows, k, words, n, recoded_scratch(0, words)
    m, words = left.shape[0], left.shape[-1]
    if kernel == "planes_matmul":
        bits = left.shape[1]
        return m * bits, k, words, given[0], lib.bl_planes_scratch(m, bits, words)
    return m, k, words, given[0], recoded_scratch(m, words)


def bind(kernel, variant, panels, once=False):
    """Return a kernel with its panels bound, for one product or for as many as may come.

    ``product.call(arguments, threads)`` returns the kernel that runs such a product, and the arguments for it.
    """
    operand = _Operand(kernel, variant, panels, once)
    on_panels = called(kernel, variant)
    on_columns = called(f"{kernel}_recoded", operand.recoding)

    def call(given, threads=1):
        left, *rest, out = given
        m, k, words, n, room = _sizes(kernel, left, given[1:], out)
        if not operand.recodes(m, k, words, n):
            return on_panels, (left, panels, *rest, out)
        scratch = np.empty((threads, room), dtype=np.uint8)
        return on_columns, (left, panels, operand.columns(k, words), *rest, scratch, out)

    def product(*given):
        function, whole = call(given)
        function(*whole)

    product.call, product.nbytes = call, operand.nbytes
    return _at_once(operand, product) if kernel == "xnor_matmul" else product


def _at_once(operand, product):
    """Written out, with all looked up ahead that can be: a product of one row takes less time than a few look-ups."""
    call, buffer, variant, held = lib.bl_xnor_matmul, ffi.from_buffer, operand.variant, pointer(operand.panels)
    known, words_of, bytes_of, codes, null = operand.known, WORDS, BYTES, CODES, ffi.NULL

    def multiply(a, n, out):
        m = len(a)
        if sizes := known.get(m):
            k, words = sizes
            left, result = buffer(words_of, a), buffer(bytes_of, out, True)
            call(variant, left, held, 1, null, m, k, words, n, 0, null, result, codes[out.dtype], null)
        else:
            product(a, n, out)

    multiply.call, multiply.nbytes = product.call, product.nbytes
    return multiply
