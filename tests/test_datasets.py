"""Every format against files made by hand, the published files where they are, and damage of every kind."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from damage import COMPRESS, at_worst_a_sentence_with

from bitlearn import datasets
from bitlearn.datasets import compressed, idx, npz


def idx_file(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, suffix: str = "", separator: str = "-") -> dict[str, np.ndarray]:
    """Write the four files of a small MNIST; returns the arrays."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, count in (("train", 65), ("t10k", 9)):
        images = rng.integers(0, 256, (count, 3, 5), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        for what, array in (("images", images), ("labels", labels)):
            name = f"{part}-{what}{separator}idx{array.ndim}-ubyte{suffix}"
            (folder / name).write_bytes(COMPRESS[suffix](idx_file(array)))
            arrays[f"{part}-{what}"] = array
    return arrays


# --- IDX -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("separator", ["-", "."])
def test_idx_plain_and_compressed(tmp_path, suffix, separator):
    arrays = write_mnist(tmp_path, suffix, separator)
    data = datasets.load("kmnist", tmp_path)
    assert data.name == "kmnist" and data.classes == 10
    assert data.x_train.shape == (65, 3, 5, 1) and data.x_train.dtype == np.uint8
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    assert np.array_equal(data.x_train[..., 0], arrays["train-images"])
    assert np.array_equal(data.y_train, arrays["train-labels"])
    assert np.array_equal(data.x_test[..., 0], arrays["t10k-images"])
    assert np.array_equal(data.y_test, arrays["t10k-labels"])


@pytest.mark.parametrize(
    ("name", "usual"), [("mnist", "mnist"), ("fashion-mnist", "fashion-mnist"), ("kmnist", "KMNIST/raw")]
)
def test_the_usual_folder_is_found_from_above(tmp_path, name, usual):
    arrays = write_mnist(tmp_path / usual)
    assert np.array_equal(datasets.load(name, str(tmp_path)).y_test, arrays["t10k-labels"])


@pytest.mark.parametrize("suffix", COMPRESS)
def test_idx_truncated_is_one_sentence(tmp_path, suffix):
    write_mnist(tmp_path, suffix)
    path = tmp_path / f"t10k-labels-idx1-ubyte{suffix}"
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte"):
            datasets.load("mnist", tmp_path)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_idx_corrupt_is_one_sentence(tmp_path, suffix):
    write_mnist(tmp_path, suffix)
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    content, rng = path.read_bytes(), np.random.default_rng(2)
    for _ in range(100):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with at_worst_a_sentence_with(str(path)):
            datasets.load("mnist", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        idx_file(np.zeros((2, 2, 2), np.uint8)),  # three dimensions for labels
        b"\0\0\x0d" + idx_file(np.zeros(2, np.uint8))[3:],  # floats
        idx_file(np.zeros(2, np.uint8)) + b"\0",
        struct.pack(">BBBBI", 0, 0, 8, 1, 2**32 - 1) + bytes(9),
    ],
)
def test_idx_is_strict(content):
    with pytest.raises(ValueError, match=r"^labels must"):
        idx.decode(compressed.Expanded(io.BytesIO(content), 2**33, Path("labels")), 1, "labels")


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        datasets.load("mnist", tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no file train-images-idx3-ubyte .* in .*mnist"):
        datasets.load("mnist", tmp_path)
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte"):
        datasets.load("mnist", tmp_path)
    for name in ("cifar10", "cifar100", "npz"):
        with pytest.raises(FileNotFoundError, match=str(tmp_path.name)):
            datasets.load(name, tmp_path)
        with pytest.raises(ValueError, match=r"needs the (folder|path of its file)"):
            datasets.load(name)
    with pytest.raises(ValueError, match=r"dataset must be one of .*, got 'imagenet'"):
        datasets.load("imagenet", tmp_path)
    with pytest.raises(ValueError, match="got 'mnst'; perhaps mnist"):
        datasets.load("mnst", tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"dataset csv needs the path of its file, got no file or folder .*a\.csv"
    ):
        datasets.load("csv", tmp_path / "a.csv")


def test_labels_outside_the_classes(tmp_path):
    arrays = write_mnist(tmp_path)
    labels = arrays["t10k-labels"]
    labels[3] = 10
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_file(labels))
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 10\), got 10 in y_test"):
        datasets.load("mnist", tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_file(labels[:3]))
    with pytest.raises(ValueError, match="y_test must hold 9 labels"):
        datasets.load("mnist", tmp_path)


# --- npz -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "dtype", "shape"),
    [
        (np.random.default_rng(0).normal(size=(40, 3)), np.float32, (3,)),
        (np.arange(120, dtype=np.uint8).reshape(40, 3), np.uint8, (3,)),
        (np.arange(120).reshape(40, 3), np.float32, (3,)),
        (np.zeros((40, 3), dtype=bool), np.float32, (3,)),
        (np.arange(240, dtype=np.uint8).reshape(40, 2, 3), np.uint8, (2, 3, 1)),
        (np.arange(240, dtype=np.uint8).reshape(40, 1, 2, 3), np.uint8, (1, 2, 3)),
    ],
)
def test_npz(tmp_path, x, dtype, shape):
    y = np.arange(40, dtype=np.int32) % 4
    np.savez(tmp_path / "mine.npz", X=x, y=y)
    data = datasets.load("npz", tmp_path)
    assert data.classes == 4
    assert data.x_train.dtype == data.x_test.dtype == dtype
    assert data.x_train.shape == (32, *shape) and data.x_test.shape == (8, *shape)
    assert np.bincount(data.y_test).tolist() == [2, 2, 2, 2]
    together = np.concatenate([data.x_train, data.x_test]).reshape(40, -1)
    original = x.astype(dtype).reshape(40, -1)
    assert np.array_equal(np.sort(together, axis=0), np.sort(original, axis=0))
    again, other = datasets.load("npz", tmp_path / "mine.npz"), datasets.load("npz", tmp_path, seed=1)
    assert np.array_equal(again.x_test, data.x_test) and np.array_equal(again.y_test, data.y_test)
    train, test = datasets.holdout(y, 0.2, 1)
    assert np.array_equal(other.x_test.reshape(8, -1), original[test])
    assert np.array_equal(other.y_train, y[train])


def test_npz_with_its_own_test_set(tmp_path):
    x, y = np.eye(5, 3, dtype=np.float32), np.array([0, 1, 2, 1, 0])
    np.savez_compressed(tmp_path / "mine.npz", X=x, y=y, X_test=x[:2] + 1, y_test=y[:2], other=np.zeros(1))
    data = datasets.load("npz", tmp_path)
    assert np.array_equal(data.x_train, x) and np.array_equal(data.x_test, x[:2] + 1)
    assert np.array_equal(data.y_test, [0, 1]) and data.classes == 3


X, Y = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X}, "must hold an array y, got X"),
        ({"data": X}, "must hold an array X, got data: "),
        ({"X": X, "y": Y, "X_test": X}, "must hold an array y_test"),
        ({"X": X, "y": Y, "y_test": Y}, "must hold an array X_test"),
        ({"X": X, "y": Y[:3]}, "must have the same length, got 4 and 3"),
        ({"X": X, "y": Y, "X_test": X, "y_test": Y[:3]}, "y_test must hold 4 labels"),
        ({"X": X, "y": Y, "X_test": X[:, :1], "y_test": Y}, "x_train and x_test must have the same type and shape"),
        (
            {"X": X, "y": Y, "X_test": X.astype(np.uint8), "y_test": Y},
            "x_train and x_test must have the same type and shape",
        ),
        ({"X": X, "y": Y, "X_test": X[:0], "y_test": Y[:0]}, "x_test must not be empty"),
        ({"X": X[:0], "y": Y[:0]}, "must not be empty"),
        ({"X": X[:, :0], "y": Y}, "must not be empty"),
        ({"X": X[:2], "y": Y[:2]}, "x_test must not be empty"),
        ({"X": X, "y": Y - 1}, r"labels must lie in \[0, 1\), got -1"),
        ({"X": X, "y": Y, "X_test": X, "y_test": Y + 1}, r"labels must lie in \[0, 2\), got 2 in y_test"),
        ({"X": X, "y": Y * 10**9}, r"labels must lie in \[0, 65536\), got 1000000000"),
        ({"X": X, "y": Y.astype(float)}, "integer labels"),
        ({"X": X, "y": Y[:, None]}, "integer labels"),
        ({"X": X, "y": np.array(list("abab"))}, "must hold numbers, got <U1"),
        ({"X": X * np.nan, "y": Y}, "must be finite"),
        ({"X": X + np.inf, "y": Y}, "must be finite"),
        ({"X": X.astype(float) + 1e300, "y": Y}, "must be finite"),
        ({"X": X.astype(complex), "y": Y}, "real numbers"),
        ({"X": np.full((4, 2), None), "y": Y}, "must hold numbers, got object"),
        ({"X": X[0], "y": Y}, "must be features"),
        ({"X": np.zeros((4, 2, 2, 1), np.float32), "y": Y}, "must be features"),
    ],
)
def test_npz_that_makes_no_sense_is_one_sentence(tmp_path, arrays, message):
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        datasets.load("npz", tmp_path)


def test_npz_damaged_or_something_else(tmp_path):
    path, rng = tmp_path / "mine.npz", np.random.default_rng(5)
    np.savez(path, X=X, y=Y)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"mine\.npz"):
            npz.load(path, 0)
    for _ in range(300):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with at_worst_a_sentence_with("mine.npz"):
            npz.load(path, 0)
    np.save(tmp_path / "array.npy", X)
    with pytest.raises(ValueError, match=r"array\.npy must be an \.npz file"):
        datasets.load("npz", tmp_path / "array.npy")
    np.savez(tmp_path / "second.npz", X=X, y=Y)
    with pytest.raises(FileNotFoundError, match=r"exactly one \.npz file, got 2"):
        datasets.load("npz", tmp_path)


# --- digits and the published files ----------------------------------------------------------------------------------


def test_digits():
    sklearn = pytest.importorskip("sklearn.datasets")
    original = sklearn.load_digits()
    data, again = datasets.load("digits"), datasets.load("digits", seed=9)
    assert data.x_train.shape == (1438, 8, 8, 1) and data.x_test.shape == (359, 8, 8, 1)
    assert np.array_equal(data.x_test, again.x_test)
    scaled = np.array([round(pixel * 255 / 16) for pixel in range(17)])
    assert scaled[0] == 0 and scaled[8] == 128 and scaled[16] == 255
    table = {
        scaled[image.astype(int)].astype(np.uint8).tobytes(): label
        for image, label in zip(original.images, original.target, strict=True)
    }
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert [table[image.tobytes()] for image in x] == y.tolist()
    ratio = np.bincount(data.y_test) / np.bincount(original.target)
    assert np.all(np.abs(ratio - 0.2) < 0.01)


def test_digits_without_importing_scikit_learn(monkeypatch, tmp_path):
    pytest.importorskip("sklearn")
    code = "import sys, bitlearn as bl; bl.datasets.load('digits'); print('sklearn' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
    monkeypatch.setattr("bitlearn.datasets.digits._FILE", Path("no/such/file"))
    with pytest.raises(ImportError, match=r"digits comes with scikit-learn: pip install 'bitlearn-xnor\[sklearn\]'"):
        datasets.load("digits")
    other = tmp_path / "digits.csv.gz"
    other.write_bytes(gzip.compress(b"1,2,3\n"))
    monkeypatch.setattr("bitlearn.datasets.digits._FILE", other)  # an absolute path stays as it is
    with pytest.raises(ValueError, match=r"digits.csv.gz must hold 1797 rows of 65 numbers from 0 to 16"):
        datasets.load("digits")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match="digits comes with scikit-learn"):
        datasets.load("digits")


@pytest.fixture(scope="module")
def published() -> Path:
    folder = os.environ.get("BITLEARN_DATA")
    if not folder:
        pytest.skip("BITLEARN_DATA is not set")
    return Path(folder)


def test_published_mnist(published):
    data = datasets.load("mnist", published / "mnist")
    assert data.x_train.shape == (60000, 28, 28, 1) and data.x_test.shape == (10000, 28, 28, 1)
    assert data.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.y_test[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(data.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    # The pixels' published mean and standard deviation.
    assert round(data.x_train.mean() / 255, 4) == 0.1307 and round(data.x_train.std() / 255, 4) == 0.3081


def test_published_fashion_mnist(published):
    data = datasets.load("fashion-mnist", published)
    assert data.x_train.shape == (60000, 28, 28, 1) and data.x_test.shape == (10000, 28, 28, 1)
    assert data.y_train[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert np.bincount(data.y_train).tolist() == [6000] * 10 and np.bincount(data.y_test).tolist() == [1000] * 10
    assert round(data.x_train.mean() / 255, 4) == 0.2860 and round(data.x_train.std() / 255, 4) == 0.3530


def test_published_cifar10(published):
    data = datasets.load("cifar10", published)
    assert data.x_train.shape == (50000, 32, 32, 3) and data.x_test.shape == (10000, 32, 32, 3)
    assert data.y_train[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert np.bincount(data.y_train).tolist() == [5000] * 10 and np.bincount(data.y_test).tolist() == [1000] * 10
    # The loaded arrays, written back as records, are the published file.
    records = np.empty((10000, 3073), dtype=np.uint8)
    records[:, 0] = data.y_test
    records[:, 1:] = np.moveaxis(data.x_test, 3, 1).reshape(10000, 3072)
    assert hashlib.md5(records.tobytes()).hexdigest() == "803d5f7f4d78ea53de84dbe85f74fb6d"


def test_what_the_readme_needs_is_exported():
    """Raw arrays become what training takes with the names of `bitlearn.datasets` alone."""
    from bitlearn import datasets

    x, y = np.arange(24, dtype=np.uint8).reshape(4, 6), np.array([0, 1, 0, 1])
    examples = datasets.Examples(x, y, datasets.prepare(x))
    assert isinstance(examples.preparation, datasets.Preparation) and len(examples) == 4
    assert examples.codes().dtype == np.int8 and examples.codes(slice(0, 1)).shape == (1, 6)
    assert all(hasattr(datasets, name) for name in datasets.__all__) and set(datasets.__all__) <= set(dir(datasets))
    with pytest.raises(ValueError, match=r"y must be labels of shape \(4,\), got shape \(3,\)"):
        datasets.Examples(x, y[:3], datasets.prepare(x))
