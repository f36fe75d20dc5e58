"""A user's own data: an .npz file with the arrays ``X`` and ``y``."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from bitlearn.datasets.compressed import damage_named, exactly
from bitlearn.datasets.split import holdout
from bitlearn.errors import sentence
from bitlearn.files import LIMITS, check_bytes, most_bytes, open_regular

_TEST_FRACTION = 0.2
_NAMES = ("X", "y", "X_test", "y_test")
#: The end of a zip archive, with the longest comment; and an entry of its list, with a name of a usual length.
_END, _ENTRY = 2**16 + 22, 128
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


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
        If there is no such file, or not exactly one in the folder.
    ValueError
        If the file is truncated or corrupt, lacks an array, holds Python objects, or an array has the wrong shape.

    Notes
    -----
    Nothing in the file can run: arrays of Python objects, which are pickles, are rejected.
    """
    path = _file(path)
    arrays, every = _read(path)
    for name, partner in (("X", "y"), ("y", "X"), ("X_test", "y_test"), ("y_test", "X_test")):
        if name not in arrays and (partner in arrays or name in ("X", "y")):
            held = brief_names(every)
            raise ValueError(
                f"{path} must hold an array {name}, got {held}: numpy.savez(path, X=..., y=...) names them"
            )
    x, y = _data(arrays["X"], "X", path), _labels(arrays["y"], "y", path)
    if len(x) != len(y):
        raise ValueError(f"X and y of {path} must have the same length, got {len(x)} and {len(y)}")
    if "X_test" in arrays:
        return x, y, _data(arrays["X_test"], "X_test", path), _labels(arrays["y_test"], "y_test", path)
    train, test = holdout(y, _TEST_FRACTION, seed)
    return x[train], y[train], x[test], y[test]


def unlabelled(path: Path) -> np.ndarray | None:
    """Return the ``X`` of a file that holds no labels; None where it has some, or no ``X``."""
    path = _file(path)
    arrays, _ = _read(path)
    return _data(arrays["X"], "X", path) if set(arrays) == {"X"} else None


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


def brief_names(names: list[str]) -> str:
    """Return the names of a file's arrays, of which there may be many, and long ones."""
    shown = [sentence(name, 40) for name in names[:8]]
    return ", ".join([*shown, f"{len(names) - 8} more"] if len(names) > 8 else shown) or "none"


def _read(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the arrays of an .npz file that have a meaning here, and the names of all."""
    with open_regular(path) as stream, damage_named(path):
        if not zipfile.is_zipfile(stream):
            raise ValueError(f"{path} must be an .npz file, a zip archive, and is truncated or something else")
        _check_directory(stream, path)
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            found = {name: [each for each in members if each.filename == f"{name}.npy"] for name in _NAMES}
            for name, several in found.items():
                if len(several) > 1:
                    raise ValueError(f"{path} must hold an array {name} once, got it {len(several)} times")
            infos = {name: several[0] for name, several in found.items() if several}
            check_bytes(sum(info.file_size for info in infos.values()), most_bytes(stream), path)
            every = sorted(each.filename.removesuffix(".npy") for each in members)
            return {name: _member(archive, info, f"{path}: {name} of it") for name, info in infos.items()}, every


def _check_directory(stream: IO[bytes], path: Path) -> None:
    """Raise where a zip archive lists more members than `LIMITS` allows, or lists them in a way that may hide it.

    The reader of the standard library makes an object of each before anybody can ask how many there are.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(size - _END, 0))
    tail = stream.read()
    at = tail.rfind(b"PK\5\6")
    listed = int.from_bytes(tail[at + 12 : at + 16], "little")
    hidden = size < 2**32 and tail[max(at - 20, 0) : at].startswith(b"PK\6\7")  # a second list, for huge archives
    if at < 0 or hidden or listed > _ENTRY * LIMITS.members:
        raise ValueError(f"{path} must list at most {LIMITS.members} arrays, as bitlearn.files.LIMITS says, got more")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> np.ndarray:
    """Return the array of a member, whose size must be what its header says."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{where} must be stored or deflated, got compression {info.compress_type}")
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"{where} must be of version 1 or 2 of the .npy format, got {version}")
        shape, fortran_order, dtype = _HEADERS[version](stream)
        if dtype.kind not in "biufc":
            objects = ": arrays of Python objects are pickles, which are never read" if dtype.hasobject else ""
            raise ValueError(f"{where} must hold numbers, got {dtype}{objects}")
        expected = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or expected != info.file_size - stream.tell():
            raise ValueError(f"{where} must take {expected} bytes, got {info.file_size - stream.tell()}")
        content = exactly(stream, expected)
        if len(content) < expected or stream.read(1):  # at the end the checksum is compared
            raise ValueError(f"{where} must take {expected} bytes, but its data are others")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if fortran_order else "C")


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
