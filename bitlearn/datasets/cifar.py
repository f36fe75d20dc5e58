"""CIFAR-10 and CIFAR-100: the binary and the Python version, in a folder or in the published archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitlearn.datasets import compressed
from bitlearn.datasets.restricted_pickle import read_dict

_PIXELS = 3 * 32 * 32

#: Gives the content of a file and what to call it in an error.
_Reader = Callable[[str], tuple[bytes | bytearray, str]]


@dataclass(frozen=True)
class _Version:
    """One published form of a data set.

    Parameters
    ----------
    folder, archive : str
        Their usual names.
    train, test : tuple of str
        The files of either part.
    label : int or str
        Which of a record's label bytes, or which entry of the pickled dictionary.
    label_bytes : int
        The label bytes of a record; 0 for the Python version.
    """

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label: int | str
    label_bytes: int

    def decode(self, content: bytes | bytearray, where: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the images (count, 32, 32, 3) and labels (count,) of one file."""
        if isinstance(self.label, str):
            return decode_python(content, self.label, where)
        return decode_binary(content, self.label_bytes, self.label, where)


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_VERSIONS = {
    "cifar10": (
        _Version(
            "cifar-10-batches-bin",
            "cifar-10-binary.tar.gz",
            tuple(f"{name}.bin" for name in _BATCHES),
            ("test_batch.bin",),
            label=0,
            label_bytes=1,
        ),
        _Version("cifar-10-batches-py", "cifar-10-python.tar.gz", _BATCHES, ("test_batch",), "labels", 0),
    ),
    # The fine label is the second byte of a record; the first is one of 20 coarse ones.
    "cifar100": (
        _Version("cifar-100-binary", "cifar-100-binary.tar.gz", ("train.bin",), ("test.bin",), label=1, label_bytes=2),
        _Version("cifar-100-python", "cifar-100-python.tar.gz", ("train",), ("test",), "fine_labels", 0),
    ),
}


def decode_binary(
    content: bytes | bytearray, label_bytes: int, label: int, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of a file of the binary version.

    Parameters
    ----------
    content : bytes
        Records of the label bytes and 3,072 pixel bytes: the red, the green and the blue plane, each row by row.
    label_bytes, label : int
        How many label bytes a record has, and which of them is the label.
    where : str
        The file's name, for errors.

    Returns
    -------
    images : ndarray of uint8, shape (count, 32, 32, 3)
    labels : ndarray of int64, shape (count,)

    Raises
    ------
    ValueError
        If the file is not a whole number of records.

    Examples
    --------
    >>> images, labels = decode_binary(bytes([7]) + bytes(3072), 1, 0, "batch")
    >>> images.shape, labels
    ((1, 32, 32, 3), array([7]))
    """
    record = label_bytes + _PIXELS
    if not content or len(content) % record:
        raise ValueError(f"{where} must hold whole records of {record} bytes, got {len(content)} bytes")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, record)
    return _nhwc(records[:, label_bytes:]), records[:, label].astype(np.int64)


def decode_python(content: bytes | bytearray, label: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of a file of the Python version, as `decode_binary` does.

    Parameters
    ----------
    content : bytes
        A pickled dictionary with the pixels under ``data`` and the labels under `label`. It cannot run anything.
    label : {"labels", "fine_labels"}
    where : str
        The file's name, for errors.

    Raises
    ------
    ValueError
        If the pickle is truncated, corrupt, of something else, or asks for anything but arrays.
    """
    batch = read_dict(content, where)
    data, labels = batch.get("data"), batch.get(label)
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != _PIXELS or len(data) == 0:
        got = data.shape if isinstance(data, np.ndarray) else type(data).__name__
        raise ValueError(f"{where} must hold data of shape (count, {_PIXELS}), got {got}")
    if not isinstance(labels, list) or len(labels) != len(data) or not all(_is_label(value) for value in labels):
        raise ValueError(f"{where} must hold {label}, a list of {len(data)} integers in [0, 256)")
    return _nhwc(data), np.array(labels, dtype=np.int64)


def _is_label(value: object) -> bool:
    """Whether a value of a pickle is an integer that a label byte could hold."""
    return type(value) is int and 0 <= value < 256


def _nhwc(pixels: np.ndarray) -> np.ndarray:
    """Make images of rows of three colour planes."""
    return np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def load(name: str, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the training images and labels and the test images and labels of CIFAR-10 or CIFAR-100 (fine labels).

    Parameters
    ----------
    name : {"cifar10", "cifar100"}
    folder : Path
        The folder of its files, a folder that holds that folder or its archive under the usual name, or the archive.
        The binary version is taken where both are there.

    Returns
    -------
    x_train, y_train, x_test, y_test : ndarray
        Images uint8 ``(count, 32, 32, 3)`` and labels int64.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is truncated or corrupt, or a pickle asks for anything but arrays.
    """
    version, reader = _source(name, folder)
    return (*_join(version, version.train, reader), *_join(version, version.test, reader))


def _source(name: str, folder: Path) -> tuple[_Version, _Reader]:
    """Find which version there is, and how to read its files."""
    versions = _VERSIONS[name]
    for version in versions:
        first = compressed.find([folder / version.folder, folder], version.train[:1])
        if first is not None:
            return version, _folder_reader(first.parent)
    files = [file for version in versions for file in version.train + version.test]
    for archive in [folder, *(folder / version.archive for version in versions)]:
        if archive.is_file():
            # One pass over the archive: to go back in a compressed one would expand it again.
            contents = compressed.read_archive(archive, files)
            for version in versions:
                if version.train[0] in contents:
                    return version, _archive_reader(archive, contents)
            raise FileNotFoundError(f"no file {' or '.join(version.train[0] for version in versions)} in {archive}")
    looked_for = [part for version in versions for part in (version.train[0], version.folder, version.archive)]
    raise FileNotFoundError(f"no {', '.join(looked_for[:-1])} or {looked_for[-1]} in {folder}")


def _folder_reader(folder: Path) -> _Reader:
    def reader(name: str) -> tuple[bytes | bytearray, str]:
        path = compressed.locate([folder], [name])
        return compressed.read(path), str(path)

    return reader


def _archive_reader(archive: Path, contents: dict[str, bytes]) -> _Reader:
    def reader(name: str) -> tuple[bytes | bytearray, str]:
        if name not in contents:
            raise FileNotFoundError(f"no file {name} in {archive}")
        return contents[name], f"{name} of {archive}"

    return reader


def _join(version: _Version, names: Sequence[str], reader: _Reader) -> tuple[np.ndarray, np.ndarray]:
    """Read the files of one part and join them."""
    images, labels = zip(*(version.decode(*reader(name)) for name in names), strict=True)
    return np.concatenate(images), np.concatenate(labels)
