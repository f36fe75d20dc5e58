"""CIFAR in each published form, against the definition pixel by pixel; and pickles that ask for more than arrays."""

from __future__ import annotations

import io
import os
import pickle
import sys
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from damage import COMPRESS, at_worst_a_sentence_with

from bitlearn import datasets
from bitlearn.datasets import cifar, restricted_pickle


def cifar_records(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows of pixels and labels for each file, by its name in the Python version."""
    rng = np.random.default_rng(3)
    files = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"] if name == "cifar10" else ["train", "test"]
    classes = 10 if name == "cifar10" else 100
    return {f: (rng.integers(0, 256, (4, 3072), dtype=np.uint8), rng.integers(0, classes, 4)) for f in files}


def cifar_files(name: str, version: str, protocol: int = 2) -> dict[str, bytes]:
    files = {}
    for file, (pixels, labels) in cifar_records(name).items():
        if version == "binary":
            columns = [labels[:, None]] if name == "cifar10" else [labels[:, None] // 5, labels[:, None]]
            files[f"{file}.bin"] = np.concatenate([*columns, pixels], axis=1).astype(np.uint8).tobytes()
        else:
            key = b"labels" if name == "cifar10" else b"fine_labels"
            batch = {b"data": pixels, key: labels.tolist(), b"filenames": [b"a.png"] * 4, b"batch_label": b"one"}
            files[file] = pickle.dumps(batch, protocol)
    return files


def expected_images(pixels: np.ndarray) -> np.ndarray:
    """The definition, pixel by pixel: red plane, green plane, blue plane, each row by row."""
    images = np.empty((len(pixels), 32, 32, 3), dtype=np.uint8)
    for row in range(32):
        for column in range(32):
            for channel in range(3):
                images[:, row, column, channel] = pixels[:, channel * 1024 + row * 32 + column]
    return images


def check_cifar(name: str, data: datasets.Dataset) -> None:
    records = cifar_records(name)
    test = records.popitem()[1]
    pixels = np.concatenate([pixels for pixels, _ in records.values()])
    assert np.array_equal(data.x_train, expected_images(pixels))
    assert np.array_equal(data.y_train, np.concatenate([labels for _, labels in records.values()]))
    assert np.array_equal(data.x_test, expected_images(test[0]))
    assert np.array_equal(data.y_test, test[1])
    assert data.classes == (10 if name == "cifar10" else 100)


FOLDERS = {
    ("cifar10", "binary"): "cifar-10-batches-bin",
    ("cifar10", "python"): "cifar-10-batches-py",
    ("cifar100", "binary"): "cifar-100-binary",
    ("cifar100", "python"): "cifar-100-python",
}
ARCHIVES = {
    key: f"{folder.replace('-batches-bin', '-binary').replace('-batches-py', '-python')}.tar.gz"
    for key, folder in FOLDERS.items()
}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize(("name", "version"), FOLDERS)
def test_cifar_folder(tmp_path, name, version, suffix):
    folder = tmp_path / FOLDERS[name, version]
    folder.mkdir()
    for file, content in cifar_files(name, version).items():
        (folder / (file + suffix)).write_bytes(COMPRESS[suffix](content))
    check_cifar(name, datasets.load(name, folder))
    check_cifar(name, datasets.load(name, tmp_path))


@pytest.mark.parametrize(("name", "version"), FOLDERS)
def test_cifar_archive(tmp_path, name, version):
    path = tmp_path / ARCHIVES[name, version]
    with tarfile.open(path, "w:gz") as archive:
        for file, content in cifar_files(name, version).items():
            member = tarfile.TarInfo(f"{FOLDERS[name, version]}/{file}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    check_cifar(name, datasets.load(name, path))
    check_cifar(name, datasets.load(name, tmp_path))
    with pytest.raises(FileNotFoundError, match="no file"):
        datasets.load("cifar100" if name == "cifar10" else "cifar10", path)
    content, rng = path.read_bytes(), np.random.default_rng(9)
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="truncated or corrupt"):
            datasets.load(name, path)
    for _ in range(20):
        damaged = bytearray(content)
        damaged[rng.integers(100, len(content))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="truncated or corrupt"):
            datasets.load(name, path)


@pytest.mark.parametrize("protocol", range(5))
def test_cifar_pickles_of_every_protocol(protocol):
    content = cifar_files("cifar10", "python", protocol)["test_batch"]
    pixels, labels = cifar_records("cifar10")["test_batch"]
    images, read = cifar.decode_python(content, "labels", "batch")
    assert np.array_equal(images, expected_images(pixels)) and np.array_equal(read, labels)


def test_cifar_pickle_of_python_2():
    # As Python 2 wrote the published files: short strings are byte strings, and so is the array's content.
    data = np.arange(3072, dtype=np.uint32).astype(np.uint8)
    content = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b"
        b"\x87Rq\x05(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00" + data.tobytes() + b"tbU\x06labelsq\x08]q\x09K\x07au."
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of the old flags: the oracle is the full unpickler
        trusted = pickle.loads(content, encoding="bytes")
    assert np.array_equal(trusted[b"data"][0], data)
    images, labels = cifar.decode_python(content, "labels", "batch")
    assert np.array_equal(images, expected_images(data[None])) and labels.tolist() == [7]


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        Call(os.system, "echo"),
        Call(eval, "1"),
        Call(getattr, "a", "upper"),
        Call(np.load, "file"),
        Call(np.zeros, 3),
        {"data": Call(sys.exit)},
        {"data": np.array([None], dtype=object)},
        {"data": np.zeros((1, 3072))},
        {"data": np.float64(1)},
        {"data": np.zeros((1, 3072), dtype=[("a", "u1")])},
        {"data": np.arange(3), "more": Path("x")},
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_runs_nothing(value, protocol):
    with pytest.raises(ValueError, match=r"^batch cannot be read: "):
        restricted_pickle.read_dict(pickle.dumps(value, protocol), "batch")


def test_a_damaged_pickle_is_one_sentence():
    content, rng = cifar_files("cifar10", "python")["test_batch"], np.random.default_rng(4)
    interesting = np.r_[:80, len(content) - 80 : len(content)]
    for length in interesting:
        with pytest.raises(ValueError, match=r"^batch "):
            cifar.decode_python(content[:length], "labels", "batch")
    for _ in range(300):
        damaged = bytearray(content)
        damaged[rng.choice(interesting)] ^= int(rng.integers(1, 256))
        with at_worst_a_sentence_with("batch "):
            cifar.decode_python(bytes(damaged), "labels", "batch")


@pytest.mark.parametrize(
    "batch",
    [
        [],
        {},
        {"data": [1], "labels": [1]},
        {"data": np.zeros((0, 3072), np.uint8), "labels": []},
        {"data": np.zeros((2, 3071), np.uint8), "labels": [1, 2]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, -1]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2**70]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, "a"]},
        {"data": np.zeros((2, 3072), np.uint8), "fine_labels": [1, 2]},
    ],
)
def test_a_pickle_of_something_else_is_one_sentence(batch):
    with pytest.raises(ValueError, match=r"^batch must "):
        cifar.decode_python(pickle.dumps(batch, 4), "labels", "batch")


@pytest.mark.parametrize("length", [0, 1, 3072, 3074, 2 * 3073 - 1])
def test_cifar_binary_takes_whole_records(length):
    with pytest.raises(ValueError, match=f"whole records of 3073 bytes, got {length} bytes"):
        cifar.decode_binary(bytes(length), 1, 0, "batch")
