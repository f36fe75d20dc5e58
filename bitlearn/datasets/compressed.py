"""Files that may be plain or compressed, found in a folder by their name without the compression's suffix."""

from __future__ import annotations

import errno
import importlib
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_SUFFIXES = ("", ".gz", ".bz2", ".xz")
# Imported on use: some builds of Python lack bz2 or lzma.
_MODULES = {".gz": "gzip", ".tgz": "gzip", ".bz2": "bz2", ".xz": "lzma"}


def find(folders: Iterable[Path], stems: Sequence[str]) -> Path | None:
    """Return the first file of one of those names, plain or compressed, in the first folder that has one.

    Parameters
    ----------
    folders : iterable of Path
        Looked through in this order; they need not exist.
    stems : sequence of str
        The names that the file may have, without a compression's suffix.

    Returns
    -------
    Path or None

    Examples
    --------
    >>> find([Path("no/such/folder")], ["labels"]) is None
    True
    """
    for folder in folders:
        for stem in stems:
            for suffix in _SUFFIXES:
                path = folder / (stem + suffix)
                if path.is_file():
                    return path
    return None


def locate(folders: Sequence[Path], stems: Sequence[str]) -> Path:
    """Return what `find` returns.

    Raises
    ------
    FileNotFoundError
        Where there is none, naming what was looked for and where.
    """
    path = find(folders, stems)
    if path is None:
        where = ", ".join(str(folder) for folder in folders)
        raise FileNotFoundError(f"no file {' or '.join(stems)} (plain{', '.join(_SUFFIXES)}) in {where}")
    return path


def read(path: Path) -> bytes:
    """Return the expanded content of a file that is plain or compressed, as its suffix says.

    Raises
    ------
    ValueError
        Where the compressed file is truncated or corrupt.
    """
    with damage_named(path), _open(path) as stream:
        return stream.read()


def _open(path: Path) -> BinaryIO:
    """Open a file that is plain or compressed, as its suffix says."""
    module = _MODULES.get(path.suffix)
    return importlib.import_module(module).open(path, "rb") if module else path.open("rb")


def read_archive(path: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return the content of the files of those names in a tar archive, in whatever folder of it; nothing is unpacked.

    Parameters
    ----------
    path : Path
        A tar file that is plain or compressed, as its suffix says.
    names : iterable of str
        Names without folders. What is not there is left out.

    Raises
    ------
    ValueError
        Where the archive is truncated or corrupt.
    """
    wanted, contents = set(names), {}
    with damage_named(path), _open(path) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if member.isfile() and name in wanted:
                    contents[name] = archive.extractfile(member).read()  # type: ignore[union-attr]
        # An archive ends before its file does, and the checksum comes last: unread, a damaged pixel would pass.
        while stream.read(1 << 20):
            pass
    return contents


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes a reader raise into a ValueError that names the file.

    The readers of the standard library and of NumPy have their own errors each: EOFError, zlib.error, LZMAError,
    TarError, BadZipFile, MemoryError for a corrupt size... The operating system's errors, which have a number, pass,
    but for EINVAL: a seek to where a corrupt offset points.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise ValueError(f"{path} is truncated or corrupt: {str(error) or type(error).__name__}") from error
