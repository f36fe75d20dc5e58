"""Scikit-learn's digits: 1,797 grey images of 8x8 pixels in 10 classes, read from its installation."""

from __future__ import annotations

import gzip
import importlib.util
import io
from pathlib import Path

import numpy as np

from bitlearn.datasets.split import holdout

_TEST_FRACTION = 0.2
_SPLIT_SEED = 0
#: Where scikit-learn keeps them, and more bytes than they expand to.
_FILE, _MOST_BYTES = Path("datasets/data/digits.csv.gz"), 2**21


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the training images and labels and the test images and labels.

    Returns
    -------
    x_train, y_train, x_test, y_test : ndarray
        Images uint8 ``(count, 8, 8, 1)`` and labels int64.

    Raises
    ------
    ImportError
        If scikit-learn is missing, or has them no longer.
    ValueError
        If its file is not what it should be.

    Notes
    -----
    Scikit-learn itself is not imported: that takes a second and much memory. The pixels, 0 to 16, become
    ``round(pixel * 255 / 16)``. A fifth of every class is the test set, always the same.
    """
    found = importlib.util.find_spec("sklearn")
    path = None if found is None or found.origin is None else Path(found.origin).parent / _FILE
    if path is None or not path.is_file():
        raise ImportError("the data set digits comes with scikit-learn: pip install 'bitlearn-xnor[sklearn]'")
    with gzip.open(path, "rb") as stream:
        text = stream.read(_MOST_BYTES)
    table = np.loadtxt(io.BytesIO(text), delimiter=",")
    if table.shape != (1797, 65) or table.min() < 0 or table.max() > 16:
        raise ValueError(f"{path} must hold 1797 rows of 65 numbers from 0 to 16, got others")
    x = np.rint(table[:, :-1] * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    y = table[:, -1].astype(np.int64)
    train, test = holdout(y, _TEST_FRACTION, _SPLIT_SEED)
    return x[train], y[train], x[test], y[test]
