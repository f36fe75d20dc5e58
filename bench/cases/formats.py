"""The packed format: to and from bits, counts, the transpose, and the layout of a prepared operand."""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller

import numpy as np

import bitlearn as bl

from . import Case, Shape, words

MEANING = "rows × n"
FORMS = {
    "pack": ("float32", "float64", "float16", "int8", "bool"),
    "unpack": ("int8",),
    "popcount": ("words",),
    "transpose_bits": ("words",),
    "pack_panels": ("words",),
}
_SMALL = ((1000, 1000),)
#: A call, what stays in the second cache, what stays in the last one, and what does not.
_FULL = ((1, 256), (64, 1024), (1000, 1000), (8192, 8192))
GRIDS = {
    "small": dict.fromkeys(FORMS, _SMALL),
    "full": dict.fromkeys(FORMS, _FULL) | {"pack_panels": ((256, 256), (1024, 1024), (4096, 4096))},
}


def takes(kernel: str, form: str, shape: Shape) -> bool:
    return True


def make(kernel: str, form: str, shape: Shape, rng: np.random.Generator) -> Case:
    rows, n = shape
    values = rng.standard_normal(size=shape, dtype=np.float32)
    bits = values >= 0
    packed = words(bits)
    operands = {"words": packed}
    call: Callable[[], object]
    read: Callable[[object], np.ndarray] = np.asarray
    if kernel == "pack":
        source = bits if form == "bool" else np.where(bits, values + 1, values - 1).astype(form)
        out = np.empty_like(packed)
        operands = {"values": source}
        call, expected = (lambda: bl.pack(source, out=out)), packed
    elif kernel == "unpack":
        call, expected = (lambda: bl.unpack(packed, n)), np.where(bits, 1, -1).astype(np.int8)
    elif kernel == "popcount":
        call, expected = (lambda: bl.popcount(packed)), bits.sum(axis=-1, dtype=np.int64)
    elif kernel == "transpose_bits":
        call, expected = (lambda: bl.transpose_bits(packed, n)), words(np.ascontiguousarray(bits.T))
    else:
        # Its layout may change with any release: what it holds is compared.
        call, expected, read = (lambda: bl.pack_weights(packed, n)), packed, methodcaller("words")
    return Case(kernel, form, shape, n, rows * n, "values", call, expected, operands, read)
