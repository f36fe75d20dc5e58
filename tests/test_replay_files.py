"""A replay memory in a file: what is there after closing, killing, cutting and writing, and who may open it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bitlearn.bits import WORD, Bits
from bitlearn.continual import stores
from bitlearn.continual.replay import ReplayBuffer
from bitlearn.rng import Key

CLASSES = 5
LABELS = np.arange(60) * 7 % 11 % CLASSES


def numbered(first: int, count: int) -> Bits:
    return Bits(np.stack([np.arange(first, first + count), np.arange(count)], axis=1).astype(WORD), 128)


def mapped(path: Path, capacity: int = 20, classes: int = CLASSES, **options) -> ReplayBuffer:
    return ReplayBuffer(capacity, 128, classes, path=path, **options)


def same(a: ReplayBuffer, b: ReplayBuffer) -> bool:
    theirs = b.arrays()
    return all(
        np.array_equal(array, theirs[name]) and array.dtype == theirs[name].dtype for name, array in a.arrays().items()
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory"


@pytest.fixture
def closed(path):
    """The file of a full memory, closed."""
    with mapped(path) as memory:
        memory.add(numbered(0, 60), LABELS)
    return path


def test_a_memory_in_a_file_is_the_same_as_one_in_memory_and_goes_on_where_it_was_closed(path):
    plain = ReplayBuffer(20, 128, CLASSES)
    for part in range(4):
        with mapped(path) as memory:
            assert same(memory, plain)
            for each in (memory, plain):
                each.add(numbered(100 * part, 60), LABELS)
                each.add(numbered(100 * part + 60, 1), LABELS[:1])
            assert same(memory, plain) and memory.nbytes == plain.nbytes
            assert np.array_equal(memory.sample(9, Key(2))[0].words, plain.sample(9, Key(2))[0].words)
            assert path.stat().st_size == memory.file_bytes and plain.file_bytes == 0
    assert os.listdir(path.parent) == ["memory"]


@pytest.mark.parametrize(("dtype", "shape"), [("uint8", (3, 3, 1)), ("int8", 7), ("float32", (2, 5))])
def test_other_types_lie_in_files_too(path, dtype, shape):
    with ReplayBuffer(6, shape, 2, dtype=dtype, path=path) as memory:
        x = np.random.default_rng(0).integers(0, 120, (9, *memory.shape)).astype(dtype)
        memory.add(x, np.arange(9) % 2)
        kept = memory.examples.copy()
    with ReplayBuffer(6, shape, 2, dtype=dtype, path=path) as memory:
        assert np.array_equal(memory.examples, kept) and memory.counts.tolist() == [3, 3]


def test_classes_grow_in_a_file(path):
    plain = ReplayBuffer(20, 128, 3)
    with mapped(path, classes=3) as memory:
        for classes in (3, 5, 300, 301, 2000):
            labels = np.arange(60) * 31 % classes
            for each in (memory, plain):
                each.grow(classes)
                each.add(numbered(0, 60), labels)
            assert same(memory, plain) and memory.classes == classes
    with mapped(path, classes=1) as memory:  # fewer than there are: it has its own
        assert same(memory, plain) and memory.classes == 2000
    with mapped(path, classes=2001) as memory:
        assert memory.classes == 2001 and memory.seen[:2000].tolist() == plain.seen.tolist()


def test_a_checkpoint_sets_a_file_back(closed):
    with mapped(closed) as memory:
        kept = {name: array.copy() for name, array in memory.arrays().items()}
        memory.grow(400)
        memory.add(numbered(500, 60), LABELS + 300)
        memory.restore(kept)
        assert all(np.array_equal(array, kept[name]) for name, array in memory.arrays().items())
    with mapped(closed) as memory:
        assert all(np.array_equal(array, kept[name]) for name, array in memory.arrays().items())


def killed(path: Path, code: str) -> None:
    """Run Python that ends by killing itself."""
    begin = f"""
import os, signal
import numpy as np
from bitlearn.bits import Bits
from bitlearn.continual import reservoir
from bitlearn.continual.replay import ReplayBuffer
memory = ReplayBuffer(20, 128, {CLASSES}, path={str(path)!r})
x = Bits(np.arange(120, dtype=np.uint64).reshape(60, 2), 128)
labels = np.arange(60) * 7 % 11 % {CLASSES}
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


posix = pytest.mark.skipif(os.name != "posix", reason="the process is killed by a signal")


@posix
def test_after_a_kill_between_additions_the_memory_is_where_the_last_one_left_it(path):
    killed(path, "memory.add(x, labels)\nmemory.add(x[:1], labels[:1])\ndie()")
    plain = ReplayBuffer(20, 128, CLASSES)
    x = Bits(np.arange(120, dtype=WORD).reshape(60, 2), 128)
    plain.add(x, LABELS)
    plain.add(x[:1], LABELS[:1])
    with mapped(path) as memory:
        assert same(memory, plain)


@posix
def test_after_a_kill_inside_an_addition_the_file_is_refused(path):
    killed(
        path,
        "memory.add(x, labels)\nplace = reservoir.Reservoir._block\n"
        "reservoir.Reservoir._block = lambda self, labels: (place(self, labels), die())\nmemory.add(x, labels)",
    )
    with pytest.raises(
        ValueError, match=r"memory must be whole, got one that was left in the middle of an addition: remove"
    ):
        mapped(path)
    path.unlink()
    mapped(path).close()


def test_after_the_machine_stopped_only_what_was_flushed_is_taken_up(path, tmp_path, monkeypatch):
    flushed, changed = tmp_path / "flushed", tmp_path / "changed"
    with mapped(path) as memory:
        memory.add(numbered(0, 60), LABELS)
        memory.flush()
        shutil.copy(path, flushed)
        memory.add(numbered(60, 1), LABELS[:1])
        shutil.copy(path, changed)
        kept = len(memory)
    monkeypatch.setattr(stores, "_boot", lambda: b"another start of the machine".ljust(36))
    with pytest.raises(
        ValueError, match="changed must have been flushed before the machine stopped, got one that was not"
    ):
        mapped(changed)
    with mapped(flushed) as memory:
        assert len(memory) == kept
    # Where the system does not tell its starts apart, nothing that was not flushed is taken up.
    monkeypatch.setattr(stores, "_boot", lambda: b" " * 36)
    with mapped(flushed) as memory:
        memory.add(numbered(60, 1), LABELS[:1])
        shutil.copy(flushed, changed)
    with pytest.raises(ValueError, match="must have been flushed"):
        mapped(changed)


def test_two_may_not_hold_a_file(closed):
    with mapped(closed), pytest.raises(BlockingIOError, match="must be written by one process at a time"):
        mapped(closed)
    mapped(closed).close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capacity": 21}, "capacity 20, not 21"),
        ({"dtype": "int8"}, "dtype 'bits', not 'int8'"),
        ({"key": Key(3)}, r"key \[0, 0, \d+\], not \[3, 0, 0\]"),
    ],
)
def test_the_file_of_another_memory_is_refused_and_stays(closed, options, message):
    before = closed.read_bytes()
    with pytest.raises(ValueError, match=f"memory must hold a memory with the same settings, but has {message}"):
        mapped(closed, **options)
    with pytest.raises(ValueError, match=r"but has shape \[128\], not \[2, 64\]"):
        ReplayBuffer(20, (2, 64), CLASSES, path=closed)
    assert closed.read_bytes() == before
    mapped(closed).close()


def test_a_closed_file_that_was_cut_or_written_to_is_refused(closed):
    whole, changed = closed.read_bytes(), []
    for at in [*range(0, 120, 3), *range(2048, 2072), *range(2112, 2192, 5), *range(4096, len(whole), 29)]:
        closed.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        # Of a clean file it does not matter how many changes there were, nor in which start of the machine.
        if 2048 <= at < 2056 or 2112 <= at < 2176:
            mapped(closed).close()
        else:
            changed.append(at)
            with pytest.raises(ValueError, match=re.escape(str(closed))):
                mapped(closed)
    assert len(changed) > 50
    for size in (0, 10, 4095, 4096, len(whole) - 1, len(whole) + 1):
        closed.write_bytes(whole.ljust(size, b"\0")[:size])
        with pytest.raises(ValueError, match=r"must have the .* bytes that its header says|with an intact header"):
            mapped(closed)
    closed.write_bytes(b"something else".ljust(len(whole)))
    with pytest.raises(ValueError, match="must hold a replay memory with an intact header"):
        mapped(closed)
    closed.unlink()
    closed.mkdir()
    with pytest.raises(ValueError, match="must be a regular file, got a folder"):
        mapped(closed)


def test_books_that_no_memory_has_are_refused_after_a_kill_too(path):
    memory = mapped(path)
    memory.add(numbered(0, 60), LABELS)
    copy = path.with_name("copy")
    memory.arrays()["order"][:] = 0
    shutil.copy(path, copy)
    memory.close()
    with pytest.raises(ValueError, match="must list its places by class"):
        mapped(copy)


@posix
@pytest.mark.parametrize("what", ["cut", "replaced", "removed", "changed"])
def test_an_open_file_that_others_touch_is_noticed_before_its_next_use(closed, what):
    memory, whole = mapped(closed), closed.read_bytes()
    if what == "cut":
        os.truncate(closed, 5000)
    elif what == "changed":
        with open(closed, "r+b") as other:
            other.seek(2048)
            other.write(np.array([90], dtype="<i8").tobytes())
    else:
        closed.unlink()
        if what == "replaced":
            closed.write_bytes(whole)
    for use in (
        lambda: memory.add(numbered(0, 60), LABELS),
        lambda: memory.add(numbered(0, 1), LABELS[:1]),
        lambda: memory.sample(3, Key(0)),
        lambda: memory.grow(300),
        memory.flush,
        memory.close,
    ):
        with pytest.raises(
            ValueError, match="must not change while it is open, got one that was truncated, replaced or"
        ):
            use()
    with pytest.raises(ValueError, match="must be open, got one that was closed"):
        memory.sample(1, Key(0))


def test_a_folder_that_is_missing_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder of a file to write must exist"):
        mapped(tmp_path / "none" / "memory")
