"""Data files made to harm: refused in a sentence, without the memory that they name or expand to."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from damage import COMPRESS, refused
from test_datasets import idx_file, write_mnist
from test_datasets_cifar import cifar_files

from bitlearn import datasets
from bitlearn.datasets import cifar, compressed, npz, restricted_pickle
from bitlearn.files import LIMITS

BOMB = 2**24  # so many zeros
MOST = 2**20
#: What a reader may take: a decoder of xz has a window of 8 MB, whatever it reads.
MEMORY = {"": 2**22, ".gz": 2**22, ".bz2": 2**23, ".xz": 2**24}


@pytest.fixture
def limit(monkeypatch):
    monkeypatch.setattr(LIMITS, "expanded_bytes", MOST)


# --- IDX -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_no_more_is_expanded_than_the_header_says(tmp_path, suffix):
    write_mnist(tmp_path, suffix)
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(COMPRESS[suffix](idx_file(np.zeros((65, 3, 5), np.uint8)) + bytes(BOMB)))
    with refused(str(path), "must hold 975 bytes for 65 x 3 x 5 values, got more", memory=MEMORY[suffix]):
        datasets.load("mnist", tmp_path)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_no_more_is_allocated_than_is_there(tmp_path, suffix):
    """Whatever the header says."""
    write_mnist(tmp_path, suffix)
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    for sizes in ((2**14, 100, 100), (2**32 - 1,) * 3):
        path.write_bytes(COMPRESS[suffix](struct.pack(">BBBB3I", 0, 0, 8, 3, *sizes) + bytes(100)))
        with refused(str(path), "must hold", memory=MEMORY[suffix]):
            datasets.load("mnist", tmp_path)


def test_the_limit_can_be_changed(tmp_path, monkeypatch):
    write_mnist(tmp_path, ".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_file(np.zeros((65, 3, 5), np.uint8))))
    monkeypatch.setattr(LIMITS, "expanded_bytes", 990)  # 16 of the header and 975 values are one more
    with refused(str(path), "must hold at most 990 bytes, expanded, as bitlearn.files.LIMITS says, got more"):
        datasets.load("mnist", tmp_path)
    monkeypatch.setattr(LIMITS, "expanded_bytes", 991)
    assert len(datasets.load("mnist", tmp_path).x_train) == 65


def test_a_file_has_what_room_it_takes_on_the_disk(tmp_path, monkeypatch):
    """Whatever the limit: a large file is no small one that grows. Holes take none."""
    monkeypatch.setattr(LIMITS, "expanded_bytes", 100)
    write_mnist(tmp_path)
    assert len(datasets.load("mnist", tmp_path).x_train) == 65
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, 2**20, 32, 32))
    os.truncate(path, 16 + 2**30)
    with refused(str(path), "must hold at most .* bytes, expanded", memory=2**20):
        datasets.load("mnist", tmp_path)
    for name in cifar_files("cifar10", "binary"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 3073 * 2**18)
    with refused("data_batch_1.bin", "must hold at most 100 bytes, expanded", memory=2**22):
        datasets.load("cifar10", tmp_path)


def test_a_pipe_is_no_data_file(tmp_path):
    write_mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FileNotFoundError, match="no file t10k-images-idx3-ubyte"):
        datasets.load("mnist", tmp_path)
    os.mkfifo(tmp_path / "mine.npz")
    with pytest.raises(ValueError, match=r"mine\.npz must be a regular file, got a pipe"):
        datasets.load("npz", tmp_path)
    with pytest.raises(ValueError, match="must be a regular file, got a pipe"):
        compressed.read(path)


# --- CIFAR -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_a_batch_expands_to_the_limit_at_most(tmp_path, suffix, limit):
    for name, content in cifar_files("cifar10", "binary").items():
        (tmp_path / (name + suffix)).write_bytes(COMPRESS[suffix](content))
    assert len(datasets.load("cifar10", tmp_path).x_train) == 20
    (tmp_path / f"data_batch_3.bin{suffix}").write_bytes(COMPRESS[suffix](bytes(BOMB)))
    with refused("data_batch_3.bin", "must hold at most 1048576 bytes", memory=2 * MEMORY[suffix]):
        datasets.load("cifar10", tmp_path)


def member(name: str, content: bytes = b"", **fields) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, io.BytesIO(content)


def archive(path: Path, *more, suffix: str = "gz", without: str = "") -> Path:
    """Write an archive of a small CIFAR-10, and more members behind it."""
    with tarfile.open(path, f"w:{suffix}") as tar:
        for name, content in cifar_files("cifar10", "binary").items():
            if name != without:
                tar.addfile(*member(name, content))
        for each in more:
            tar.addfile(*each)
    return path


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "must hold data_batch_3.bin as a regular file"),
        ({"type": tarfile.LNKTYPE, "linkname": "data_batch_1.bin"}, "must hold data_batch_3.bin as a regular file"),
        ({"type": tarfile.FIFOTYPE}, "must hold data_batch_3.bin as a regular file"),
        ({"type": tarfile.CHRTYPE}, "must hold data_batch_3.bin as a regular file"),
        ({"pax_headers": {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**33)}}, "as a regular file"),
        ({"pax_headers": {"size": str(2**60)}}, "must hold at most 268435456 bytes, expanded"),
        ({"pax_headers": {"size": "-1024"}}, "truncated or corrupt|whole records"),
    ],
)
def test_a_member_that_is_no_regular_file(tmp_path, fields, sentence):
    path = archive(tmp_path / "a.tar.gz", member("data_batch_3.bin", **fields), without="data_batch_3.bin")
    with refused("a.tar.gz", sentence):
        datasets.load("cifar10", path)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.CONTTYPE, b"Q"])
def test_a_member_that_ends_nowhere_is_not_looked_for(tmp_path, kind):
    """Nobody wants it, but what is behind it: the standard library would go there step by step, for years."""
    path = archive(tmp_path / "a.tar.gz", member("other", type=kind, pax_headers={"size": str(10**18)}))
    with refused("a.tar.gz", "must hold at most 268435456 bytes, expanded"):
        datasets.load("cifar10", path)


def test_a_sparse_member_of_the_old_kind(tmp_path):
    """A hole of eight gigabytes, in a header as GNU tar wrote it before pax."""
    info, _ = member("data_batch_3.bin")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[156:157], block[483:495] = b"S", b"%011o\0" % (2**33 - 1)
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    path = tmp_path / "a.tar.gz"
    whole = gzip.decompress(archive(path, without="data_batch_3.bin").read_bytes()).rstrip(b"\0")
    whole += bytes(-len(whole) % 512) + bytes(block) + bytes(1024)
    path.write_bytes(gzip.compress(whole))
    with refused("a.tar.gz", "must hold data_batch_3.bin as a regular file, got a link, a sparse file or a device"):
        datasets.load("cifar10", path)


def test_an_archive_of_too_much(tmp_path, limit):
    content = cifar_files("cifar10", "binary")["data_batch_3.bin"]
    path = archive(tmp_path / "a.tar.gz", member("data_batch_3.bin", content))
    with refused("a.tar.gz", "must hold data_batch_3.bin once, got it twice"):
        datasets.load("cifar10", path)
    path = archive(tmp_path / "b.tar.xz", member("other", bytes(BOMB)), suffix="xz")
    with refused("b.tar.xz", "must hold at most 1048576 bytes", memory=MEMORY[".xz"]):
        datasets.load("cifar10", path)
    path = archive(tmp_path / "c.tar.bz2", *(member(f"other{i}") for i in range(1000)), suffix="bz2")
    with refused("c.tar.bz2", "must hold at most 1000 files, as bitlearn.files.LIMITS says, got more"):
        datasets.load("cifar10", path)
    for module, suffix in ((gzip, "gz"), (bz2, "bz2"), (lzma, "xz")):
        path = archive(tmp_path / f"d.tar.{suffix}", suffix=suffix)
        path.write_bytes(path.read_bytes() + module.compress(bytes(BOMB)))  # a second stream behind the archive
        with refused(path.name, "must hold at most 1048576 bytes", memory=MEMORY[f".{suffix}"]):
            datasets.load("cifar10", path)


# --- pickles ---------------------------------------------------------------------------------------------------------

PROTO = b"\x80\x02"
DEEP = b"".join(b"q%ch%c\x86" % (i, i) for i in range(100))
DTYPE = b"cnumpy\ndtype\nU\x02u1\x85R"
REBUILT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"}r\xff\xff\xff\x00s.", "IndexError|pop from empty list"),  # a memo of sixteen million places
        (b"X\xff\xff\xff\x7f", "a string must take 2147483647 bytes, got 0"),
        (b"\x8e" + b"\xff" * 8, "a string must take 18446744073709551615 bytes"),
        (b"\x8b\xff\xff\xff\x7f", "a string must take 2147483647 bytes"),
        (b"T\xff\xff\xff\xff", "a string must take 4294967295 bytes"),
        (b"]" * 20_000, "at most 10078 instructions, got more"),
        (b"}" + b"K\x01\x85" + b"2\x86" * 3 + b"K\x01s.", "asks for DUP"),
        (b"}K\x01K\x02\x86K\x01s.", "its keys must be text"),
        (b"}(K\x01K\x02u.", "its keys must be text"),
        (b"}X\x01\0\0\0aK\x01X\x01\0\0\0bu.", "its marks do not fit"),
        (b"(.", "its marks do not fit"),
        # A tuple of two of a tuple of two of..., whose text, hash and comparison have two to the power of its depth.
        (b"X\x01\0\0\0a" + DEEP + b"X\x01\0\0\0b\x93.", "what it asks for must have a name"),
        (b"}X\x01\0\0\0a" + DEEP + b"K\x01s.", "its keys must be text"),
        (b"cnumpy\ndtype\nX\x01\0\0\0a" + DEEP + b"\x85RN\x93.", "what it asks for must have a name"),
        (b"c_codecs\nencode\nX\x01\0\0\0aX\x01\0\0\0b" + DEEP + b"\x86R.", "calls something that makes no array"),
        (REBUILT + b"(K\x01X\x01\0\0\0b" + DEEP + DTYPE + b"K\0U\x01atb.", "must be integers|interpreted|sequence"),
        (REBUILT + b"(K\x01K\x01\x85" + DTYPE + b"K\0X\x01\0\0\0atb.", "the content of arrays must be bytes"),
        (b"}\0.", "a byte 00 is no instruction"),
        (b"}", "it has no end"),
        (b".", "pop from empty list"),
        (b"cnumpy\ndtype\n.", None),
        (b"cnumpy\ndtype\nU\x02u1\x85R}X\x01\0\0\0nK\x05sb.", None),
        (b"cnumpy\ndtype\n}X\x01\0\0\0nK\x05sb.", "gives a state to something that is no array"),
        (b"cbuiltins\nsetattr\n.", "it asks for builtins.setattr, which a file of arrays does not need"),
        (b"c__main__\nx y\n.", "it asks for __main__"),
        (b"P1\n.", "asks for PERSID"),
        (b"\x82\x01.", "asks for EXT1"),
        (b"(i__main__\nx\n.", "asks for INST"),
        (b"(c__main__\nx\no.", "asks for __main__.x"),
        (b"]K\x01K\x02s.", "sets items of something that is no dictionary"),
        (b"}K\x01a.", "appends to something that is no list"),
        (b"K\x01K\x02R.", "calls something that makes no array"),
        (b"cnumpy\nndarray\n)R.", "calls something that makes no array"),
        (REBUILT + b"N\x7db.", "it gives|cannot unpack|unpack|values|asks for"),
        (b"}\x8a\xff" + b"\x01" * 254, "a string must take 255 bytes, got 254"),
        (b"}I" + b"9" * 5000 + b"\n.", "limit|digits"),
    ],
)
def test_a_pickle_that_asks_for_too_much(content, sentence):
    with refused("batch", sentence or "must be a pickled dictionary", memory=2**22):
        restricted_pickle.read_dict(PROTO + content, "batch")


def test_a_pickle_cannot_name_what_its_notes_are():
    """A state of attributes, which once were set: names of the notes themselves, and a dtype that is none."""
    state = b"(K\x01K\x01K\x01\x86%sK\x00U\x01atb"
    head = b"}X\x04\0\0\0data" + REBUILT
    for dtype in (b"N", b"cnumpy\ndtype\n", b"cnumpy\ndtype\nU\x02u2\x85R", b"cnumpy\ndtype\n]\x85R"):
        with refused("batch", "arrays must be uint8"):
            restricted_pickle.read_dict(PROTO + head + state % dtype + b"s.", "batch")
    read = restricted_pickle.read_dict(PROTO + head + state % b"cnumpy\ndtype\nU\x02u1\x85R" + b"s.", "batch")
    assert read["data"].tolist() == [[97]]


def test_text_becomes_bytes_once():
    """A memo could give one text a thousand times."""
    head = b"(lp0\nV" + b"x" * 100_000 + b"\np1\na"
    call = b"c_codecs\nencode\ng1\nVlatin1\n\x86Ra"
    with refused("batch", "makes more bytes of text than it holds", memory=2**22):
        restricted_pickle.read_dict(head + call * 100 + b".", "batch")


def test_arrays_of_other_sizes_than_their_content():
    content = pickle.dumps({"data": np.zeros((4, 3072), np.uint8), "labels": [1] * 4}, 2)
    size = struct.pack("<H", 3072)
    assert content.count(b"M" + size) == 1
    for other in (3071, 65535):
        with refused("batch", "cannot reshape"):
            cifar.decode_python(content.replace(b"M" + size, b"M" + struct.pack("<H", other)), "labels", "batch")


# --- npz -------------------------------------------------------------------------------------------------------------

X, Y = np.zeros((6, 2), np.float32), np.arange(6) % 2


def npy(array: np.ndarray, **header) -> bytes:
    """An .npy file whose header says something else."""
    stream = io.BytesIO()
    said = np.lib.format.header_data_from_array_1_0(array) | header
    np.lib.format.write_array_header_1_0(stream, said)
    return stream.getvalue() + array.tobytes()


def zipped(path: Path, how: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in ({"X": npy(X), "y": npy(Y)} | members).items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (npy(X, shape=(2**30, 2)), r"X of .* must take 8589934592 bytes, got 48"),
        (npy(X, shape=(2**62, 2**62)), "X of .* must take"),
        (npy(X, shape=(-6, -2)), "X of .* must|corrupt"),
        (npy(X, shape=(6, 3)), "X of .* must take 72 bytes, got 48"),
        (npy(X) + b"\0", "X of .* must take 48 bytes, got 49"),
        (npy(X)[:-1], "X of .* must take 48 bytes, got 47"),
        (npy(X, descr="<U1000000"), "X of .* must hold numbers"),
        (npy(X, descr="|O"), "X of .* must hold numbers, got object"),
        (npy(X, descr="|V4"), "X of .* must hold numbers"),
        (npy(X, descr=[("a", "<f4")]), "X of .* must hold numbers"),
        (npy(X, descr="<f4" * 1000), "truncated or corrupt"),
        (npy(X).replace(b"{", b"[" * 80, 1), "truncated or corrupt"),
        (b"\x93NUMPY\x03\x00" + npy(X)[8:], r"must be of version 1 or 2 of the .npy format, got \(3, 0\)"),
        (pickle.dumps([1]), "truncated or corrupt"),
        (b"", "truncated or corrupt"),
    ],
)
def test_an_array_that_is_not_what_it_says(tmp_path, how, content, sentence):
    path = zipped(tmp_path / "mine.npz", how, X=content)
    with refused("mine.npz", sentence):
        npz.load(path, 0)


def test_an_npz_that_expands(tmp_path, limit):
    path = zipped(tmp_path / "mine.npz", X=npy(np.zeros((BOMB, 1), np.uint8)))
    with refused("mine.npz", "must hold at most 1048576 bytes, expanded, as bitlearn.files.LIMITS says"):
        npz.load(path, 0)
    for how, name in ((zipfile.ZIP_BZIP2, 12), (zipfile.ZIP_LZMA, 14)):
        path = zipped(tmp_path / "mine.npz", how)
        with refused("mine.npz", f"X of .* must be stored or deflated, got compression {name}"):
            npz.load(path, 0)
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("X.npy", npy(X))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("X.npy", npy(Y))
    with refused("mine.npz", "must hold an array X once, got it 2 times"):
        npz.load(path, 0)


def test_a_zip_of_nothing_but_names(tmp_path):
    """A list of a hundred thousand; and one that is hidden, where the archive has two ends that differ."""
    path = zipped(tmp_path / "mine.npz")
    content = path.read_bytes()
    start = content.index(b"PK\1\2")
    entry = content[start : content.index(b"PK\1\2", start + 1)]
    end = bytearray(content[content.index(b"PK\5\6") :])
    listed, size = entry * 100_000, struct.pack("<I", len(entry) * 100_000)
    end[12:16] = size
    path.write_bytes(content[:start] + listed + end)
    with refused("mine.npz", "must list at most 1000 arrays, as bitlearn.files.LIMITS says, got more"):
        npz.load(path, 0)
    where = start + len(listed)
    full = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 10**5, 10**5, len(listed), start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, where, 1)
    end[12:16] = struct.pack("<I", len(entry))
    path.write_bytes(content[:start] + listed + full + locator + end)
    with refused("mine.npz", "must list at most 1000 arrays"):
        npz.load(path, 0)


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_that_says_another_size_than_it_has(tmp_path, how):
    path = zipped(tmp_path / "mine.npz", how)
    content, size = path.read_bytes(), struct.pack("<I", len(npy(X)))
    for other in (2**31, len(npy(X)) + 64, len(npy(X)) - 1):
        path.write_bytes(content.replace(size, struct.pack("<I", other)))
        with refused("mine.npz", "mine.npz"):
            npz.load(path, 0)


def test_fortran_order_and_byte_order(tmp_path):
    x = np.arange(12, dtype=">f8").reshape(6, 2)
    np.savez(tmp_path / "mine.npz", X=np.asfortranarray(x), y=Y.astype(">i2"), X_test=x + 1, y_test=Y)
    found = npz.load(tmp_path / "mine.npz", 0)
    np.testing.assert_array_equal(found[0], x)
    np.testing.assert_array_equal(found[1], Y)
    assert all(array.flags.writeable for array in found)
