"""Arrays in files, chunk by chunk: NumPy's, Zarr's and Parquet's; what is written is what is read."""

from __future__ import annotations

import os

import numpy as np
import pytest

import bitlearn as bl

pytest.importorskip("distributed", reason="Dask is not installed: pip install bitlearn-xnor[dask]")
da = pytest.importorskip("dask.array", reason="Dask is not installed: pip install bitlearn-xnor[dask]")
dask = pytest.importorskip("dask")

from bitlearn import dask as bd  # noqa: E402


@pytest.fixture(autouse=True)
def in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def x(rng):
    return rng.normal(size=(23, 130)).astype(np.float32)


def test_numpy_files(x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    found = bd.from_npy(tmp_path / "x.npy", 5)
    assert found.chunks == ((5, 5, 5, 5, 3), (130,))
    assert np.array_equal(bd.pack(found).compute(), bl.pack(x))
    np.save(tmp_path / "one.npy", np.float32(1))
    with pytest.raises(ValueError, match="path must hold an array with rows, got a single value"):
        bd.from_npy(tmp_path / "one.npy", 5)
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="Python objects in dtype"):
        bd.from_npy(tmp_path / "objects.npy", 5)


def test_zarr_stores(x, tmp_path):
    pytest.importorskip("zarr", reason="Zarr is not installed: pip install zarr")
    path, packed = str(tmp_path / "x.zarr"), str(tmp_path / "words.zarr")
    da.from_array(x, chunks=(5, 64)).to_zarr(path)
    bd.pack(da.from_zarr(path)).to_zarr(packed)
    words = da.from_zarr(packed)
    assert words.dtype == np.uint64 and np.array_equal(words.compute(), bl.pack(x))
    assert np.array_equal(bd.unpack(words, 130).compute(), np.where(x >= 0, 1, -1))
    assert np.array_equal(bd.gram(words, 130).compute(), np.where(x >= 0, 1, -1).T @ np.where(x >= 0, 1, -1))


def table(columns):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install bitlearn-xnor[data]")
    return pa.table(columns)


def test_columns_of_parquet_files(x, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    names = [f"c{i}" for i in range(70)]
    for number, rows in enumerate((slice(0, 9), slice(9, 23))):
        columns = {name: x[rows, i] for i, name in enumerate(names)} | {"text": ["a"] * len(x[rows])}
        parquet.write_table(table(columns), tmp_path / f"{number}.parquet", row_group_size=4)
    found = bd.from_parquet(tmp_path, names)
    assert found.chunks == ((4, 4, 1, 4, 4, 4, 2), (70,)) and found.dtype == np.float32
    assert np.array_equal(bd.pack(found).compute(), bl.pack(x[:, :70]))
    assert np.array_equal(bd.from_parquet(tmp_path / "0.parquet", ["c3", "c1"]).compute(), x[:9, [3, 1]])
    with pytest.raises(ValueError, match="columns must hold numbers, got 'text' of string"):
        bd.from_parquet(tmp_path)
    with pytest.raises(ValueError, match=r"columns must be in every file, got 'none', which .*0\.parquet lacks"):
        bd.from_parquet(tmp_path, ["none"])
    parquet.write_table(table({"c0": [1.0, None]}), tmp_path / "gap.parquet")
    with pytest.raises(ValueError, match="columns must have no missing values, got some in 'c0'"):
        bd.from_parquet(tmp_path / "gap.parquet").compute()
    os.mkdir(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="path must be a Parquet file or a folder of them, got no file in"):
        bd.from_parquet(tmp_path / "empty")


@pytest.mark.parametrize("n", [1, 64, 130])
@pytest.mark.parametrize("chunk", [1, 4, 50])
def test_words_to_parquet_and_back(n, chunk, x, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install bitlearn-xnor[data]")
    words = bl.pack(x[:, :n])
    paths = bd.to_parquet(da.from_array(words, chunks=(chunk, 1)), n, tmp_path)
    assert sorted(os.listdir(tmp_path)) == [os.path.basename(path) for path in paths]
    found, values = bd.words_from_parquet(tmp_path)
    assert values == n and found.dtype == np.uint64 and np.array_equal(found.compute(), words)
    assert found.chunks[0] == da.from_array(words, chunks=(chunk, 1)).chunks[0]
    part, _ = bd.words_from_parquet(paths[0])
    assert np.array_equal(part.compute(), words[: min(chunk, 23)])


def test_bad_words_in_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install bitlearn-xnor[data]")
    parquet = pytest.importorskip("pyarrow.parquet")
    words = da.from_array(bl.pack(np.ones((4, 70))), chunks=2)
    with pytest.raises(FileNotFoundError, match="folder must exist, got"):
        bd.to_parquet(words, 70, tmp_path / "none")
    with pytest.raises(ValueError, match="words must have 3 words in its last axis for n = 130, got 2"):
        bd.to_parquet(words, 130, tmp_path)
    bd.to_parquet(words, 70, tmp_path)
    with pytest.raises(FileExistsError, match=r"folder must have no other Parquet files, got part-00001\.parquet"):
        bd.to_parquet(words[:2], 70, tmp_path)
    bd.to_parquet(words, 70, tmp_path)  # in place of what is there
    other = tmp_path / "other"
    other.mkdir()
    parquet.write_table(pa.table({"words": [1, 2]}), other / "a.parquet")
    with pytest.raises(ValueError, match=r"a file must hold packed words with their n, got .*a\.parquet"):
        bd.words_from_parquet(other)
    # Bits past the last value, and rows of other sizes.
    (other / "a.parquet").unlink()
    (path,) = bd.to_parquet(da.from_array(np.full((1, 2), 2**63, np.uint64)), 128, other)
    schema = parquet.read_schema(path)
    found = parquet.read_table(path).cast(pa.schema([schema.field("words")], {b"bitlearn": b'{"n": 70}'}))
    parquet.write_table(found, path)
    with pytest.raises(ValueError, match="bits past the last of 70 values must be zero, got others in"):
        bd.words_from_parquet(path)[0].compute()
    bd.to_parquet(words[:2], 70, tmp_path / "other")
    (other / "part-00001.parquet").write_bytes((tmp_path / "part-00001.parquet").read_bytes())
    bd.to_parquet(da.zeros((2, 3), dtype=np.uint64, chunks=(1, 3)), 130, other)
    (other / "part-00002.parquet").write_bytes((tmp_path / "part-00001.parquet").read_bytes())
    with pytest.raises(ValueError, match="all files must hold rows of as many values, got 70 and 130"):
        bd.words_from_parquet(other)


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install bitlearn-xnor[data]")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        bd.to_parquet(da.from_array(bl.pack(np.ones((4, 70))), chunks=2), 70, tmp_path)
    assert os.listdir(tmp_path) == []


def full(descriptor):
    raise OSError(28, "No space left on device")
