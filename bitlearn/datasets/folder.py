"""A user's own images: a folder of class folders of JPEG and PNG files, read when they are needed (with Pillow)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bitlearn.datasets.split import holdout

_TEST_FRACTION = 0.2
_ENDINGS = (".jpg", ".jpeg", ".png")
_FORMATS = ("JPEG", "PNG")
#: The folders of the two parts, where a folder holds these and not classes.
_TRAIN, _TEST = ("train", "training"), ("test", "val", "validation")
#: The shorter side of an image before its middle is cut out, in sizes of what is cut out: 256 for 224.
_SHORTER = 256 / 224
#: An image of more pixels is refused before it is decoded.
_MAX_PIXELS = 2**26


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("dataset folder needs Pillow: pip install 'bitlearn-xnor[data]'") from error
    return Image


class Images:
    """Image files that behave like an array, uint8 (count, size, size, 3); a file is read when it is needed.

    Parameters
    ----------
    paths : sequence of Path
    size : int
        The side of each image: the shorter side is scaled to 8/7 of it (256 for 224), and the middle is cropped.

    Notes
    -----
    Grey images and those with a palette become RGB; transparency is dropped. A file that cannot be decoded raises a
    `ValueError` that names it.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, paths: Sequence[Path], size: int):
        self.paths, self.side = tuple(paths), size

    @property
    def shape(self) -> tuple[int, ...]:
        """``(count, size, size, 3)``."""
        return len(self.paths), self.side, self.side, 3

    @property
    def size(self) -> int:
        """How many values all images have."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """The bytes that all images would take as an array."""
        return self.size

    def __len__(self) -> int:
        return len(self.paths)

    def files(self, rows: Iterable[int]) -> list[tuple[str, str, int]]:
        """Return of some files the folder's name, its own, and its size in bytes, without reading them."""
        paths = (self.paths[row] for row in rows)
        return [(path.parent.name, path.name, path.stat().st_size) for path in paths]

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, (int, np.integer)):
            return self._read(self.paths[index])
        chosen = np.arange(len(self))[index]
        out = np.empty((len(chosen), *self.shape[1:]), dtype=np.uint8)
        for at, row in enumerate(chosen):
            out[at] = self._read(self.paths[row])
        return out

    def _read(self, path: Path) -> np.ndarray:
        return read(path, self.side)

    def __repr__(self) -> str:
        return f"Images({len(self)} files, {self.side}x{self.side})"


def read(path: Path, size: int) -> np.ndarray:
    """Return an image, uint8 (size, size, 3): scaled so that its shorter side is 8/7 of the size, and its middle.

    Raises
    ------
    ValueError
        Naming the file, if it is not a whole JPEG or PNG.
    """
    pillow = _pillow()
    shorter = round(size * _SHORTER)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(path, formats=_FORMATS) as image:
                width, height = image.size
                if width * height > _MAX_PIXELS:
                    raise ValueError(f"it must have at most {_MAX_PIXELS} pixels, got {width}x{height}")
                # A JPEG is decoded no larger than twice what is needed.
                image.draft("RGB", (2 * shorter, 2 * shorter))
                width, height = image.size
                scale = shorter / min(width, height)
                sides = max(shorter, round(width * scale)), max(shorter, round(height * scale))
                scaled = image.convert("RGB").resize(sides, pillow.Resampling.BILINEAR)
                left, top = (sides[0] - size) // 2, (sides[1] - size) // 2
                found: np.ndarray = np.asarray(scaled.crop((left, top, left + size, top + size)))
                return found
    except (OSError, SyntaxError, ValueError, EOFError, pillow.DecompressionBombWarning, Warning) as error:
        raise ValueError(f"{path} must be a whole JPEG or PNG image, got one that cannot be read: {error}") from None
    except pillow.DecompressionBombError as error:
        raise ValueError(f"{path} must be an image of usual size, got one that is refused: {error}") from None


def load(
    path: Path, seed: int, image_size: int, broken: Literal["refuse", "skip"]
) -> tuple[Images, np.ndarray, Images, np.ndarray, tuple[str, ...]]:
    """Return the training images and labels, the test images and labels, and the names of the classes.

    Parameters
    ----------
    path : Path
        Class folders, of which a fifth of every class is held out as the test set; or the folders ``train`` and
        ``test`` (or ``val``), each with the same class folders. Classes are numbered in the order of their names.
    seed : int
        Decides what is held out.
    image_size : int
    broken : {"refuse", "skip"}
        What to do with a file that cannot be read: it is an error that names it, as soon as it is read; or every file
        is read now, once, and those that cannot be are left out, with a warning that names the first.

    Raises
    ------
    FileNotFoundError
        If there are no class folders, or no images in one.
    ValueError
        If the two parts have other classes than each other, or no readable file of a class is left.
    """
    _pillow()
    if image_size < 1:
        raise ValueError(f"image_size must be at least 1, got {image_size}")
    if broken not in ("refuse", "skip"):
        raise ValueError(f"broken must be refuse or skip, got {broken!r}")
    parts = [next((path / name for name in names if (path / name).is_dir()), None) for names in (_TRAIN, _TEST)]
    folders = [each for each in parts if each is not None] if parts[0] is not None and parts[1] is not None else [path]
    named = [_classes(folder) for folder in folders]
    names = list(named[0])
    if list(named[-1]) != names:
        alone = ", ".join(sorted(set(names) ^ set(named[-1])))
        raise ValueError(f"{folders[-1]} must have the classes of {folders[0]}, got {alone} in one of them alone")
    found = []
    for folder, classes in zip(folders, named, strict=True):
        files = [(file, label) for label, name in enumerate(names) for file in classes[name]]
        if broken == "skip":
            files = _readable(files, image_size, folder)
        labels = np.array([label for _, label in files], dtype=np.int64)
        missing = sorted(set(range(len(names))) - set(labels.tolist()))
        if missing:
            raise ValueError(f"{folder / names[missing[0]]} must hold a readable image, got none")
        found.append(([file for file, _ in files], labels))
    if len(found) == 1:
        paths, labels = found[0]
        found = [([paths[i] for i in index], labels[index]) for index in holdout(labels, _TEST_FRACTION, seed)]
    (train, y_train), (test, y_test) = found
    return Images(train, image_size), y_train, Images(test, image_size), y_test, tuple(names)


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Return the image files of each class folder, by name, in order."""
    classes = {each.name: each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith(".")}
    if len(classes) < 2:
        raise FileNotFoundError(f"{folder} must hold a folder for each of at least 2 classes, got {len(classes)}")
    found = {
        name: sorted(file for file in each.iterdir() if file.suffix.lower() in _ENDINGS and file.is_file())
        for name, each in classes.items()
    }
    for name, files in found.items():
        if not files:
            raise FileNotFoundError(f"{folder / name} must hold images that end in {', '.join(_ENDINGS)}, got none")
    return found


def _readable(files: list[tuple[Path, int]], size: int, folder: Path) -> list[tuple[Path, int]]:
    """Return the files that can be read, and warn of the others."""
    kept, errors = [], []
    for file, label in files:
        try:
            read(file, size)
        except ValueError as error:
            errors.append(str(error))
        else:
            kept.append((file, label))
    if errors:
        warnings.warn(f"{len(errors)} of {len(files)} files in {folder} are left out: {errors[0]}", stacklevel=4)
    return kept
