"""How the arguments of a kernel are made from its sizes: by default from what the table declares of them.

Where values have to fit each other or a limit, a function of ``operands_*.py`` makes them by hand, under `operands`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from cases import MATRICES, PRODUCTS, bits, star
from guards import filled

from bitlearn.backends.table import Array, Kernel
from bitlearn.bits import WORD
from bitlearn.panels import panel_words, to_panels


@dataclass(frozen=True)
class Operands:
    """How the arguments of a kernel are made: ``make(rng, size, dtype)``, for each of `sizes` and `dtypes`."""

    make: Callable[..., tuple]
    sizes: list
    dtypes: tuple = (None,)


#: Those that are made by hand, by the kernel's name.
BY_HAND: dict[str, Operands] = {}


def operands(sizes: list, dtypes: tuple = (None,)) -> Callable:
    """Return a decorator for a function that makes the arguments of the kernel that it is named after."""

    def enter(make: Callable[..., tuple]) -> Callable[..., tuple]:
        BY_HAND[make.__name__] = Operands(make, sizes, dtypes)
        return make

    return enter


def panels(words: np.ndarray) -> np.ndarray:
    """Return rows of words as column panels, one row for each index of the first axis."""
    rows = words.reshape(len(words), int(np.prod(words.shape[1:])))
    out = np.empty(panel_words(*rows.shape), dtype=WORD)
    to_panels(rows, out)
    return out


def _numbers(rng, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Any integers, those of int64 as float64 holds them; floats of many magnitudes, and zeros."""
    dtype = np.dtype(kind)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "f":
        values = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4, size=shape)
        for special in (0.0, -0.0, 1.0, -1.0):
            values[rng.random(shape) < 0.03] = special
        return values.astype(dtype)
    info = np.iinfo(dtype)
    low, high = (info.min, info.max) if kind != "int64" else (-(2**53), 2**53)
    values = rng.integers(low, high, size=shape, dtype=dtype, endpoint=True)
    for special in (low, high, 0):
        values[rng.random(shape) < 0.05] = special
    return values


def _array(rng, array: Array, kind: str, sizes: dict[str, int], each: bool, present: bool) -> np.ndarray:
    shape = array.shape(kind, sizes, each)
    if not present:
        return np.empty((0, *shape[1:]), dtype=WORD if kind == "bits" else kind)
    if kind == "panels":
        return panels(bits(rng, *(sizes[name] for axis in array.axes for name in axis)))
    if kind == "bits":
        return bits(rng, *shape[:-1], sizes[array.axes[-1][0]])
    return _numbers(rng, kind, shape)


def _choices(row: Kernel) -> dict[tuple[str, str], tuple]:
    """What may differ in the arguments of a kernel beside their sizes: types, axes, presence and values."""
    found: dict[tuple[str, str], tuple] = {}
    for name, array in row.arrays.items():
        if array.by is None and len(array.types) > 1:
            found[name, "type"] = array.types
        if any(len(axis) > 1 for axis in array.axes):
            found[name, "each"] = (True, False)
        if array.optional:
            found[name, "present"] = (True, False)
    return found | {(name, "value"): values for name, values in row.values.items()}


def declared(row: Kernel) -> Operands:
    """Return how the arguments of a kernel are made from what the table declares of them.

    A `dtype` holds a choice for each of them that there is: of a type, of an axis that may be 1...
    """
    choices, written = _choices(row), {row.parameters[position] for position in row.writes}

    def make(rng, size, dtype):
        sizes, chosen, kinds = dict(zip(row.sizes, size, strict=True)), dict(zip(choices, dtype, strict=True)), {}
        arguments: list[object] = []
        for name in row.parameters:
            array = row.arrays.get(name)
            if array is None:
                arguments.append(sizes[name] if name in sizes else chosen[name, "value"])
                continue
            if array.by is None:
                kinds[name] = chosen.get((name, "type"), array.types[0])
            else:
                kinds[name] = array.types[row.arrays[array.by].types.index(kinds[array.by])]
            each, present = chosen.get((name, "each"), True), chosen.get((name, "present"), True)
            if name in written:
                kind = kinds[name]
                dtype_of_it = WORD if kind in ("bits", "panels") else np.dtype(kind)
                arguments.append(filled(array.shape(kind, sizes, each), dtype_of_it))
            else:
                arguments.append(_array(rng, array, kinds[name], sizes, each, present))
        return tuple(arguments)

    usual = {1: star(70), 2: MATRICES, 3: PRODUCTS}
    return Operands(make, usual.get(len(row.sizes), []), tuple(product(*choices.values())))
