"""Scikit-learn's digits: 1,797 grey images of 8x8 pixels in 10 classes, which need no file."""

from __future__ import annotations

import numpy as np

from bitlearn.datasets.split import holdout

_TEST_FRACTION = 0.2
_SPLIT_SEED = 0


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the training images and labels and the test images and labels.

    Returns
    -------
    x_train, y_train, x_test, y_test : ndarray
        Images uint8 ``(count, 8, 8, 1)`` and labels int64.

    Raises
    ------
    ImportError
        Where scikit-learn is missing.

    Notes
    -----
    The pixels, 0 to 16, become ``round(pixel * 255 / 16)``. A fifth of every class is the test set, always the same.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("the data set digits needs scikit-learn: pip install 'bitlearn-xnor[demo]'") from error
    pixels, labels = load_digits(return_X_y=True)
    x = np.rint(pixels * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    y = labels.astype(np.int64)
    train, test = holdout(y, _TEST_FRACTION, _SPLIT_SEED)
    return x[train], y[train], x[test], y[test]
