"""Named arrays in a file of the safetensors layout, which holds data and nothing that can run.

Eight bytes, the length of the header as a little-endian integer; the header, a JSON object that gives for each name
``{"dtype", "shape", "data_offsets"}`` and under ``"__metadata__"`` a map of strings; then the arrays, little-endian, in
C order, end to end. A file written here is read by the ``safetensors`` package, and the other way round.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from bitlearn.errors import sentence
from bitlearn.files import LIMITS, atomic_write, check_bytes, most_bytes, open_regular

#: Shape and dtype of arrays, by name.
Types = dict[str, tuple[tuple[int, ...], np.dtype]]

_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_METADATA = "__metadata__"
#: Integers of more digits do not fit 64 bits.
_MOST_DIGITS = 20


@dataclass(frozen=True)
class _Entry:
    """Where one array lies in the data, and what it is."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write named arrays and a map of strings to a safetensors file, whole or not at all.

    Parameters
    ----------
    path : path-like
    arrays : mapping of str to ndarray
        Booleans, integers of 8 to 64 bits or floats of 16 to 64 bits, of any shape and memory order.
    metadata : mapping of str to str

    Raises
    ------
    TypeError
        If a name or a metadata value is not a string, or an array has the wrong type.
    ValueError
        If an array is called ``"__metadata__"``, or the header would be longer than `LIMITS` allows.

    Notes
    -----
    The same arrays and metadata give the same bytes, in whatever order they come: arrays are sorted by item size, the
    widest first, and then by name, so that each lies at a multiple of its item size.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/a.safetensors", {"w": np.arange(3, dtype=np.int16)}, {"made": "by hand"})
    ...     read(f"{folder}/a.safetensors")
    ({'w': array([0, 1, 2], dtype=int16)}, {'made': 'by hand'})
    """
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata must map strings to strings, got {key!r}: {value!r}")
    little = {name: _little_endian(name, array) for name, array in arrays.items()}
    header: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    names = sorted(little, key=lambda name: (-little[name].itemsize, name))
    for name in names:
        array = little[name]
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > LIMITS.header_bytes:
        raise ValueError(f"the names and metadata must take at most {LIMITS.header_bytes} bytes, got {len(encoded)}")
    with atomic_write(path) as stream:
        stream.write(len(encoded).to_bytes(8, "little"))
        stream.write(encoded)
        for name in names:
            stream.write(little[name].reshape(-1).view(np.uint8))


def _little_endian(name: str, array: np.ndarray) -> np.ndarray:
    """Return the array as it is stored, or raise where it cannot be."""
    if not isinstance(name, str):
        raise TypeError(f"names of arrays must be strings, got {name!r}")
    if name == _METADATA:
        raise ValueError(f"an array cannot be called {_METADATA!r}, which is the metadata's name")
    array = np.asarray(array)
    stored = array.dtype.newbyteorder("<")
    if stored not in _NAMES:
        raise TypeError(f"array {name!r} must be of booleans, integers or floats up to 64 bits, got {array.dtype}")
    return np.asarray(array, dtype=stored, order="C")


def read(
    path: str | os.PathLike[str], accept: Callable[[Types, dict[str, str]], None] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a safetensors file.

    Parameters
    ----------
    path : path-like
    accept : callable, optional
        ``accept(types, metadata)`` is told what the file says that it holds, and may raise, before any array is made.

    Returns
    -------
    arrays : dict of str to ndarray
        In the order of their data, writeable and in the machine's byte order.
    metadata : dict of str to str

    Raises
    ------
    ValueError
        If it is not a regular file, or breaks the layout in any way: header, types, shapes, offsets, a hole, an
        overlap, a byte too few or too many, a boolean other than 0 and 1.

    Notes
    -----
    The header is checked against the file's size before any array is allocated, so the arrays of a corrupt file never
    take more memory than the file. Types that NumPy lacks (bfloat16, 8-bit floats) are rejected.
    """
    with open_regular(path) as stream:
        with _damage_named(path):
            entries, metadata = _read_header(stream, os.fstat(stream.fileno()).st_size)
        if accept is not None:
            accept({entry.name: (entry.shape, entry.dtype.newbyteorder("=")) for entry in entries}, metadata)
        with _damage_named(path):
            return {entry.name: _read_array(stream, entry) for entry in entries}, metadata


@contextmanager
def _damage_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file of whatever is wrong in it, NumPy's own limits on shapes among that."""
    try:
        yield
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)} is not a valid safetensors file: {sentence(error)}") from error


def strict_json(text: str) -> Any:
    """Return the value of a JSON text that every reader reads alike.

    Parameters
    ----------
    text : str

    Raises
    ------
    ValueError
        If it is no JSON, gives a name twice, or has a number that is NaN, infinite or an integer past 64 bits.

    Examples
    --------
    >>> strict_json('{"a": NaN}')
    Traceback (most recent call last):
    ...
    ValueError: its numbers must be finite, got NaN
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite, parse_int=_integer)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"its numbers must be finite, got {text}")
    return number


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"its integers must have at most {_MOST_DIGITS} digits, got {len(text)}")
    return int(text)


def _read_header(stream: BinaryIO, size: int) -> tuple[list[_Entry], dict[str, str]]:
    """Read and check everything before the data; the entries come in the order of their data."""
    check_bytes(size, most_bytes(stream), "it")
    if size < 8:
        raise ValueError(f"it must hold at least 8 bytes, got {size}")
    length = int.from_bytes(stream.read(8), "little")
    most = min(size - 8, LIMITS.header_bytes)
    if length > most:
        raise ValueError(f"its header must take at most {most} bytes, got a length of {length}")
    encoded = stream.read(length)
    if not encoded.startswith(b"{"):
        raise ValueError(f"its header must start with '{{', got {encoded[:1]!r}")
    try:
        header = strict_json(encoded.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"its header must be JSON in UTF-8 ({error})") from error
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata must map strings to strings")
    entries = [_entry(name, fields) for name, fields in header.items()]
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    reached = 0
    for entry in entries:
        if entry.begin != reached:
            raise ValueError(f"array {entry.name!r} must begin at byte {reached} of the data, got {entry.begin}")
        reached = entry.end
    if reached != size - 8 - length:
        raise ValueError(f"its arrays must cover the {size - 8 - length} bytes of data, got {reached} bytes of arrays")
    return entries, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object's dictionary, and reject a key that comes twice."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("its header must not give a name twice")
    return result


def _is_size(value: object) -> bool:
    """Whether a JSON value is a non-negative integer (True is not) that a file's size can reach."""
    return type(value) is int and 0 <= value < 2**63


def _entry(name: str, fields: Any) -> _Entry:
    """Check one array's fields by themselves."""
    if not isinstance(fields, dict) or set(fields) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"array {name!r} must have a dtype, a shape and data_offsets, and nothing else")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"array {name!r} must have one of the dtypes {', '.join(_DTYPES)}, got {dtype!r}")
    # 64 dimensions are the most that NumPy has, and bound the product below.
    if not isinstance(shape, list) or len(shape) > 64 or not all(map(_is_size, shape)):
        raise ValueError(f"array {name!r} must have a shape of at most 64 non-negative integers")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise ValueError(f"array {name!r} must have two non-negative integers as data_offsets")
    begin, end = offsets
    expected = math.prod(shape) * _DTYPES[dtype].itemsize
    if end - begin != expected:
        raise ValueError(f"array {name!r} must take {expected} bytes, got data_offsets from {begin} to {end}")
    return _Entry(name, _DTYPES[dtype], tuple(shape), begin, end)


def _read_array(stream: BinaryIO, entry: _Entry) -> np.ndarray:
    """Read the next array of the data."""
    array = np.empty(entry.shape, dtype=entry.dtype)
    content = array.reshape(-1).view(np.uint8)
    if stream.readinto(memoryview(content)) != array.nbytes:  # type: ignore[attr-defined]
        raise ValueError(f"array {entry.name!r} must take {array.nbytes} bytes, but the file has ended")
    if entry.dtype == np.bool_ and (content > 1).any():
        raise ValueError(f"array {entry.name!r} of booleans must hold bytes 0 and 1, got {content.max()}")
    return array.astype(entry.dtype.newbyteorder("="), copy=False)
