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


def decode(stream: compressed.Expanded, dimensions: int, where: str) -> np.ndarray:
    """Return the array of an IDX file of unsigned bytes.

    Parameters
    ----------
    stream : Expanded
        It is read no further than the header says, and a byte more.
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
        If the magic number is another one, the length is not exactly what the header says, or that is more than
        `bitlearn.files.LIMITS` allows.

    Notes
    -----
    Two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a big-endian uint32, then
    the values in C order (http://yann.lecun.com/exdb/mnist/).

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    >>> decode(compressed.Expanded(stream, 100, Path("labels")), 1, "labels")
    array([7, 9], dtype=uint8)
    """
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    found = stream.read(4)
    if found != magic:
        got = found.hex() or "an empty file"
        raise ValueError(f"{where} must be an IDX file that starts with {magic.hex()}, got {got}")
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError(f"{where} must have a header of {4 + 4 * dimensions} bytes, got {4 + len(sizes)} bytes")
    shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
    expected = math.prod(shape)
    stream.check(4 + 4 * dimensions + expected)
    content = compressed.exactly(stream, expected)
    if len(content) < expected or stream.read(1):
        got = "more" if len(content) == expected else f"{len(content)}"
        if len(shape) > 1 and len(content) < expected:
            got += f", which are {len(content) // max(math.prod(shape[1:]), 1)} whole images"
        raise ValueError(f"{where} must hold {expected} bytes for {' x '.join(map(str, shape))} values, got {got}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


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
        If a file is missing.
    ValueError
        If a file is truncated or corrupt.
    """
    candidates = [*(folder / usual for usual in _FOLDERS[name]), folder]
    own = compressed.locate(candidates, _stems("train", "images", 3)).parent

    def array(part: str, what: str, dimensions: int) -> np.ndarray:
        path = compressed.locate([own], _stems(part, what, dimensions))
        with compressed.opened(path) as stream:
            return decode(stream, dimensions, str(path))

    x_train, x_test = array("train", "images", 3), array("t10k", "images", 3)
    return x_train[..., None], array("train", "labels", 1), x_test[..., None], array("t10k", "labels", 1)


def _stems(part: str, what: str, dimensions: int) -> list[str]:
    """The file's name as published, and as some archives unpack it."""
    return [f"{part}-{what}{separator}idx{dimensions}-ubyte" for separator in "-."]
