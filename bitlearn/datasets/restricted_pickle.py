"""Dictionaries of uint8 arrays from a pickle, without running anything that the pickle asks for.

CIFAR's Python version is a set of pickles, and a pickle can call any function. Here the few globals that its files need
are answered by inert stand-ins of this module, and every other one is refused.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np


class _Dtype:
    """Stands in for ``numpy.dtype``: called with (name, align, copy), then given its byte order, which is ignored."""

    def __init__(self, name: str | bytes, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """Stands in for ``numpy.ndarray`` and what rebuilds it: made empty, then given its content."""

    values: np.ndarray | None = None

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran_order, content = state
        if not isinstance(dtype, _Dtype) or dtype.name not in ("u1", b"u1"):
            raise pickle.UnpicklingError("arrays must be uint8")
        self.values = np.frombuffer(content, dtype=np.uint8).reshape(shape, order="F" if fortran_order else "C")


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for ``_codecs.encode``, by which Python 3 writes bytes in the pickles of Python 2."""
    if encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("bytes must be encoded as latin1")
    return text.encode("latin1")


_GLOBALS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a file of arrays does not need")
        return _GLOBALS[module, name]


def read_dict(content: bytes, where: str) -> dict[str, Any]:
    """Return the dictionary that a pickle holds, its byte-string keys as strings and its arrays as uint8 arrays.

    Parameters
    ----------
    content : bytes
    where : str
        The file's name, for errors.

    Raises
    ------
    ValueError
        Where the pickle is truncated or corrupt, is not of a dictionary, or asks for anything but uint8 arrays.

    Examples
    --------
    >>> read_dict(pickle.dumps({b"labels": [3, 1]}), "batch")
    {'labels': [3, 1]}
    >>> read_dict(pickle.dumps(print), "batch")
    Traceback (most recent call last):
    ...
    ValueError: batch cannot be read: it asks for builtins.print, which a file of arrays does not need
    """
    try:
        value = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a corrupt pickle raises anything, from IndexError to MemoryError
        raise ValueError(f"{where} cannot be read: {str(error) or type(error).__name__}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a pickled dictionary, got {type(value).__name__}")
    return {
        key.decode("latin1") if isinstance(key, bytes) else key: item.values if isinstance(item, _Array) else item
        for key, item in value.items()
    }
