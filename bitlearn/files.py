"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a binary file that takes the place of `path` when the block ends, and leaves no trace where it raises.

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
        Where the folder does not exist.

    Notes
    -----
    The bytes go to a temporary file in the same folder, are flushed to the disk, and are renamed over `path` in one
    step, so a reader sees the old file or the new one. A new file has the permissions that the umask gives, a replaced
    one keeps its own.

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
        with path.open("wb") as stream:
            yield stream
        return
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder of a file to write must exist, got {path}")
    # Opened by name and exclusively: tempfile would give the permissions 0600 whatever the umask says.
    temporary = path.with_name(f".bitlearn-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
