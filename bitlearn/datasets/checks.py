"""What users have, as arrays: a sentence says what is wrong with what is none."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.errors import brief


def array(name: str, x: Any) -> np.ndarray:
    """Return what a user has as an array of real numbers: an array, nested lists, a data frame.

    Raises
    ------
    TypeError
        If it holds anything but numbers, naming a column that does not where it is a data frame.
    ValueError
        If rows have different lengths.
    """
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked one: fill its gaps by x.filled(value)")
    if type(x).__name__ in ("csr_matrix", "csc_matrix", "csr_array", "csc_array", "coo_matrix", "coo_array"):
        raise TypeError(f"{name} must be dense, got a sparse {type(x).__name__}: x.toarray() makes it so")
    columns = getattr(x, "dtypes", None)  # of a data frame
    if columns is not None and hasattr(columns, "items"):
        wrong = [column for column, kind in columns.items() if getattr(kind, "kind", "O") not in "biuf"]
        if wrong:
            raise TypeError(
                f"{name} must hold numbers, got column {brief(wrong[0])} of {columns[wrong[0]]}: drop it, or code it "
                "by pandas.get_dummies"
            )
    try:
        found = np.asarray(x)
    except ValueError:
        raise ValueError(f"{name} must have rows of one length, got {brief(x)}") from None
    if found.dtype.kind == "O" and found.size and all(isinstance(each, (int, float)) for each in found.flat):
        found = found.astype(np.float64)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got {found.dtype}")
    return found


def labels(y: Any, count: int) -> np.ndarray:
    """Return labels as integers of shape (count,).

    Raises
    ------
    TypeError
        If they are no integers.
    ValueError
        If they have the wrong shape.
    """
    found = np.asarray(y)
    if found.dtype.kind not in "biu" and found.size:
        what = "text" if found.dtype.kind in "UST" or any(isinstance(each, str) for each in found.flat) else found.dtype
        how = "classes, y = numpy.unique(names, return_inverse=True)" if what == "text" else "y.astype(int)"
        raise TypeError(
            f"y must be integers from 0 up, got {what}: {how} makes them so, and bitlearn.sklearn.BitClassifier takes "
            "labels of any type"
        )
    if found.shape != (count,):
        column = found.ndim == 2 and found.shape == (count, 1)
        hint = ": a column becomes a row by y.ravel()" if column else ""
        if found.ndim == 2 and len(found) == count and not column:
            hint = ": of one column a class, y.argmax(axis=1) makes labels"
        raise ValueError(f"y must be labels of shape ({count},), got shape {found.shape}{hint}")
    return found if found.dtype.kind == "i" and found.dtype.itemsize == 8 else found.astype(np.int64)
