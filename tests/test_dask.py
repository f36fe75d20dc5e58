"""Packed words as dask arrays: equal to the same functions in memory, whatever the chunks."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import bitlearn as bl

pytest.importorskip("distributed", reason="Dask is not installed: pip install bitlearn-xnor[dask]")
da = pytest.importorskip("dask.array", reason="Dask is not installed: pip install bitlearn-xnor[dask]")
dask = pytest.importorskip("dask")

from bitlearn import dask as bd  # noqa: E402
from bitlearn.dask import arrays  # noqa: E402


@pytest.fixture(autouse=True)
def in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def bits(rng, rows, n):
    return np.where(rng.random((rows, n)) < 0.5, -1, 1).astype(np.int8)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 200])
@pytest.mark.parametrize(("rows", "chunk"), [(7, 3), (16, 16), (1, 1)])
def test_products_and_distances(n, rows, chunk, rng):
    x, y = bits(rng, rows, n), bits(rng, 5, n)
    a, b = bl.pack(x), bl.pack(y)
    for right in (b, da.from_array(b, chunks=(2, -1))):
        left = da.from_array(a, chunks=(chunk, 1))
        dots = bd.xnor_matmul(left, right, n)
        assert dots.dtype == np.int32 and dots.shape == (rows, 5)
        assert np.array_equal(dots.compute(), x.astype(np.int64) @ y.T)
        assert np.array_equal(bd.hamming(left, right, n, dtype=np.int16).compute(), (x[:, None] != y).sum(axis=2))


@pytest.mark.parametrize("n", [3, 64, 130])
@pytest.mark.parametrize("chunk", [1, 4, 50])
@pytest.mark.parametrize("k", [1, 7, 50])
def test_neighbours(n, chunk, k, rng):
    """Of few values most distances are equal: the lower index comes first, across chunks too."""
    x, y = bits(rng, 50, n), bits(rng, 6, n)
    distances = (y[:, None] != x).sum(axis=2)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    base = da.from_array(bl.pack(x), chunks=(chunk, 1))
    for queries in (bl.pack(y), da.from_array(bl.pack(y), chunks=(4, -1))):
        found = bd.nearest(queries, base, k, n)
        assert [each.shape for each in found] == [(6, k)] * 2
        indices, counts = dask.compute(*found)
        assert (indices.dtype, counts.dtype) == (np.int64, np.int32)
        assert np.array_equal(indices, order)
        assert np.array_equal(counts, np.take_along_axis(distances, order, axis=1))
    with pytest.raises(ValueError, match="k must be at most the 50 rows of the base, got 51"):
        bd.nearest(bl.pack(y), base, 51, n)


@pytest.mark.parametrize("n", [1, 64, 130])
@pytest.mark.parametrize("chunk", [1, 4, 9])
def test_sums_over_rows(n, chunk, rng):
    x, y = bits(rng, 9, n), rng.integers(0, 3, 9)
    words = da.from_array(bl.pack(x), chunks=(chunk, -1))
    wide = x.astype(np.int64)
    assert np.array_equal(bd.gram(words, n).compute(), wide.T @ wide)
    for labels in (y, da.from_array(y, chunks=2)):
        counts, examples = bd.class_counts(words, labels, n, 4)
        assert np.array_equal(counts.compute(), [(wide[y == c] > 0).sum(axis=0) for c in range(4)])
        assert np.array_equal(examples.compute(), np.bincount(y, minlength=4))


@pytest.mark.parametrize("chunks", [(2, 64), (5, 128), (3, 200)])
@pytest.mark.parametrize("dtype", [np.int8, np.float32, bool])
def test_packing(chunks, dtype, rng):
    x = rng.normal(size=(5, 200)).astype(dtype) if dtype is not bool else rng.random((5, 200)) < 0.5
    words = bd.pack(da.from_array(x, chunks=chunks))
    assert np.array_equal(words.compute(), bl.pack(x))
    assert words.chunks[1] == tuple(-(-size // 64) for size in da.from_array(x, chunks=chunks).chunks[1])
    assert np.array_equal(bd.unpack(words, 200).compute(), bl.unpack(bl.pack(x), 200))
    assert bd.unpack(words, 200, dtype=np.float32).compute().dtype == np.float32


def test_images_and_a_threshold(rng):
    x = rng.integers(0, 256, (3, 4, 4, 70), dtype=np.uint8)
    words = bd.pack(da.from_array(x, chunks=(1, 4, 2, 64)), threshold=128)
    assert np.array_equal(words.compute(), bl.pack(x, threshold=128))
    assert np.array_equal(bd.unpack(words, 70).compute(), np.where(x >= 128, 1, -1))


def test_chunks_within_a_word_are_rechunked_with_a_warning(rng):
    x = rng.normal(size=(3, 300))
    with pytest.warns(UserWarning, match=r"whole words of 64 values .* got \(100, 100, 100\): rechunked to 128"):
        words = bd.pack(da.from_array(x, chunks=(3, 100)))
    assert words.chunks == ((3,), (2, 2, 1))
    assert np.array_equal(words.compute(), bl.pack(x))


def test_weights_are_laid_out_once_and_end_with_their_chunk(rng, monkeypatch):
    made = []
    monkeypatch.setattr(bl, "pack_weights", lambda words, n, pack=bl.pack_weights: made.append(n) or pack(words, n))
    a, b = bl.pack(bits(rng, 40, 100)), bl.pack(bits(rng, 6, 100))
    found = bd.xnor_matmul(da.from_array(a, chunks=(2, -1)), b, 100)
    assert np.array_equal(found.compute(), bl.xnor_matmul(a, b, 100))
    assert made == [100]
    del b, found
    gc.collect()
    assert not arrays._made


def test_a_file_larger_than_is_looked_at(tmp_path, rng):
    """A mapped file is read by its chunks."""
    a = bl.pack(bits(rng, 64, 256))
    np.save(tmp_path / "words.npy", a)
    mapped = np.load(tmp_path / "words.npy", mmap_mode="r")
    found = bd.hamming(da.from_array(mapped, chunks=(16, -1)), a[:3], 256)
    assert np.array_equal(found[16:32].compute(), bl.hamming(a[16:32], a[:3], 256))


def test_what_does_not_fit():
    words = da.zeros((4, 2), dtype=np.uint64, chunks=2)
    with pytest.raises(TypeError, match="a must be a dask array, got ndarray"):
        bd.xnor_matmul(np.zeros((4, 2), np.uint64), words, 70)
    with pytest.raises(TypeError, match="a must be uint64, got int64"):
        bd.hamming(words.astype(np.int64), words, 70)
    with pytest.raises(ValueError, match="a must have 1 words in its last axis for n = 64, got 2"):
        bd.xnor_matmul(words, np.zeros((1, 1), np.uint64), 64)
    with pytest.raises(ValueError, match="n must be"):
        bd.xnor_matmul(words, words, -1)
    with pytest.raises(ValueError, match="chunks of known sizes"):
        bd.gram(words[words[:, 0] == 0], 70)
    with pytest.raises(ValueError, match=r"labels must be integers of shape \(4,\), got int64 \(3,\)"):
        bd.class_counts(words, np.zeros(3, np.int64), 70, 2)
    counts, _ = bd.class_counts(words, np.array([0, 1, 2, 0]), 70, 2)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got 0 to 2|labels must lie"):
        counts.compute()
    with pytest.raises(ValueError, match="words must have 1 words in its last axis for n = 3, got shape"):
        bd.unpack(words, 3)
