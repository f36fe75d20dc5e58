"""IDX files: the format of MNIST, Fashion-MNIST and Kuzushiji-MNIST."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from bitlearn.datasets import compressed

_FOLDERS = {
    "mnist": ("mnist", "MNIST/raw"),
    "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw"),
    "kmnist": ("kmnist", "KMNIST/raw"),
}
_UNSIGNED_BYTE = 0x08


def decode(content: bytes, dimensions: int, where: str) -> np.ndarray:
    """Return the array of an IDX file of unsigned bytes.

    Parameters
    ----------
    content : bytes
        The expanded file.
    dimensions : int
        How many dimensions the array must have.
    where : str
        The file's name, for errors.

    Returns
    -------
    ndarray of uint8

    Raises
    ------
    ValueError
        Where the magic number is another one, or the length is not exactly what the header says.

    Notes
    -----
    Two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a big-endian uint32, then
    the values in C order (http://yann.lecun.com/exdb/mnist/).

    Examples
    --------
    >>> decode(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), 1, "labels")
    array([7, 9], dtype=uint8)
    """
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        got = content[:4].hex() or "an empty file"
        raise ValueError(f"{where} must be an IDX file that starts with {magic.hex()}, got {got}")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"{where} must have a header of {start} bytes, got {len(content)} bytes")
    shape = tuple(int(size) for size in np.frombuffer(content, dtype=">u4", count=dimensions, offset=4))
    expected = start + math.prod(shape)
    if len(content) != expected:
        sizes = " x ".join(map(str, shape))
        raise ValueError(f"{where} must hold {expected} bytes for {sizes} values, got {len(content)}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape).copy()


def load(name: str, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the training images and labels and the test images and labels of a data set of the MNIST family.

    Parameters
    ----------
    name : {"mnist", "fashion-mnist", "kmnist"}
    folder : Path
        The folder of its four files, or one that holds that folder under its usual name.

    Returns
    -------
    x_train, y_train, x_test, y_test : ndarray
        Images uint8 ``(count, height, width, 1)`` and labels uint8.

    Raises
    ------
    FileNotFoundError
        Where a file is missing.
    ValueError
        Where a file is truncated or corrupt.
    """
    candidates = [*(folder / usual for usual in _FOLDERS[name]), folder]
    own = compressed.locate(candidates, _stems("train", "images", 3)).parent

    def array(part: str, what: str, dimensions: int) -> np.ndarray:
        path = compressed.locate([own], _stems(part, what, dimensions))
        return decode(compressed.read(path), dimensions, str(path))

    x_train, x_test = array("train", "images", 3), array("t10k", "images", 3)
    return x_train[..., None], array("train", "labels", 1), x_test[..., None], array("t10k", "labels", 1)


def _stems(part: str, what: str, dimensions: int) -> list[str]:
    """The file's name as published, and as some archives unpack it."""
    return [f"{part}-{what}{separator}idx{dimensions}-ubyte" for separator in "-."]
