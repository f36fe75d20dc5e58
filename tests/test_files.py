"""Which files are opened, what a killed writer leaves, and who may write."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bitlearn.errors import sentence
from bitlearn.files import atomic_write, exclusive, open_regular

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and locks of POSIX")


def waiting(folder: Path, block: str) -> subprocess.Popen:
    """Start a process that stays inside a block, and return once it is there."""
    code = (
        f"import sys; from bitlearn.files import *\nwith {block} as stream:\n    print('in', flush=True)\n    input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "in\n"
    return process


def end(process: subprocess.Popen, *, kill: bool) -> None:
    if kill:
        process.send_signal(signal.SIGKILL)
    process.communicate("\n")


def test_a_regular_file_is_read_and_a_link_followed(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as stream:
            assert stream.read() == b"content"
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_a_folder_a_pipe_and_a_device_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path, kind in ((tmp_path, "folder"), (tmp_path / "pipe", "pipe"), (tmp_path / "link", "pipe")):
        with pytest.raises(ValueError, match=f"{path} must be a regular file, got a {kind}"):
            open_regular(path)
    with pytest.raises(ValueError, match="got a device"):
        open_regular("/dev/zero")


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"")
    looked = os.stat
    monkeypatch.setattr("bitlearn.files.os.stat", lambda path: looked(tmp_path / "file"))
    signal.alarm(20)  # instead of hanging
    with pytest.raises(ValueError, match="got a pipe"):
        open_regular(tmp_path / "pipe")
    signal.alarm(0)


def test_what_a_killed_writer_leaves_is_removed_by_the_next_one(tmp_path):
    end(waiting(tmp_path, "atomic_write('one')"), kill=True)
    (orphan,) = tmp_path.iterdir()
    assert orphan.suffix == ".tmp"
    with atomic_write(tmp_path / "other") as stream:
        stream.write(b"1")
    assert os.listdir(tmp_path) == ["other"]


def test_what_somebody_still_writes_stays(tmp_path):
    others = [waiting(tmp_path, f"atomic_write('{name}')") for name in "ab"]
    assert len(os.listdir(tmp_path)) == 2
    with atomic_write(tmp_path / "c") as stream, atomic_write(tmp_path / "d"):
        stream.write(b"1")
    for process in others:
        end(process, kill=False)
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c", "d"]


def test_files_of_others_stay(tmp_path):
    """Other names, folders and links are no orphans, whatever they look like."""
    names = [".bitlearn-0123456789abcdef.tmp", ".bitlearn-0123456789abcdeg.tmp", ".bitlearn-01.tmp", "x.tmp"]
    (tmp_path / names[0]).mkdir()
    for name in names[1:]:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link").symlink_to("x.tmp")
    (tmp_path / ".bitlearn-fedcba9876543210.tmp").symlink_to("x.tmp")
    before = sorted(os.listdir(tmp_path))
    with atomic_write(tmp_path / "file"):
        pass
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "file"])


def test_a_file_that_is_taken_for_an_orphan_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    import fcntl

    lock, made = fcntl.flock, []

    def later(stream, how):
        if not made:  # somebody else removes it just now
            made.append(stream.name)
            os.unlink(stream.name)
        lock(stream, how)

    monkeypatch.setattr("bitlearn.files.fcntl.flock", later)
    with atomic_write(tmp_path / "file") as stream:
        stream.write(b"1")
        assert made and os.path.samestat(os.fstat(stream.fileno()), os.stat(stream.name))
    assert (tmp_path / "file").read_bytes() == b"1" and os.listdir(tmp_path) == ["file"]


def test_the_folder_is_flushed_behind_the_new_name(tmp_path, monkeypatch):
    flush, seen = os.fsync, []

    def noted(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        seen.append((kind, (tmp_path / "file").exists()))
        flush(descriptor)

    monkeypatch.setattr("bitlearn.files.os.fsync", noted)
    with atomic_write(tmp_path / "file") as stream:
        stream.write(b"1")
    assert seen == [("file", False), ("folder", True)]


def test_one_process_at_a_time(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "link").symlink_to("inside")
    other = waiting(tmp_path, "exclusive('inside/file')")
    for path in (
        tmp_path / "inside" / "file",
        tmp_path / "link" / ".." / "inside" / "file",
        tmp_path / "link" / "file",
    ):
        with pytest.raises(BlockingIOError, match="file must be written by one process at a time"), exclusive(path):
            pass
    with exclusive(tmp_path / "inside" / "other"), exclusive(tmp_path / "file"):
        pass
    end(other, kill=False)
    with exclusive(tmp_path / "inside" / "file"):
        pass
    assert os.listdir(tmp_path / "inside") == []


def test_a_killed_process_holds_nothing(tmp_path):
    end(waiting(tmp_path, "exclusive('file')"), kill=True)
    for _ in range(2):
        with exclusive(tmp_path / "file"):
            pass
    assert os.listdir(tmp_path) == []


def test_a_lock_that_is_removed_while_it_is_waited_for_is_no_lock(tmp_path, monkeypatch):
    import fcntl

    lock, removed = fcntl.flock, []

    def later(stream, how):
        if not removed:
            removed.append(os.unlink(stream.name))
        lock(stream, how)

    monkeypatch.setattr("bitlearn.files.fcntl.flock", later)
    with exclusive(tmp_path / "file"):
        monkeypatch.undo()
        with pytest.raises(BlockingIOError), exclusive(tmp_path / "file"):
            pass


def test_holding_wants_a_folder_and_leaves_devices_alone(tmp_path):
    missing = pytest.raises(FileNotFoundError, match="the folder of a file to write must exist")
    with missing, exclusive(tmp_path / "none" / "file"):
        pass
    with exclusive(os.devnull), exclusive(os.devnull):
        pass


def test_a_sentence_is_short_and_can_be_printed():
    assert sentence(ValueError("a\nb\x1b[31m\ud800é")) == "a\\nb\\x1b[31m\\ud800é"
    assert sentence(ValueError("x" * 10_000)) == "x" * 400 + "..."
    assert sentence(MemoryError()) == "MemoryError"
