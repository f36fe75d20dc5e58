"""Tiny arguments of every kernel, once for each set of types that it is usually called with: what a warm-up runs.

They are made from what the table of kernels declares: every size is 1, integers are 0 and floats 1. Where several
arrays may have several types, the first of each go together, then the second of each, and so on, up to the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bitlearn.backends.table import TABLE, Kernel

_BEHIND_NORM = {"d": "int8 int8 int16", "x": "int16 int32 bits"}
_BEHIND_ANY_NORM = {"d": "int8 int8 int16 int8", "x": "int16 int32 bits float32"}
_SUMS = "int16 int32 float32 int16 int32 float32"
_LAYOUTS = "bits bits bits panels panels panels"
_OF_UPDATE = {"g": "float32 int32 bits", "weight": "float32 float32 uint16"}
#: What goes together in kernels whose types are seldom all used, or used in another order.
_USUAL = {
    "pack": {"x": "bool int8 float32 float64"},
    "unpack": {"out": "int8 float32"},
    "hamming": {"b": _LAYOUTS, "out": _SUMS},
    "xnor_matmul": {"b": _LAYOUTS, "out": _SUMS},
    "xnor_conv2d": {"w": _LAYOUTS, "out": _SUMS},
    "copy": {"x": "int8 int16 float32"},
    "all_finite": {"x": "float32"},
    "pack_finite": {"x": "float32"},
    "largest_magnitude": {"x": "float32 int8 int16 int32 int64"},
    "quantize_linear": {
        "x": "float32 float32 int8 int8 int16 int16 int32 int32 int64 int64",
        "out": "int8 int16 int8 int16 int8 int16 int8 int16 int8 int16",
    },
    "narrow": {"x": "int8 int16", "out": "int8"},
    "integer_product": {"g": "int8 int16", "w": "int8"},
    "max_pool_gradient": {"out": "int8 int16 float32"},
    "gradient_sums": _BEHIND_NORM,
    "norm_gradient_peak": _BEHIND_ANY_NORM,
    "norm_gradient": _BEHIND_ANY_NORM,
    "adam_update": _OF_UPDATE | {"mean": "float32"},
    "sgd_update": _OF_UPDATE | {"moment": "float32"},
    "descent_update": _OF_UPDATE,
    "bop_update": _OF_UPDATE | {"moment": "float32"},
    "quantized_update": {"g": "float32 int32 int64 int32", "weight": "float32 int8 int16 float32"},
}
#: What an argument is that has no value in the table and is no size: the only row is the first, and of one.
_NUMBERS = {"first": 0}


def _array(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    dtype = np.dtype("uint64" if kind in ("bits", "panels") else kind)
    return np.ones(shape, dtype) if dtype.kind == "f" else np.zeros(shape, dtype)


def _calls(row: Kernel) -> Iterator[tuple[Any, ...]]:
    """Yield arguments of a kernel."""
    sizes = dict.fromkeys(row.sizes, 1)
    types = {name: array.types for name, array in row.arrays.items() if array.by is None}
    types |= {name: tuple(some.split()) for name, some in _USUAL.get(row.name, {}).items()}
    for index in range(max(map(len, types.values()))):
        kinds = {name: some[min(index, len(some) - 1)] for name, some in types.items()}
        arguments: list[Any] = []
        for name in row.parameters:
            array = row.arrays.get(name)
            if array is None:
                arguments.append(row.values[name][0] if name in row.values else _NUMBERS.get(name, 1))
                continue
            if array.by is not None:
                kinds[name] = array.types[row.arrays[array.by].types.index(kinds[array.by])]
            shape = array.shape(kinds[name], sizes)
            arguments.append(_array(kinds[name], (0, *shape[1:]) if array.optional else shape))
        yield tuple(arguments)


def usual_calls() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield a kernel's name and tiny arguments, once for each set of types that it is usually called with."""
    for name, row in TABLE.items():
        for arguments in _calls(row):
            yield name, arguments
