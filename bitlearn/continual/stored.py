"""The types and bytes of a replay memory's arrays, known before one is created."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from bitlearn.bits import WORD, words_for
from bitlearn.continual.reservoir import PRIORITY_BYTES, Reservoir
from bitlearn.errors import brief
from bitlearn.ops import check
from bitlearn.safetensors import Types

#: The types in which values of examples can be stored.
_KINDS = {"bits": WORD} | {name: np.dtype(name) for name in ("int8", "uint8", "float32")}


def kind_of(dtype: DTypeLike) -> str:
    """Return the name of a dtype that examples can have, or ``"bits"``.

    Raises
    ------
    ValueError
        If examples cannot have this dtype.

    Examples
    --------
    >>> kind_of("bits"), kind_of(np.uint8)
    ('bits', 'uint8')
    """
    if isinstance(dtype, str) and dtype == "bits":
        return dtype
    found = check.kind(dtype)
    if found is None or found.name not in _KINDS:
        raise ValueError(f"dtype must be one of {', '.join(_KINDS)}, got {brief(dtype)}")
    return found.name


def types(capacity: int, shape: tuple[int, ...], classes: int, dtype: DTypeLike = "bits") -> Types:
    """Return the shape and dtype of each array of a memory by name, as `arrays` returns them, to check files with.

    Parameters
    ----------
    capacity, shape, classes, dtype
        As for `ReplayBuffer`.

    Returns
    -------
    dict of str to (tuple of int, dtype)

    Examples
    --------
    >>> types(300, (4, 4, 512), 10)["examples"]
    ((300, 4, 4, 8), dtype('uint64'))
    """
    kind = kind_of(dtype)
    stored = (*shape[:-1], words_for(shape[-1])) if kind == "bits" else tuple(shape)
    return {"examples": ((capacity, *stored), _KINDS[kind])} | Reservoir.types(capacity, classes)


def size(capacity: int, shape: tuple[int, ...], classes: int, dtype: DTypeLike = "bits") -> int:
    """Return the `nbytes` that a memory would have.

    Parameters
    ----------
    capacity, shape, classes, dtype
        As for `ReplayBuffer`.

    Returns
    -------
    int

    Examples
    --------
    >>> size(300, (4, 4, 512), 10)
    308248
    """
    found = types(capacity, shape, classes, dtype).values()
    return sum(math.prod(of) * kind.itemsize for of, kind in found) + classes * PRIORITY_BYTES
