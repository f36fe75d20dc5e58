"""Reading only regular files, writing a file whole or not at all, and locking one for a single process."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

#: Windows locks files otherwise, and neither removes nor renames one that is open.
_POSIX = os.name == "posix"
if _POSIX:
    import fcntl

_TEMPORARY = re.compile(r"\.bitlearn-[0-9a-f]{16}\.tmp")
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


@dataclass
class Limits:
    """What a file may ask for beyond its own size. `LIMITS` holds the limits in force; its fields may be changed.

    Parameters
    ----------
    header_bytes : int
        The header of a saved file, which is JSON: Python needs about 20 times as much memory to read it.
    expanded_bytes : int
        The expanded size of what may be read from a file, if that is more than it takes on disk: for compressed and for
        sparse files.
    members : int
        Files in an archive.
    layers : int
        Layers of a saved network, including those that hold others.
    depth : int
        How deeply its layers are nested.
    values : int
        Values of one example anywhere in a saved network.

    Examples
    --------
    >>> LIMITS.expanded_bytes
    268435456
    """

    header_bytes: int = 2**22
    expanded_bytes: int = 2**28
    members: int = 1000
    layers: int = 2000
    depth: int = 32
    values: int = 2**26


#: The limits in force.
LIMITS = Limits()


def _opener(flag: str) -> Callable[[str, int], int]:
    """Return an opener with one more flag, where the system has it."""
    return lambda path, flags: os.open(path, flags | getattr(os, flag, 0), 0o666)


def _check_regular(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} must be a regular file, got {_KINDS.get(stat.S_IFMT(mode), 'a device')}")


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading, and nothing else: a pipe is never waited for, a device never touched.

    Parameters
    ----------
    path : path-like
        A link is followed.

    Returns
    -------
    binary file

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is a folder, a pipe, a socket or a device.

    Examples
    --------
    >>> open_regular(os.curdir)
    Traceback (most recent call last):
    ...
    ValueError: . must be a regular file, got a folder
    """
    _check_regular(path, os.stat(path).st_mode)
    stream = open(path, "rb", opener=_opener("O_NONBLOCK"))  # noqa: SIM115 - a pipe may have taken its place meanwhile
    try:
        _check_regular(path, os.fstat(stream.fileno()).st_mode)
    except BaseException:
        stream.close()
        raise
    return stream


def most_bytes(stream: IO[bytes]) -> int:
    """Return how much may be made of an open file: what it takes on the disk, or what `LIMITS` allows if that is more.

    A file with holes (a sparse file) takes far less on the disk than its size.
    """
    found = os.fstat(stream.fileno())
    taken = min(found.st_blocks * 512, found.st_size) if hasattr(found, "st_blocks") else found.st_size
    return max(taken, LIMITS.expanded_bytes)


def check_bytes(size: int, most: int, where: object) -> None:
    """Raise ValueError where more would be made of a file than `most_bytes` says."""
    if size > most:
        raise ValueError(f"{where} must hold at most {most} bytes, expanded, as bitlearn.files.LIMITS says, got more")


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a binary file that replaces `path` when the block ends, and leaves no trace if the block raises.

    Parameters
    ----------
    path : path-like
        The file to write. Its folder must exist. A link is followed; a pipe or a device is written directly.

    Yields
    ------
    binary file

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.

    Notes
    -----
    The bytes go to a temporary file in the same folder, are flushed to the disk, and are renamed over `path` in one
    step, so a reader sees the old file or the new one; then the folder is flushed too. A new file has the permissions
    that the umask gives, a replaced one keeps its own. A temporary file is locked while it is written. Those left in
    the folder by a killed process are not locked, and are removed first.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "note.txt")
    ...     with atomic_write(path) as stream:
    ...         _ = stream.write("whole or not at all".encode())
    ...     path.read_text()
    'whole or not at all'
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # renaming over /dev/null would replace the device
        with path.open("wb") as direct:
            yield direct
        return
    path = _in_a_folder(path)
    _remove_orphans(path.parent)
    temporary = path.parent / f".bitlearn-{secrets.token_hex(8)}.tmp"
    try:
        with _opened(temporary) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if path.exists():
                shutil.copymode(path, temporary)
            if _POSIX:  # while it is locked: else somebody could take it for an orphan
                os.replace(temporary, path)
        if not _POSIX:
            os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def exclusive(path: str | os.PathLike[str]) -> Iterator[None]:
    """Lock a file that is written repeatedly, for this process only, until the block or the process ends.

    Parameters
    ----------
    path : path-like
        The file, which need not exist; its folder must. Only regular files are locked.

    Raises
    ------
    BlockingIOError
        If another process has locked it, under whatever spelling of its path.
    FileNotFoundError
        If the folder does not exist.

    Notes
    -----
    The lock is advisory (``flock``), and on a file of its own beside `path`, since `atomic_write` replaces `path`. The
    system releases it when a process is killed. There is none on Windows, nor where the file system has no locks.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "checkpoint")
    ...     with exclusive(path), exclusive(path):
    ...         pass
    Traceback (most recent call last):
    ...
    BlockingIOError: ...checkpoint must be written by one process at a time, got another that holds it
    """
    path = Path(path)
    if not _POSIX or (path.exists() and not path.is_file()):
        yield
        return
    held = _in_a_folder(path)
    lock = held.with_name(f".bitlearn-{hashlib.blake2b(os.fsencode(held.name), digest_size=8).hexdigest()}.lock")
    while True:
        stream = open(lock, "ab", opener=_opener("O_NOFOLLOW"))  # noqa: SIM115
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            raise BlockingIOError(
                f"{path} must be written by one process at a time, got another that holds it"
            ) from None
        except OSError:  # no locks here
            break
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), os.stat(lock)):
                break
        stream.close()  # removed by who held it before: begin again
    with stream:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _in_a_folder(path: Path) -> Path:
    """Return the path without links; raise where its folder does not exist."""
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder of a file to write must exist, got {path}")
    return path


def _opened(temporary: Path) -> BinaryIO:
    """Make a temporary file and lock it."""
    while True:
        # By name and exclusively: tempfile would give the permissions 0600 whatever the umask says.
        stream: BinaryIO = temporary.open("xb")
        try:
            if _POSIX:
                with suppress(OSError):  # no locks here: then nobody removes orphans either
                    fcntl.flock(stream, fcntl.LOCK_EX)
            if temporary.exists():
                return stream
            stream.close()  # taken for an orphan before it was locked
        except BaseException:
            stream.close()
            raise


def _remove_orphans(folder: Path) -> None:
    """Remove temporary files that nobody writes any more: whose lock is free."""
    if not _POSIX:
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError), open(entry.path, "r+b", opener=_opener("O_NOFOLLOW")) as orphan:
                    fcntl.flock(orphan, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)


def _sync_folder(folder: Path) -> None:
    """Flush a folder to the disk: a new name in it is lost with the power otherwise."""
    if not _POSIX:  # Windows opens no folder
        return
    with suppress(PermissionError):  # one that may be written but not read
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot
                raise
        finally:
            os.close(descriptor)
