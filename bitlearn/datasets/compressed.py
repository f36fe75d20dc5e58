"""Files that may be plain or compressed, found in a folder by their name without the compression's suffix.

What a compressed file expands to is bounded by `bitlearn.files.LIMITS`, and read no further than is needed.
"""

from __future__ import annotations

import errno
import importlib
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast

from bitlearn.errors import sentence
from bitlearn.files import LIMITS, check_bytes, most_bytes, open_regular

_SUFFIXES = ("", ".gz", ".bz2", ".xz")
# Imported on use: some builds of Python lack bz2 or lzma.
_MODULES = {".gz": "gzip", ".tgz": "gzip", ".bz2": "bz2", ".xz": "lzma"}
_PIECE = 2**20


class Reader(Protocol):
    """What is read from, piece by piece."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, fewer at the end."""


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
        If there is none, naming what was looked for and where.
    """
    path = find(folders, stems)
    if path is None:
        where = ", ".join(str(folder) for folder in folders)
        raise FileNotFoundError(f"no file {' or '.join(stems)} (plain{', '.join(_SUFFIXES)}) in {where}")
    return path


class Expanded:
    """A file that is read as it expands, and no further than `bitlearn.files.LIMITS` allows.

    Parameters
    ----------
    stream : binary file
    most : int
        How many bytes may be read.
    where : path
    """

    def __init__(self, stream: IO[bytes], most: int, where: Path):
        self._stream, self._most, self._where, self._read = stream, most, where, 0

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        found = self._stream.read(size)
        self._read += len(found)
        self.check(self._read)
        return found

    def check(self, size: int) -> None:
        """Raise where so many bytes, from the beginning, are too many."""
        check_bytes(size, self._most, self._where)


@contextmanager
def opened(path: Path) -> Iterator[Expanded]:
    """Open a regular file that is plain or compressed, as its suffix says, to read what it expands to.

    Raises
    ------
    ValueError
        If it is not a regular file; and for whatever the block raises that a truncated or corrupt file can cause.
    """
    with open_regular(path) as stream, damage_named(path):
        module, most = _MODULES.get(path.suffix), most_bytes(stream)
        if module is None:
            yield Expanded(stream, most, path)
            return
        with importlib.import_module(module).open(stream, "rb") as expanded:
            yield Expanded(expanded, most, path)


def read(path: Path) -> bytearray:
    """Return all that a file that is plain or compressed expands to.

    Raises
    ------
    ValueError
        If it is not a regular file, a compressed one is truncated or corrupt, or there is more than `LIMITS` allows.
    """
    with opened(path) as stream:
        return exactly(stream, None)


def exactly(stream: Reader, size: int | None) -> bytearray:
    """Return so many bytes, or all where that is None, and fewer where a stream ends before.

    Memory grows with what is there, not with what a header says.
    """
    content = bytearray()
    while piece := stream.read(_PIECE if size is None else min(_PIECE, size - len(content))):
        content += piece
    return content


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
        If the archive is truncated or corrupt, holds or expands to more than `LIMITS` allows, or if one of those
        names is there twice, or is a link, a sparse file or anything but a regular file.
    """
    wanted, contents = set(names), dict[str, bytes]()
    with opened(path) as stream:
        with tarfile.open(fileobj=cast(Any, stream), mode="r|") as archive:
            for count, member in enumerate(archive):
                if count >= LIMITS.members:
                    most = f"{LIMITS.members} files, as bitlearn.files.LIMITS says"
                    raise ValueError(f"{path} must hold at most {most}, got more")
                # Where the next header is said to be: the reader goes there in small steps, past the end of the file.
                stream.check(archive.offset)
                name = member.name.rpartition("/")[2]
                if name not in wanted or member.isdir():
                    continue
                if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
                    raise ValueError(
                        f"{path} must hold {name} as a regular file, got a link, a sparse file or a device"
                    )
                if name in contents:
                    raise ValueError(f"{path} must hold {name} once, got it twice")
                contents[name] = archive.extractfile(member).read()  # type: ignore[union-attr]
        # An archive ends before its file does, and the checksum comes last: unread, a damaged pixel would pass.
        while stream.read(_PIECE):
            pass
    return contents


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes a reader raise into a ValueError that names the file.

    The readers of the standard library and of NumPy have their own errors each: EOFError, zlib.error, LZMAError,
    TarError, BadZipFile, MemoryError for a corrupt size... The operating system's errors, which have a number, pass,
    except for EINVAL: a seek to where a corrupt offset points. So do our own, which name the file already.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} is truncated or corrupt: {sentence(error)}") from error
