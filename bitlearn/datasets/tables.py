"""Tables: CSV files, and Parquet where pandas reads it; a column has the labels, the others are features."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from bitlearn.datasets.split import holdout
from bitlearn.errors import brief, sentence
from bitlearn.files import check_bytes, most_bytes, open_regular

_TEST_FRACTION = 0.2
#: Names by which a column is taken for the labels where none is named.
_USUAL = ("label", "target", "class", "y")


def read(path: Path, label: str | None = None) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """Return the features of a table, and its labels.

    Parameters
    ----------
    path : Path
        A ``.csv`` file, or ``.tsv`` with tabs, in UTF-8; ``.parquet`` where pandas and a reader of it are installed.
        A first line that holds no number is taken for the names of the columns; else they are named by number.
    label : str, optional
        The column of the labels; by default one named label, target, class or y, if there is one, whatever its case.

    Returns
    -------
    names : list of str
        Of the features' columns.
    x : ndarray of float32, shape (rows, features)
    y : ndarray or None
        int64 where all are integers, else text; None where there is no column of labels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If rows have different lengths, a feature is no finite number, or there is no column of that name: naming
        the row and the column.
    ImportError
        For Parquet without pandas.
    """
    names, columns = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    if label is None:
        label = next((name for name in names if name.lower() in _USUAL), None)
    elif label not in names:
        raise ValueError(f"{path} must have a column {label!r} of labels, got {brief(names)}")
    features = [name for name in names if name != label]
    if not features or not len(columns[0]):
        raise ValueError(
            f"{path} must have rows with at least one feature, got {len(columns[0]) if columns else 0} rows"
        )
    x = np.empty((len(columns[0]), len(features)), dtype=np.float32)
    for at, name in enumerate(features):
        x[:, at] = _numbers(columns[names.index(name)], name, path)
    return features, x, None if label is None else _labels(columns[names.index(label)], label, path)


def load(path: Path, label: str | None, seed: int) -> tuple[Any, ...]:
    """Return training and test data with integer labels, and the labels' names; a fifth of every class is held out."""
    names, x, y = read(path, label)
    if y is None:
        raise ValueError(f"{path} must have a column of labels, named by label=..., got only {brief(names)}")
    classes, outputs = np.unique(y, return_inverse=True)
    train, test = holdout(outputs, _TEST_FRACTION, seed)
    return x[train], outputs[train], x[test], outputs[test], tuple(classes.tolist())


def _csv(path: Path) -> tuple[list[str], list[Any]]:
    with open_regular(path) as stream:
        check_bytes(stream.seek(0, io.SEEK_END), most_bytes(stream), path)
        stream.seek(0)
        try:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            rows = [row for row in csv.reader(text, delimiter="\t" if path.suffix == ".tsv" else ",") if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} must be a table in CSV, got what fails with {sentence(error)}") from None
    if not rows:
        raise ValueError(f"{path} must have rows, got an empty file")
    named = not any(_is_number(cell) for cell in rows[0])
    names = [cell.strip() for cell in rows[0]] if named else [str(at) for at in range(len(rows[0]))]
    if len(set(names)) < len(names):
        raise ValueError(f"{path} must have columns of different names, got {brief(names)}")
    for number, row in enumerate(rows[named:], 1 + named):
        if len(row) != len(names):
            raise ValueError(f"{path} must have {len(names)} cells in each row, got {len(row)} in line {number}")
    return names, [[row[at] for row in rows[named:]] for at in range(len(names))]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parquet(path: Path) -> tuple[list[str], list[Any]]:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("Parquet files need pandas and pyarrow: pip install 'bitlearn-xnor[data]'") from error
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise ImportError("Parquet files need pandas and pyarrow: pip install 'bitlearn-xnor[data]'") from error
    except Exception as error:  # each engine has errors of its own
        raise ValueError(f"{path} must be a Parquet file, got what fails with {sentence(error)}") from None
    return [str(name) for name in frame.columns], [frame[name].to_numpy() for name in frame.columns]


def _numbers(cells: Any, name: str, path: Path) -> np.ndarray:
    with np.errstate(over="ignore"):
        try:
            found = np.asarray(cells, dtype=np.float64).astype(np.float32)
        except (ValueError, TypeError):
            at = next(at for at, cell in enumerate(cells) if not _is_number(str(cell)))
            raise ValueError(
                f"{path} must hold numbers as {name!r}, got {brief(cells[at])} in row {at + 1} of its data: drop the "
                "column, or code its values as numbers"
            ) from None
    if not np.isfinite(found).all():
        at = int(np.flatnonzero(~np.isfinite(found))[0])
        raise ValueError(
            f"{path} must hold finite numbers as {name!r}, got {brief(cells[at])} in row {at + 1} of its data"
        )
    return found


def _labels(cells: Any, name: str, path: Path) -> np.ndarray:
    texts = [str(cell).strip() for cell in cells]
    if "" in texts:
        raise ValueError(f"{path} must hold a label in each row as {name!r}, got none in row {texts.index('') + 1}")
    try:
        found = np.array([int(text) for text in texts], dtype=np.int64)
    except (ValueError, OverflowError):
        found = np.array(texts)
    return found
