"""Where the arrays of a replay memory are stored: in memory, or in a memory-mapped file that is checked when opened."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from bitlearn.files import atomic_write, exclusive, open_regular
from bitlearn.safetensors import Types

Arrays = Mapping[str, np.ndarray]
#: A function from the number of classes to the shape and dtype of each array by name.
TypesOf = Callable[[int], Types]
Assignments = list[tuple[np.ndarray, Any, Any]]

_MAGIC = b"bitlearn replay memory 1\n"
#: Offsets in a file of the changing numbers, the boot identifier, the digest, and the arrays, each aligned to 64 bytes.
#: The header has a page of its own.
_STATE, _BOOT, _SUM, _ARRAYS, _ALIGNED, _DIGEST = 2048, 2112, 2176, 4096, 64, 16
#: The changing numbers: how often a change began or ended; the number of classes; whether everything is on disk.
_CHANGES, _CLASSES, _CLEAN = 0, 1, 2
#: The least and the largest number of classes that a file has room for; the least still has one-byte labels.
_ROOM, _MOST_ROOM = 2**8, 2**32
_BOOT_FILE, _BOOT_BYTES = Path("/proc/sys/kernel/random/boot_id"), 36
_PIECE = 2**20
_REMEDY = "remove it, or restore a checkpoint into a new one"
_HALF_MADE = "a memory must be restored after an addition that failed half-way, but it was used again"


class InMemory:
    """Arrays in memory.

    Parameters
    ----------
    types : callable
    classes : int

    Attributes
    ----------
    arrays : dict of str to ndarray
        Live.
    classes, room : int
        The number of classes, and the number that the arrays have room for, which is the same.
    file_bytes : int
        0.
    """

    file_bytes = 0

    def __init__(self, types: TypesOf, classes: int):
        self._types, self.classes, self.room = types, classes, classes
        # `full`, not `zeros`, whose pages the system would allocate only when they are first written.
        self.arrays = {name: np.full(shape, 0, dtype=dtype) for name, (shape, dtype) in types(classes).items()}
        self._changes = np.zeros(1, dtype=np.int64)

    def check(self, *, whole: bool = True) -> None:
        """Raise RuntimeError if a change was left half-made, if `whole` is required."""
        if whole and self._changes.item(0) % 2:
            raise RuntimeError(_HALF_MADE)

    def begin(self) -> Assignments:
        """Return the assignments that begin a change; a second one without `end` must rewrite everything."""
        return [(self._changes, 0, self._changes.item(0) | 1)]

    def end(self) -> Assignments:
        """Return the assignments that end a change begun with `begin`."""
        return [(self._changes, 0, (self._changes.item(0) | 1) + 1)]

    def resize(self, arrays: Arrays, classes: int) -> None:
        """Replace the arrays by others, for more or fewer classes."""
        self.arrays, self.classes, self.room = dict(arrays), classes, classes
        self._changes[0] = 0

    def set_classes(self, classes: int) -> Assignments:
        """Return the assignments that store the number of classes: none, since the arrays show it."""
        return []

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Mapped:
    """Arrays in a file.

    Parameters
    ----------
    path : path-like
        Created if there is none; its folder must exist. It is locked until `close`.
    settings : dict
        A description of the arrays that JSON can hold; that in the file must be equal.
    types : callable
    classes : int
        The number of classes of a new file; an existing one has its own.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Live: what is written to them is in the file, and on the disk after `flush`.
    classes, room : int
        The number of classes, and the number that the arrays have room for: a power of two, at least 256.
    file_bytes : int

    Raises
    ------
    BlockingIOError
        If another process has locked the file.
    ValueError
        If the file is not a replay memory, was truncated or written by others, has other settings, or may be
        inconsistent.

    Notes
    -----
    A counter in the file is increased before and after each change. The operating system keeps what a killed process
    wrote to a mapped file, in order, so a file with an even counter is consistent, and one with an odd counter was left
    in the middle of a change. If the machine itself stops, it is unknown which pages had reached the disk. So a file is
    marked as not clean before its first change can reach the disk, and as clean, with a digest of the arrays, when
    everything has been written (`flush`). A file that is not clean is accepted only until the machine has been
    restarted.

    The lock is advisory. Before each use, the file's size, its links and the counter show whether another process
    truncated it, replaced it, or changed it through this class; other writes are detected by the digest when a clean
    file is opened. A file truncated between this check and the use ends the process (SIGBUS), as with any mapped file.
    On Windows there is no lock, and a mapped file cannot be replaced by one with more room.
    """

    def __init__(self, path: str | os.PathLike[str], settings: dict[str, Any], types: TypesOf, classes: int):
        self.path, self.settings, self._types = Path(path), settings, types
        with ExitStack() as stack:
            stack.enter_context(exclusive(self.path))
            if not self.path.exists():
                self._write({}, classes)
            self._open()
            self._lock = stack.pop_all()

    # --- the file ---

    def _write(self, arrays: Arrays, classes: int) -> None:
        """Write a whole file: the given arrays, each at the beginning of its room, and zeros."""
        room = max(_ROOM, 1 << (classes - 1).bit_length())
        types = self._types(room)
        places, size = _places(types)
        text = json.dumps({"settings": self.settings, "room": room}, sort_keys=True).encode()
        header = _MAGIC + len(text).to_bytes(4, "little") + text
        header += hashlib.blake2b(header, digest_size=_DIGEST).digest()
        with atomic_write(self.path) as stream:
            stream.write(header.ljust(_STATE, b"\0"))
            stream.write(np.array([0, classes, 0], dtype="<i8").tobytes() + b"\0" * (_BOOT - _STATE - 24) + _boot())
            # Write the zeros instead of leaving a hole: a mapped page that the disk has no room for kills the process.
            for at in range(stream.tell(), size, _PIECE):
                stream.write(bytes(min(_PIECE, size - at)))
            for name, array in arrays.items():
                stream.seek(places[name])
                stream.write(np.ascontiguousarray(array, dtype=types[name][1]).data)

    def _open(self) -> None:
        """Map the file after checking that it is complete and the expected one."""
        open_regular(self.path).close()
        stream = open(self.path, "r+b")  # noqa: SIM115 - held until `close`
        try:
            room = self._check_header(stream.read(_ARRAYS))
            types = self._types(room)
            places, size = _places(types)
            found = os.fstat(stream.fileno()).st_size
            if found != size:
                raise ValueError(
                    f"{self.path} must have the {size} bytes that its header says, got {found}: it was truncated"
                )
            memory = mmap.mmap(stream.fileno(), size)
            state = np.frombuffer(memory, "<i8", 3, _STATE)
            self._check_state(memory, state.tolist(), room)
        except BaseException:
            stream.close()
            raise
        self._stream, self._memory, self._state, self.room, self.file_bytes = stream, memory, state, room, size
        self._expected = state[:1].copy()
        self.arrays = {
            name: np.frombuffer(memory, dtype, math.prod(shape), places[name]).reshape(shape)
            for name, (shape, dtype) in types.items()
        }

    def _check_header(self, page: bytes) -> int:
        """Return the number of classes that a file has room for, given its first bytes."""
        begin = len(_MAGIC) + 4
        end = begin + int.from_bytes(page[len(_MAGIC) : begin], "little")
        digest = hashlib.blake2b(page[:end], digest_size=_DIGEST).digest()
        if len(page) < _ARRAYS or not page.startswith(_MAGIC) or page[end : end + _DIGEST] != digest:
            raise ValueError(
                f"{self.path} must hold a replay memory with an intact header, got another or a damaged file"
            )
        match json.loads(page[begin:end]):
            case {"settings": dict(had), "room": int(room)} if _ROOM <= room <= _MOST_ROOM:
                wanted = self.settings.items()
                texts = [f"{key} {had.get(key)!r}, not {value!r}" for key, value in wanted if had.get(key) != value]
                if texts:
                    raise ValueError(
                        f"{self.path} must hold a memory with the same settings, but has {', '.join(texts)}"
                    )
                return room
        raise ValueError(f"{self.path} must hold a replay memory, got another description")

    def _check_state(self, memory: mmap.mmap, state: list[int], room: int) -> None:
        """Raise ValueError if the arrays may be inconsistent, or were written by another process."""
        changes, classes, clean = state
        if changes < 0 or not 1 <= classes <= room or clean not in (0, 1):
            raise ValueError(f"{self.path} must hold a replay memory, got one with impossible numbers")
        if changes % 2:
            raise ValueError(
                f"{self.path} must be whole, got one that was left in the middle of an addition: {_REMEDY}"
            )
        boot = memory[_BOOT : _BOOT + _BOOT_BYTES]
        if not clean and (boot != _boot() or not boot.strip()):
            raise ValueError(
                f"{self.path} must have been flushed before the machine stopped, got one that was not: {_REMEDY}"
            )
        if clean and memory[_SUM : _SUM + _DIGEST] != _digest(memory):
            raise ValueError(f"{self.path} must be unchanged since it was closed, got one that is not: {_REMEDY}")

    # --- its use ---

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self._state.item(_CLASSES)

    def check(self, *, whole: bool = True) -> None:
        """Raise an error if the file is closed, or was truncated, replaced or changed elsewhere; also as `InMemory`."""
        if self._stream.closed:
            raise ValueError(f"{self.path} must be open, got one that was closed")
        found = os.fstat(self._stream.fileno())
        changes = self._state.item(_CHANGES) if found.st_size == self.file_bytes else None
        if changes != self._expected.item(0) or not found.st_nlink:
            raise ValueError(
                f"{self.path} must not change while it is open, got one that was truncated, replaced or changed"
            )
        if whole and changes % 2:
            raise RuntimeError(_HALF_MADE)

    def begin(self) -> Assignments:
        """Return the assignments that begin a change, after marking the file on disk as changed."""
        if self._state.item(_CLEAN):
            self._memory[_BOOT : _BOOT + _BOOT_BYTES] = _boot()
            self._state[_CLEAN] = 0
            self._memory.flush(0, _ARRAYS)
        return self._counted(self._state.item(_CHANGES) | 1)

    def end(self) -> Assignments:
        """Return the assignments that end a change begun with `begin`."""
        return self._counted((self._state.item(_CHANGES) | 1) + 1)

    def _counted(self, changes: int) -> Assignments:
        return [(self._state, _CHANGES, changes), (self._expected, 0, changes)]

    def set_classes(self, classes: int) -> Assignments:
        """Return the assignments that store the number of classes, at most `room`; made within a change."""
        return [(self._state, _CLASSES, classes)]

    def resize(self, arrays: Arrays, classes: int) -> None:
        """Rewrite the file with room for more classes, whole or not at all, and map the new one."""
        self._write(arrays, classes)
        self._stream.close()
        self._open()

    def flush(self) -> None:
        """Write everything to disk: from then until the next change the file survives a crash of the machine."""
        self.check()
        if not self._state.item(_CLEAN):
            self._memory[_SUM : _SUM + _DIGEST] = _digest(self._memory)
            self._memory.flush()
            self._state[_CLEAN] = 1
            self._memory.flush(0, _ARRAYS)

    def close(self) -> None:
        """Flush and release the file; arrays that are still referenced stay readable."""
        if not self._stream.closed:
            try:
                self.flush()
            finally:
                self._stream.close()
                self._lock.close()


def _places(types: Types) -> tuple[dict[str, int], int]:
    """Return the offset of each array in a file, and the size of the file."""
    places, at = {}, _ARRAYS
    for name, (shape, dtype) in types.items():
        places[name] = at
        at += -(-math.prod(shape) * dtype.itemsize // _ALIGNED) * _ALIGNED
    return places, at


def _digest(memory: mmap.mmap) -> bytes:
    """Return a digest of the arrays and the number of classes."""
    found = hashlib.blake2b(memory[_STATE + 8 : _STATE + 16], digest_size=_DIGEST)
    with memoryview(memory) as view, view[_ARRAYS:] as arrays:
        found.update(arrays)
    return found.digest()


def _boot() -> bytes:
    """Return an identifier of the machine's current boot; spaces if the system has none."""
    with suppress(OSError):
        return _BOOT_FILE.read_bytes()[:_BOOT_BYTES].ljust(_BOOT_BYTES)
    return b" " * _BOOT_BYTES
