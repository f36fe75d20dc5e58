"""Data sets by name. Nothing is ever downloaded: the original files are read, plain or compressed."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from bitlearn.datasets import cifar, digits, idx, npz, tables
from bitlearn.datasets import folder as folders
from bitlearn.datasets.augment import augment
from bitlearn.datasets.batches import batches
from bitlearn.datasets.folder import Images
from bitlearn.datasets.levels import Quantiles, Thermometer
from bitlearn.datasets.preparation import Examples, Preparation, prepare
from bitlearn.datasets.rows import Rows
from bitlearn.datasets.scaling import Scaling, fit_scaling, pad_images
from bitlearn.datasets.split import holdout
from bitlearn.errors import by_name

__all__ = [
    "NAMES",
    "Dataset",
    "Examples",
    "Images",
    "Preparation",
    "Quantiles",
    "Rows",
    "Scaling",
    "Thermometer",
    "augment",
    "batches",
    "fit_scaling",
    "holdout",
    "load",
    "pad_images",
    "prepare",
    "select",
]

_CLASSES = {"digits": 10, "mnist": 10, "fashion-mnist": 10, "kmnist": 10, "cifar10": 10, "cifar100": 100}
NAMES = (*_CLASSES, "npz", "csv", "parquet", "folder")

# A network has an output a class: a stray label of a million must not make a million outputs.
_MAX_CLASSES = 65536


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A training and a test set, checked.

    Parameters
    ----------
    name : str
    x_train, x_test : ndarray
        uint8 images ``(count, height, width, channels)``, or features ``(count, features)``, uint8 or float32.
    y_train, y_test : ndarray of int64, shape (count,)
        Labels in [0, classes).
    classes : int
    labels : tuple of int or str, optional
        The name of each class, if that is not its number.

    Raises
    ------
    TypeError
        If an array has the wrong type.
    ValueError
        If shapes or counts do not fit, a set is empty, a label lies outside the classes, or a feature is NaN or
        infinite.

    Examples
    --------
    >>> x, y = np.zeros((2, 3), dtype=np.float32), np.array([0, 7])
    >>> Dataset("mine", x, y, x, y, classes=2)
    Traceback (most recent call last):
    ...
    ValueError: mine: labels must lie in [0, 2), got 7 in y_train
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    labels: tuple[int | str, ...] | None = None

    def __post_init__(self) -> None:
        for part, x, y in (("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            self._check(part, x, y)
        if self.x_train.shape[1:] != self.x_test.shape[1:] or self.x_train.dtype != self.x_test.dtype:
            raise ValueError(
                f"{self.name}: x_train and x_test must have the same type and shape, got "
                f"{self.x_train.dtype} {self.x_train.shape[1:]} and {self.x_test.dtype} {self.x_test.shape[1:]}"
            )

    def __repr__(self) -> str:
        kind = f"{self.x_train.dtype} {self.x_train.shape[1:]}"
        counts = f"{len(self.x_train)} training and {len(self.x_test)} test examples"
        return f"Dataset({self.name!r}, {counts} of {kind}, {self.classes} classes)"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(repr(self))}</code>"

    def _check(self, part: str, x: np.ndarray, y: np.ndarray) -> None:
        """Check the samples and labels of one part."""
        if x.dtype not in (np.uint8, np.float32):
            raise TypeError(f"{self.name}: x_{part} must be uint8 or float32, got {x.dtype}")
        if y.dtype != np.int64:
            raise TypeError(f"{self.name}: y_{part} must be int64, got {y.dtype}")
        if not (x.ndim == 2 or (x.ndim == 4 and x.dtype == np.uint8)):
            how = ": images of values from 0 to 1 are (x * 255).round().astype(numpy.uint8)" if x.ndim == 4 else ""
            raise ValueError(
                f"{self.name}: x_{part} must be features (count, features) or uint8 images (count, height, width, "
                f"channels), got {x.dtype} of shape {x.shape}{how}"
            )
        if y.shape != x.shape[:1]:
            raise ValueError(f"{self.name}: y_{part} must hold {len(x)} labels, one per sample, got shape {y.shape}")
        if x.size == 0:
            raise ValueError(f"{self.name}: x_{part} must not be empty, got shape {x.shape}")
        if y.min() < 0 or y.max() >= self.classes:
            label = y.min() if y.min() < 0 else y.max()
            raise ValueError(f"{self.name}: labels must lie in [0, {self.classes}), got {label} in y_{part}")
        if x.dtype == np.float32 and not np.isfinite(x).all():
            raise ValueError(f"{self.name}: features must be finite float32, got NaN or infinity in x_{part}")


def select(x: np.ndarray | Rows | Images, index: np.ndarray) -> np.ndarray | Rows:
    """Return some examples of a data set; examples in files remain in files and are read when needed.

    Parameters
    ----------
    x : ndarray, Rows or Images
    index : ndarray of int

    Returns
    -------
    ndarray or Rows

    Examples
    --------
    >>> select(np.arange(4), np.array([2, 0]))
    array([2, 0])
    """
    return x[index] if isinstance(x, np.ndarray) else Rows(cast(Any, x), np.asarray(index))


def load(
    name: str,
    folder: str | os.PathLike[str] | None = None,
    *,
    seed: int = 0,
    image_size: int = 224,
    label: str | None = None,
    broken: Literal["refuse", "skip"] = "refuse",
) -> Dataset:
    """Load a data set by its name.

    Parameters
    ----------
    name : {"digits", "mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100", "npz", "csv", "parquet", "folder"}
    folder : path-like, optional
        The data set's own folder, or one that holds it under its usual name (``mnist``, ``cifar-10-batches-bin``,
        ``cifar-10-python.tar.gz``...). Files may be plain, ``.gz``, ``.bz2`` or ``.xz``. For ``npz`` the file itself,
        or a folder that holds exactly one; for ``csv`` and ``parquet`` the file. ``digits`` needs none.
    seed : int, optional
        For ``npz`` and ``folder`` without a test set, and for tables: decides which fifth is held out. Nothing else
        depends on it.
    image_size : int, optional
        For ``folder``: the side of the images, which are cropped to their middle.
    label : str, optional
        For tables: the column of the labels, by default the one named label, target, class or y. The other columns are
        features, and must hold numbers.
    broken : {"refuse", "skip"}, optional
        For ``folder``: whether a file that cannot be read raises an error that names it, or is left out.

    Returns
    -------
    Dataset
        For ``npz``, ``classes`` is the largest label of ``y`` plus one; for tables and folders ``labels`` are the names
        of the classes. For ``folder``, images are read when they are needed: ``folder/CLASS/*.jpg`` or ``*.png``, or
        the same in ``folder/train`` and ``folder/test`` (``val``).

    Raises
    ------
    FileNotFoundError
        If the folder or a file is missing, naming what was looked for and where.
    ValueError
        If the name is unknown, or a file is truncated, corrupt, expands to too much or does not make sense.
    ImportError
        For ``digits`` without scikit-learn, ``parquet`` without pandas, and ``folder`` without Pillow.

    Notes
    -----
    Nothing in a file can run: pickles are read by a reader that can make only arrays. `bitlearn.files.LIMITS` limits
    what a file may expand to.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.x_train.shape, digits.x_train.dtype, digits.classes
    ((1438, 8, 8, 1), dtype('uint8'), 10)
    """
    by_name("dataset", name, dict.fromkeys(NAMES))
    arrays: tuple[Any, np.ndarray, Any, np.ndarray]
    classes = _CLASSES.get(name, 0)
    if name == "digits":
        arrays = digits.load()
    elif folder is None:
        raise ValueError(f"dataset {name} needs {_needed(name)}, got none")
    elif not Path(folder).exists():
        raise FileNotFoundError(f"dataset {name} needs {_needed(name)}, got no file or folder {folder}")
    elif name in ("csv", "parquet"):
        x_train, y_train, x_test, y_test, names = tables.load(Path(folder), label, seed)
        return Dataset(name, x_train, y_train, x_test, y_test, len(names), names)
    elif name == "npz":
        arrays = npz.load(Path(folder), seed)
    elif name == "folder":
        *arrays, names = folders.load(Path(folder), seed, image_size, broken)  # type: ignore[assignment]
        return Dataset(name, *arrays, len(names), names)
    elif name.startswith("cifar"):
        arrays = cifar.load(name, Path(folder))
    else:
        arrays = idx.load(name, Path(folder))
    x_train, y_train, x_test, y_test = arrays
    y_train, y_test = y_train.astype(np.int64, copy=False), y_test.astype(np.int64, copy=False)
    classes = classes or min(int(y_train.max(initial=0)) + 1, _MAX_CLASSES)
    return Dataset(name, x_train, y_train, x_test, y_test, classes)


def _needed(name: str) -> str:
    return "the path of its file" if name in ("csv", "parquet", "npz") else "the folder that holds its files"
