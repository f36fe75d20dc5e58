"""Products with panels bound ahead: columns recoded where a variant is faster so, and as long kept as the operand.

The recoded form (csrc/avx512/quads.h) takes two bits a weight beside the panels. Which form a product runs on is
csrc/forms.c's to say. The kernels on recoded columns are the same products with the same results; they are no part of
the specification, as another variant may recode in another way or not at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from bitlearn.backends.cext.arguments import of_table
from bitlearn.backends.cext.arrays import BYTES, CODES, WORDS, ffi, lib, pointer
from bitlearn.backends.cext.kernel import called
from bitlearn.backends.table import TABLE, Kernel, described

#: The forms of the right operand, by their numbers in C.
FORMS = ("words", "panels", "recoded")


@dataclass(frozen=True)
class Recoded(Kernel):
    """A row as in the table of kernels, for one on recoded columns.

    ``scratch`` is the position of the array (threads, bytes) of which each thread takes a row. Rows are cut into some
    parts for each thread: one that was asleep comes 40 microseconds late, and then takes fewer. (Other kernels have
    one, as those of gradients expand their bits once a part.)
    """

    scratch: int | None = None
    parts_a_thread: int = 4


def _product_work(a, columns, n, *rest):
    return a.shape[1] * (len(rest[0]) if len(rest) == 3 else rest[-1].shape[1])


def _planes_work(planes, panels, *rest):
    return planes.shape[1] * panels.size


def _windows_work(x, panels, *rest):
    return panels.size * rest[-1].shape[1] * rest[-1].shape[2]


def _row(name, parameters, work, split=None, **declared):
    names = tuple(parameters.split())
    scratch = names.index("scratch") if "scratch" in names else None
    writes = "out" if scratch is None else "scratch out"
    namesake = TABLE.get(name.replace("_recoded", "_panels"))
    specification = namesake.specification if namesake else None
    return described(name, specification, names, writes, split, work, declared, Recoded, scratch=scratch)


_COLUMNS = {"panels": "panels[k, n]", "columns": "uint8[recoded]", "scratch": "uint8[threads, room]"}
_ROWS = {"split": "m", "a": "bits[m, n]", "columns": _COLUMNS["columns"], "scratch": _COLUMNS["scratch"]}
_PLANES = _COLUMNS | {"split": "m", "planes": "bits[m, bits, n]", "out": "int32[m, k]"}
_IMAGES = _COLUMNS | {"split": "batch", "x": "bits[batch, h, w, n]"}
_SUMS, _SIGNS = {"out": "int16|int32|float32[m, k]"}, {"threshold": "int32[k]", "out": "bits[m, k]"}
_MAPS = {"out": "int16|int32|float32[batch, out_h, out_w, k]"}
_SIGN_MAPS = {"threshold": "int32[k]", "out": "bits[batch, out_h, out_w, k]"}
_WINDOWS = "x panels columns kernel n stride padding pad_value"

#: The kernels that only a variant that recodes has.
EXTRA = {
    row.name: row
    for row in (
        _row(
            "recode_panels",
            "panels k words out",
            lambda panels, *rest: panels.size,
            panels=_COLUMNS["panels"],
            out=_COLUMNS["columns"],
        ),
        _row("xnor_matmul_recoded", "a columns n scratch out", _product_work, **_ROWS, **_SUMS),
        _row("xnor_matmul_sign_recoded", "a columns n threshold scratch out", _product_work, **_ROWS, **_SIGNS),
        _row("planes_matmul_recoded", "planes panels columns n accumulate scratch out", _planes_work, **_PLANES),
        _row("xnor_conv2d_recoded", f"{_WINDOWS} scratch out", _windows_work, **_IMAGES, **_MAPS),
        _row("xnor_conv2d_sign_recoded", f"{_WINDOWS} threshold scratch out", _windows_work, **_IMAGES, **_SIGN_MAPS),
    )
}
#: From their arguments to those of their functions in C.
ARGUMENTS = of_table(EXTRA)


def recoded_bytes(k, words):
    """The bytes of k recoded columns of so many words."""
    return lib.bl_quads_bytes(k, words)


def recoded_scratch(rows, words):
    """The bytes that a thread needs for a product of so many rows, or pixels, with recoded columns."""
    return lib.bl_quads_scratch(max(rows, lib.BL_QUADS_PIXELS), words)


def product_form(variant, kernel, rows, k, words, n, once):
    """The fastest form of a product's right operand: words as they lie, panels, or recoded panels."""
    return FORMS[lib.bl_product_form(variant, kernel.encode(), rows, k, words, n, once)]


class _Operand:
    """The panels of an operand, and the same recoded, made at the first product that has the rows to be worth it."""

    def __init__(self, kernel, variant, panels, rows):
        self.kernel, self.variant, self.panels, self.once = kernel, variant, panels, rows is not None
        # What chooses between tiles and counted bits recodes for the second variant.
        self.recoding = 1 if variant == lib.BL_CHOICE else variant
        #: By the rows of a product: whether it runs on recoded columns.
        self.known, self._columns = {}, None

    def recodes(self, rows, k, words, n):
        """Whether a product of so many rows runs on recoded columns; the other sizes are the operand's own."""
        found = self.known.get(rows)
        if found is None:
            form = product_form(self.variant, self.kernel, rows, k, words, n, self.once)
            found = self.known[rows] = form == "recoded"
        return found

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


def _matmul(a, n, out):
    return a.shape[0], out.shape[1], a.shape[1], n


def _matmul_sign(a, n, threshold, out):
    return a.shape[0], len(threshold), a.shape[1], n


def _planes_matmul(split, n, accumulate, out):
    m, bits, words = split.shape
    return m * bits, out.shape[1], words, n


def _conv2d(x, kernel, n, stride, padding, pad_value, out):
    return math.prod(out.shape[:3]), out.shape[3], math.prod(kernel) * x.shape[3], math.prod(kernel) * n


def _conv2d_sign(x, kernel, n, stride, padding, pad_value, threshold, out):
    return math.prod(out.shape[:3]), len(threshold), math.prod(kernel) * x.shape[3], math.prod(kernel) * n


def _planes_scratch(split, rows, words):
    return lib.bl_planes_scratch(split.shape[0], split.shape[1], words)


def _rows_scratch(a, rows, words):
    return recoded_scratch(rows, words)


def _bind(kernel, arguments, sizes, scratch, takes_panels, variant, panels, rows=None):
    """Return a kernel on panels with its panels bound, for products of `rows` rows, or for as many as may come.

    ``product.call(arguments, threads)`` returns the kernel that runs such a product, and the arguments for it.
    """
    operand = _Operand(kernel, variant, panels, rows)
    on_panels = called(f"{kernel}_panels", variant, arguments[0])
    on_columns = called(f"{kernel}_recoded", operand.recoding, arguments[1])

    def call(given, threads=1):
        left, *rest = given
        m, k, words, n = sizes(*given)
        if not operand.recodes(m, k, words, n):
            return on_panels, (left, panels, *rest)
        right = (panels, operand.columns(k, words)) if takes_panels else (operand.columns(k, words),)
        room = np.empty((threads, scratch(left, m, words)), dtype=np.uint8)
        return on_columns, (left, *right, *rest[:-1], room, rest[-1])

    def product(*given):
        function, whole = call(given)
        function(*whole)

    product.call, product.nbytes = call, operand.nbytes
    if kernel == "xnor_matmul":
        return _at_once(operand, product)
    return product


def _at_once(operand, product):
    """Written out, with all looked up ahead that can be: a product of one row takes less time than a few look-ups."""
    call, buffer, variant, held = lib.bl_xnor_matmul_panels, ffi.from_buffer, operand.variant, pointer(operand.panels)
    known = operand.known

    def multiply(a, n, out):
        m, words = a.shape
        if known.get(m) is False:
            call(variant, buffer(WORDS, a), held, m, out.shape[1], words, n, buffer(BYTES, out, True), CODES[out.dtype])
        else:
            product(a, n, out)

    multiply.call, multiply.nbytes = product.call, product.nbytes
    return multiply


def _binder(kernel, *rest):
    on_panels = f"{kernel}_panels"
    arguments = of_table({on_panels: TABLE[on_panels]})[on_panels], ARGUMENTS[f"{kernel}_recoded"]
    return partial(_bind, kernel, arguments, *rest)


#: For each kernel that can look at its panels ahead: how, called with the variant, the panels and the rows.
BINDERS = {
    "xnor_matmul_panels": _binder("xnor_matmul", _matmul, _rows_scratch, False),
    "xnor_matmul_sign_panels": _binder("xnor_matmul_sign", _matmul_sign, _rows_scratch, False),
    "planes_matmul_panels": _binder("planes_matmul", _planes_matmul, _planes_scratch, True),
    "xnor_conv2d_panels": _binder("xnor_conv2d", _conv2d, _rows_scratch, True),
    "xnor_conv2d_sign_panels": _binder("xnor_conv2d_sign", _conv2d_sign, _rows_scratch, True),
}
