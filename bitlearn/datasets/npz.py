"""A user's own data: an .npz file with the arrays ``X`` and ``y``."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from bitlearn.datasets.compressed import damage_named
from bitlearn.datasets.split import holdout

_TEST_FRACTION = 0.2


def load(path: Path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the training data and labels and the test data and labels.

    Parameters
    ----------
    path : Path
        The file, or a folder that holds exactly one. ``X`` has shape ``(count, features)``, of any real type, or is
        uint8 images ``(count, height, width)`` or ``(count, height, width, channels)``; ``y`` holds integer labels.
        With ``X_test`` and ``y_test`` they are the test set; else a fifth of every class is held out.
    seed : int
        Decides what is held out.

    Returns
    -------
    x_train, y_train, x_test, y_test : ndarray
        uint8 stays uint8, everything else becomes float32; grey images get a last axis of 1; labels are int64.

    Raises
    ------
    FileNotFoundError
        Where there is no such file, or not exactly one in the folder.
    ValueError
        Where the file is truncated or corrupt, lacks an array, holds Python objects, or an array has another shape.

    Notes
    -----
    Nothing in the file can run: arrays of Python objects, which are pickles, are refused.
    """
    path = _file(path)
    arrays = _read(path)
    for name, partner in (("X", "y"), ("y", "X"), ("X_test", "y_test"), ("y_test", "X_test")):
        if name not in arrays and (partner in arrays or name in ("X", "y")):
            raise ValueError(f"{path} must hold an array {name}, got {', '.join(sorted(arrays)) or 'none'}")
    x, y = _data(arrays["X"], "X", path), _labels(arrays["y"], "y", path)
    if len(x) != len(y):
        raise ValueError(f"X and y of {path} must have the same length, got {len(x)} and {len(y)}")
    if "X_test" in arrays:
        return x, y, _data(arrays["X_test"], "X_test", path), _labels(arrays["y_test"], "y_test", path)
    train, test = holdout(y, _TEST_FRACTION, seed)
    return x[train], y[train], x[test], y[test]


def _file(path: Path) -> Path:
    """Return the file itself, or the only one of the folder."""
    if not path.is_dir():
        if not path.is_file():
            raise FileNotFoundError(f"no .npz file or folder {path}")
        return path
    found = sorted(path.glob("*.npz"))
    if len(found) != 1:
        raise FileNotFoundError(f"{path} must hold exactly one .npz file, got {len(found)}")
    return found[0]


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} must be an .npz file, a zip archive, and is truncated or something else")
    with damage_named(path), path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return {name: archive[name] for name in ("X", "y", "X_test", "y_test") if name in archive}


def _data(x: np.ndarray, name: str, path: Path) -> np.ndarray:
    """Return features as float32 or uint8, and images as uint8 NHWC."""
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{name} of {path} must hold real numbers, got {x.dtype}")
    if x.ndim == 2:
        if x.dtype == np.uint8:
            return x
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused later on
            return x.astype(np.float32)
    if x.ndim not in (3, 4) or x.dtype != np.uint8:
        raise ValueError(
            f"{name} of {path} must be features (count, features) or uint8 images (count, height, width[, channels]), "
            f"got {x.dtype} of shape {x.shape}"
        )
    return x[..., None] if x.ndim == 3 else x


def _labels(y: np.ndarray, name: str, path: Path) -> np.ndarray:
    """Return labels as int64."""
    if y.ndim != 1 or y.dtype.kind not in "biu":
        raise ValueError(f"{name} of {path} must be integer labels of shape (count,), got {y.dtype} of shape {y.shape}")
    return y.astype(np.int64)
