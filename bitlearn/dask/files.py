"""Arrays that lie in files, as `dask.array`: each chunk is read where it is worked on.

Zarr's stores need nothing of this: ``da.from_zarr(path)`` and ``words.to_zarr(path)``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.dask.arrays import rows_of
from bitlearn.files import atomic_write
from bitlearn.ops import check

_PART = "part-{:05d}.parquet"
_COLUMN, _ABOUT = "words", b"bitlearn"


class _Rows:
    """An array in a file, as `da.from_array` reads one: the file is opened where a chunk is wanted."""

    def __init__(self, path: str):
        self.path = path
        found = self._open()
        self.shape, self.dtype, self.ndim = found.shape, found.dtype, found.ndim

    def _open(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.array(self._open()[key])


def from_npy(path: str | os.PathLike[str], rows: int) -> Any:
    """Return an array from a file of `numpy.save`, in chunks of rows.

    Parameters
    ----------
    path : path-like
        Where the workers find it too.
    rows : int
        Of a chunk.

    Returns
    -------
    dask array

    Examples
    --------
    >>> import tempfile
    >>> import bitlearn as bl
    >>> path = Path(tempfile.mkdtemp(), "words.npy")
    >>> np.save(path, bl.pack(np.ones((5, 70))))
    >>> words = from_npy(path, 2)
    >>> words.chunks, words.dtype
    (((2, 2, 1), (2,)), dtype('uint64'))
    """
    check.count("rows", rows, least=1)
    found = _Rows(os.path.abspath(path))
    if not found.ndim:
        raise ValueError(f"path must hold an array with rows, got a single value in {path}")
    return da.from_array(found, chunks=(rows, *(-1,) * (found.ndim - 1)), name=None, meta=np.empty((0,), found.dtype))


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"Parquet files need pyarrow, got none: {error}; pip install pyarrow") from None
    return pyarrow.parquet


def _files(path: str | os.PathLike[str]) -> list[str]:
    whole = Path(os.path.abspath(path))
    found = sorted(map(str, whole.glob("*.parquet"))) if whole.is_dir() else [str(whole)]
    if not found:
        raise FileNotFoundError(f"path must be a Parquet file or a folder of them, got no file in {path}")
    return found


def from_parquet(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Any:
    """Return columns of numbers in Parquet files as an array, a chunk for each row group.

    Parameters
    ----------
    path : path-like
        A file, or a folder of files, read in the order of their names. The workers must find it there too.
    columns : sequence of str, optional
        All by default. They become one array, of a type that can hold them all.

    Returns
    -------
    dask array, shape (rows, columns)
        Values for `pack`, with suitable thresholds.

    Raises
    ------
    ValueError
        If a column is missing, or does not hold numbers; missing values are found when a chunk is read.
    ImportError
        If pyarrow is missing.
    """
    parquet = _parquet()
    groups, dtype, names = [], None, None if columns is None else list(columns)
    for file in _files(path):
        opened = parquet.ParquetFile(file)
        schema = opened.schema_arrow
        names = names or schema.names
        for name in names:
            if name not in schema.names:
                raise ValueError(f"columns must be in every file, got {name!r}, which {file} lacks")
        kinds = [_number(schema.field(name).type, name) for name in names]
        dtype = np.result_type(*kinds, *([] if dtype is None else [dtype]))
        groups += [(file, i, opened.metadata.row_group(i).num_rows) for i in range(opened.num_row_groups)]
    assert names is not None and dtype is not None
    parts = [
        da.from_delayed(dask.delayed(_group)(file, i, names, dtype), (rows, len(names)), dtype)
        for file, i, rows in groups
    ]
    return da.concatenate(parts) if parts else da.zeros((0, len(names)), dtype)


def _number(kind: Any, name: str) -> np.dtype:
    found = np.dtype(kind.to_pandas_dtype())
    if found.kind not in "iufb":
        raise ValueError(f"columns must hold numbers, got {name!r} of {kind}")
    return found


def _group(file: str, number: int, names: list[str], dtype: np.dtype) -> np.ndarray:
    found = _parquet().ParquetFile(file).read_row_group(number, columns=names)
    for name in names:
        if found[name].null_count:
            raise ValueError(f"columns must have no missing values, got some in {name!r} of {file}")
    return np.stack([found[name].to_numpy() for name in names], axis=1).astype(dtype, copy=False)


def to_parquet(words: Any, n: int, folder: str | os.PathLike[str]) -> list[str]:
    """Write packed rows to Parquet, a file for each chunk: a column of fixed-size binary values, little-endian.

    Parameters
    ----------
    words : dask array of uint64, shape (rows, words)
    n : int
        How many values a row holds.
    folder : path-like
        It must exist, on the workers too.

    Returns
    -------
    list of str
        The paths, in order. A file appears whole or not at all: a full disk raises an `OSError`.

    Raises
    ------
    FileExistsError
        If the folder has files other than these chunks.
    """
    n = check.count("n", n)
    found = rows_of("words", words, n)
    _parquet()
    where = Path(os.path.abspath(folder))
    if not where.is_dir():
        raise FileNotFoundError(f"folder must exist, got {folder}")
    names = [_PART.format(i) for i in range(found.numblocks[0])]
    others = sorted({path.name for path in where.glob("*.parquet")} - set(names))
    if others:
        raise FileExistsError(f"folder must have no other Parquet files, got {others[0]} in {folder}")
    blocks = found.to_delayed().reshape(-1)
    tasks = [dask.delayed(_write)(block, n, str(where / name)) for block, name in zip(blocks, names, strict=True)]
    return list(dask.compute(*tasks))


def _write(words: np.ndarray, n: int, path: str) -> str:
    import pyarrow as pa

    rows, count = words.shape
    data = pa.py_buffer(np.ascontiguousarray(words, dtype="<u8"))
    column = pa.Array.from_buffers(pa.binary(8 * count), rows, [None, data])
    schema = pa.schema([pa.field(_COLUMN, column.type)], {_ABOUT: json.dumps({"n": n})})
    with atomic_write(path) as stream:
        _parquet().write_table(pa.Table.from_arrays([column], schema=schema), stream)
    return path


def words_from_parquet(path: str | os.PathLike[str]) -> tuple[Any, int]:
    """Return packed rows written by `to_parquet`.

    Parameters
    ----------
    path : path-like
        The folder, or a file of it.

    Returns
    -------
    words : dask array of uint64, shape (rows, words)
        A chunk for each row group.
    n : int
        How many values a row holds.

    Raises
    ------
    ValueError
        If a file is not one of those, or its rows have another length. Bits past the last value are checked when a
        chunk is read.
    """
    parquet = _parquet()
    groups, counts = [], {}
    for file in _files(path):
        opened = parquet.ParquetFile(file)
        try:
            n = json.loads((opened.schema_arrow.metadata or {})[_ABOUT])["n"]
            width = opened.schema_arrow.field(_COLUMN).type.byte_width
            if not isinstance(n, int) or n < 0 or width != 8 * words_for(n):
                raise ValueError
        except (KeyError, ValueError, TypeError, AttributeError):
            raise ValueError(f"a file must hold packed words with their n, got {file}") from None
        counts[n] = file
        groups += [(file, i, opened.metadata.row_group(i).num_rows) for i in range(opened.num_row_groups)]
    if len(counts) > 1:
        raise ValueError(f"all files must hold rows of as many values, got {' and '.join(map(str, sorted(counts)))}")
    (n,) = counts
    shapes = [(file, i, (rows, words_for(n))) for file, i, rows in groups]
    parts = [da.from_delayed(dask.delayed(_words)(file, i, shape, n), shape, WORD) for file, i, shape in shapes]
    return da.concatenate(parts) if parts else da.zeros((0, words_for(n)), WORD), n


def _words(file: str, number: int, shape: tuple[int, int], n: int) -> np.ndarray:
    column = _parquet().ParquetFile(file).read_row_group(number, columns=[_COLUMN])[_COLUMN]
    if column.null_count:
        raise ValueError(f"packed words must be there in every row, got rows without in {file}")
    found = np.empty(shape, "<u8")
    at = 0
    for chunk in column.chunks:
        buffer = np.frombuffer(chunk.buffers()[1], "<u8", shape[1] * len(chunk), 8 * shape[1] * chunk.offset)
        found[at : at + len(chunk)] = buffer.reshape(-1, shape[1])
        at += len(chunk)
    rest = n % 64
    if rest and (found[:, -1] >> np.uint64(rest)).any():
        raise ValueError(f"bits past the last of {n} values must be zero, got others in {file}")
    return found.astype(WORD, copy=False)
