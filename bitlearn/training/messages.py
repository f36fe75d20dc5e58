"""Messages of data-parallel training: a kind, a few values and arrays, and nothing executable.

A message is one byte for the kind, four for the length of a header, the header (a JSON object whose ``arrays`` are
pairs of a type and a shape), and the arrays, little-endian, in C order, end to end.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_PREFIX = struct.Struct("<cI")


def packed(kind: bytes, arrays: Sequence[np.ndarray] = (), values: Mapping[str, Any] | None = None) -> bytes:
    """Return a message.

    Parameters
    ----------
    kind : bytes
        One byte.
    arrays : sequence of ndarray
    values : mapping of str to object, optional
        Values that JSON can hold.

    Returns
    -------
    bytes
    """
    found = [np.asarray(each, order="C") for each in arrays]
    header = dict(values or {}) | ({"arrays": [(a.dtype.str, a.shape) for a in found]} if found else {})
    text = json.dumps(header, separators=(",", ":")).encode() if header else b""
    return b"".join([_PREFIX.pack(kind, len(text)), text, *(each.tobytes() for each in found)])


def unpacked(message: bytes) -> tuple[bytes, list[np.ndarray], dict[str, Any]]:
    """Return the kind of a message, its arrays (views of it) and its values.

    Parameters
    ----------
    message : bytes

    Returns
    -------
    kind : bytes
    arrays : list of ndarray
    values : dict of str to object

    Raises
    ------
    ValueError
        If it is not a message.

    Examples
    --------
    >>> unpacked(packed(b"p", [np.arange(2, dtype=np.int32)], {"how": "sum"}))
    (b'p', [array([0, 1], dtype=int32)], {'how': 'sum'})
    """
    if len(message) < _PREFIX.size:
        raise ValueError(f"a message must have at least {_PREFIX.size} bytes, got {len(message)}")
    kind, length = _PREFIX.unpack_from(message)
    try:
        text = message[_PREFIX.size : _PREFIX.size + length]
        values: dict[str, Any] = json.loads(text) if length else {}
        types = [(np.dtype(dtype), tuple(map(int, shape))) for dtype, shape in values.pop("arrays", [])]
        if any(dtype.hasobject or min(shape, default=0) < 0 for dtype, shape in types):
            raise ValueError("it names no arrays")
        at, arrays = _PREFIX.size + length, []
        for dtype, shape in types:
            arrays.append(np.frombuffer(message, dtype, math.prod(shape), at).reshape(shape))
            at += arrays[-1].nbytes
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"a message must describe its bytes, got one that does not: {error}") from None
    if at != len(message):
        raise ValueError(f"a message must have the {at} bytes that it describes, got {len(message)}")
    return kind, arrays, values
