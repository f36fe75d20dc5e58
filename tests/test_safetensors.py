"""The safetensors layout, whole-or-nothing writes, and what a damaged file does."""

from __future__ import annotations

import json
import os
import stat
import sys

import numpy as np
import pytest

from bitlearn import safetensors
from bitlearn.files import atomic_write

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def some_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {f"t.{name}": rng.integers(0, 2, (3, 5)).astype(name) for name in DTYPES}
    arrays["scalar"] = np.array(-2.5, dtype=np.float32)
    arrays["empty"] = np.zeros((0, 7), dtype=np.int16)
    arrays["words"] = rng.integers(0, 2**64, (2, 3), dtype=np.uint64)
    arrays['ключ "quoted" \n'] = np.arange(129, dtype=np.int8)
    arrays["nan"] = np.array([np.nan, -0.0, np.inf])
    return arrays


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def raw(header: object, data: bytes = b"") -> bytes:
    """A file with that header, whatever it is."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.safetensors"


def test_round_trip(path):
    arrays, metadata = some_arrays(), {"made": "here", "ü": ""}
    safetensors.write(path, arrays, metadata)
    read, read_metadata = safetensors.read(path)
    assert read_metadata == metadata
    assert read.keys() == arrays.keys()
    assert all(same(read[name], arrays[name]) for name in arrays)
    assert all(array.flags.writeable and array.flags.aligned for array in read.values())


def test_nothing_to_hold(path):
    safetensors.write(path, {}, {})
    assert path.read_bytes() == raw(b"{}      ")
    assert safetensors.read(path) == ({}, {})


def test_the_same_content_gives_the_same_bytes(path):
    arrays, metadata = some_arrays(), {"b": "1", "a": "2"}
    safetensors.write(path, arrays, metadata)
    first = path.read_bytes()
    safetensors.write(path, dict(reversed(arrays.items())), dict(reversed(metadata.items())))
    assert path.read_bytes() == first
    assert int.from_bytes(first[:8], "little") % 8 == 0


@pytest.mark.parametrize(
    "array", [np.arange(6, dtype=">i4").reshape(2, 3), np.asfortranarray(np.eye(3)), np.eye(4)[::2]]
)
def test_any_memory_order_and_byte_order(path, array):
    safetensors.write(path, {"x": array}, {})
    read = safetensors.read(path)[0]["x"]
    assert np.array_equal(read, array) and read.dtype.isnative and read.flags.c_contiguous


def test_the_package_reads_what_we_write(path):
    package = pytest.importorskip("safetensors.numpy")
    from safetensors import safe_open

    arrays = some_arrays()
    safetensors.write(path, arrays, {"made": "here"})
    read = package.load_file(path)
    assert read.keys() == arrays.keys()
    assert all(same(read[name], arrays[name]) for name in arrays)
    with safe_open(path, framework="numpy") as opened:
        assert opened.metadata() == {"made": "here"}


def test_we_read_what_the_package_writes(path):
    package = pytest.importorskip("safetensors.numpy")
    arrays = some_arrays()
    package.save_file(arrays, path, metadata={"made": "there"})
    read, metadata = safetensors.read(path)
    assert metadata == {"made": "there"}
    assert read.keys() == arrays.keys()
    assert all(same(read[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize(
    ("arrays", "metadata", "error"),
    [
        ({"x": np.array([1j])}, {}, TypeError),
        ({"x": np.array(["a"])}, {}, TypeError),
        ({"x": np.array([None])}, {}, TypeError),
        ({3: np.zeros(1)}, {}, TypeError),
        ({"__metadata__": np.zeros(1)}, {}, ValueError),
        ({"x": np.zeros(1)}, {"a": 1}, TypeError),
        ({"\ud800": np.zeros(1)}, {}, ValueError),
    ],
)
def test_what_cannot_be_stored_leaves_no_file(path, arrays, metadata, error):
    with pytest.raises(error):
        safetensors.write(path, arrays, metadata)
    assert list(path.parent.iterdir()) == []


def entry(dtype="U8", shape=(2,), offsets=(0, 2), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


BAD = {
    "empty file": b"",
    "seven bytes": bytes(7),
    "no header": raw(b""),
    "header past the end": (100).to_bytes(8, "little") + b"{}",
    "absurd header length": b"\xff" * 8 + b"{}",
    "not JSON": raw(b"{nonsense}"),
    "not UTF-8": raw(b'{"\xff": 1}'),
    "a list": raw([]),
    "leading space": raw(b" {}"),
    "byte order mark": raw(b"\xef\xbb\xbf{}"),
    "two objects": raw(b"{}{}"),
    "deep nesting": raw(b'{"x":' + b"[" * 100_000),
    "a very long integer": raw(b'{"x":' + b"9" * 10_000 + b"}"),
    "a name twice": raw(b'{"__metadata__":{},"__metadata__":{}}'),
    "a field twice": raw(b'{"x":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}}', bytes(2)),
    "metadata not strings": raw({"__metadata__": {"a": 1}}),
    "metadata not an object": raw({"__metadata__": "a"}),
    "an array that is a number": raw({"x": 1}),
    "a missing field": raw({"x": {"dtype": "U8", "shape": [2]}}, bytes(2)),
    "a field too many": raw({"x": entry(extra=1)}, bytes(2)),
    "unknown type": raw({"x": entry("BF16")}, bytes(2)),
    "type not a string": raw({"x": entry(["U8"])}, bytes(2)),
    "negative size": raw({"x": entry(shape=(-1, -2))}, bytes(2)),
    "size not an integer": raw({"x": entry(shape=(2.0,))}, bytes(2)),
    "size a boolean": raw({"x": entry(shape=(2, True))}, bytes(2)),
    "too many dimensions": raw({"x": entry(shape=[1] * 64 + [2])}, bytes(2)),
    "shape a number": raw({"x": {"dtype": "U8", "shape": 2, "data_offsets": [0, 2]}}, bytes(2)),
    "one offset": raw({"x": entry(offsets=(2,))}, bytes(2)),
    "negative offset": raw({"x": entry(offsets=(-2, 0))}, bytes(2)),
    "backward offsets": raw({"x": entry(offsets=(2, 0))}, bytes(2)),
    "size other than the offsets": raw({"x": entry(shape=(3,))}, bytes(3)),
    "larger than the file": raw({"x": entry(shape=(2**40,), offsets=(0, 2**40))}, bytes(2)),
    "larger than any memory": raw({"x": entry(shape=(2**62, 4), offsets=(0, 2**64))}, bytes(2)),
    "nothing, but too wide": raw({"x": entry(shape=(0, 2**62, 8), offsets=(0, 0))}),
    "data too short": raw({"x": entry()}, bytes(1)),
    "data too long": raw({"x": entry()}, bytes(3)),
    "data without an array": raw({}, bytes(1)),
    "a hole at the start": raw({"x": entry(offsets=(1, 3))}, bytes(3)),
    "a hole in the middle": raw({"x": entry(), "y": entry(offsets=(3, 5))}, bytes(5)),
    "an overlap": raw({"x": entry(), "y": entry(offsets=(1, 3))}, bytes(3)),
    "the same bytes twice": raw({"x": entry(), "y": entry()}, bytes(2)),
    "a boolean of two": raw({"x": entry("BOOL")}, bytes([1, 2])),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_bad_file_is_one_sentence(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a valid safetensors file: ") as caught:
        safetensors.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def small_file(path) -> bytes:
    arrays = {"w": np.arange(3, dtype=np.int16), "b": np.array([True, False]), "s": np.array(0.5, dtype=np.float32)}
    safetensors.write(path, arrays, {"made": "here"})
    return path.read_bytes()


def test_truncated_anywhere(path):
    content = small_file(path)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="is not a valid safetensors file"):
            safetensors.read(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="is not a valid safetensors file"):
        safetensors.read(path)


def test_flipped_bytes_never_do_worse_than_a_sentence(path):
    content, rng, refused = small_file(path), np.random.default_rng(1), 0
    for _ in range(500):
        damaged = np.frombuffer(content, dtype=np.uint8).copy()
        where = rng.integers(0, len(damaged), rng.integers(1, 4))
        damaged[where] = rng.integers(0, 256, len(where))
        path.write_bytes(damaged.tobytes())
        try:
            arrays, _ = safetensors.read(path)
        except ValueError:
            refused += 1
        else:
            assert sum(array.nbytes for array in arrays.values()) <= len(content)
    assert 0 < refused < 500


def test_a_missing_file_is_named(path):
    with pytest.raises(FileNotFoundError, match=r"a\.safetensors"):
        safetensors.read(path)


# --- atomic_write ----------------------------------------------------------------------------------------------------


def write_and_raise(path, error) -> None:
    with atomic_write(path) as stream:
        stream.write(b"new")
        raise error


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "note"
    path.write_bytes(b"old")

    class Stop(BaseException):
        pass

    for error in (RuntimeError, KeyboardInterrupt, Stop):
        with pytest.raises(error):
            write_and_raise(path, error)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["note"]


def test_the_old_file_stays_until_the_end(tmp_path):
    path = tmp_path / "note"
    path.write_bytes(b"old")
    with atomic_write(str(path)) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["note"]


def test_a_missing_folder_and_a_folder_are_refused(tmp_path):
    missing = pytest.raises(FileNotFoundError, match="the folder of a file to write must exist")
    with missing, atomic_write(tmp_path / "none" / "note"):
        pass
    with pytest.raises((IsADirectoryError, PermissionError)), atomic_write(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions, links and devices")
def test_permissions_links_and_devices(tmp_path):
    path = tmp_path / "note"
    before = os.umask(0o027)
    try:
        with atomic_write(path) as stream:
            stream.write(b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    with atomic_write(link) as stream:
        stream.write(b"2")
    assert link.is_symlink() and path.read_bytes() == b"2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with atomic_write(os.devnull) as stream:
        stream.write(b"3")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
