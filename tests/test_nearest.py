"""Nearest neighbours by Hamming distance, beside NumPy and faiss."""

from __future__ import annotations

import numpy as np
import pytest
from cases import bits

import bitlearn as bl
from bitlearn.ops import nearest as module


def by_numpy(queries, base, k):
    """The same by unpacked bits and a stable sort."""
    flags = [np.unpackbits(words.view(np.uint8), axis=-1).astype(np.int64) for words in (queries, base)]
    distances = (flags[0][:, None] != flags[1][None]).sum(axis=-1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


def same(found, wanted):
    np.testing.assert_array_equal(found[0], wanted[0].astype(np.int64), strict=True)
    np.testing.assert_array_equal(found[1], wanted[1].astype(np.int32), strict=True)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("m", [1, 3, 13, 50])
@pytest.mark.parametrize("n", [1, 64, 100, 256])
def test_as_numpy_has_it(m, n, threads, rng, monkeypatch):
    monkeypatch.setattr(module, "_WORDS_WORTH_A_THREAD", 100)
    queries, base = bits(rng, m, n), bits(rng, 700, n)
    for k in (1, 10, 700):
        same(bl.nearest(queries, base, k, n, threads=threads), by_numpy(queries, base, k))


def test_equally_near_rows_come_by_their_index(rng):
    row = bits(rng, 1, 70)
    indices, distances = bl.nearest(row, np.repeat(row, 2000, axis=0), 1000, 70)
    assert np.array_equal(indices[0], np.arange(1000)) and not distances.any()


@pytest.mark.parametrize("m", [2, 20])
def test_every_row_nearer_than_the_last(m):
    """The most work that a heap can get."""
    base = bl.pack(np.where(np.arange(1200)[::-1, None] > np.arange(1200), -1, 1))
    indices, distances = bl.nearest(np.repeat(bl.pack(np.ones((1, 1200))), m, axis=0), base, 7, 1200)
    assert (indices == np.arange(1199, 1192, -1)).all() and (distances == np.arange(7)).all()


@pytest.mark.parametrize(("m", "rows", "n", "k"), [(0, 5, 70, 3), (4, 0, 70, 0), (4, 5, 70, 0), (4, 5, 0, 5)])
def test_nothing(m, rows, n, k, rng):
    queries, base = bits(rng, m, n), bits(rng, rows, n)
    for threads in (1, 2):
        indices, distances = bl.nearest(queries, base, k, n, threads=threads)
        assert indices.shape == distances.shape == (m, k)
        assert not distances.any() and (indices == np.arange(k)).all()


def test_a_base_in_a_file(tmp_path, rng):
    base = bits(rng, 3000, 130)
    base.tofile(tmp_path / "base")
    mapped = np.memmap(tmp_path / "base", np.uint64, "r", shape=base.shape)
    same(bl.nearest(base[5:7], mapped, 4, 130), by_numpy(base[5:7], base, 4))


def test_what_is_refused(rng):
    base = bits(rng, 5, 70)
    with pytest.raises(ValueError, match=r"^k must be at most the 5 rows of base, got 6$"):
        bl.nearest(base, base, 6, 70)
    with pytest.raises(ValueError, match=r"^k must be at least 0, got -1$"):
        bl.nearest(base, base, -1, 70)
    with pytest.raises(TypeError, match=r"^base must be packed words of dtype uint64, got dtype int64$"):
        bl.nearest(base, base.view(np.int64), 1, 70)
    with pytest.raises(ValueError, match=r"^queries must have 2 words"):
        bl.nearest(base[:, :1].copy(), base, 1, 70)
    with pytest.raises(ValueError, match=r"^n must be at most 2147483647, got 2147483648$"):
        bl.nearest(base, base, 1, 2**31)


def test_as_faiss_has_it(rng):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    queries, base = bits(rng, 30, 256), bits(rng, 2000, 256)
    index = faiss.IndexBinaryFlat(256)
    index.add(base.view(np.uint8))
    distances, _ = index.search(queries.view(np.uint8), 10)
    indices, ours = bl.nearest(queries, base, 10, 256)
    np.testing.assert_array_equal(ours, distances, strict=True)
    found = bl.popcount(base[indices] ^ queries[:, None])
    np.testing.assert_array_equal(found, distances)


def test_bits_know_their_length(rng):
    values = rng.integers(0, 2, size=(20, 70)).astype(bool)
    words = bl.pack(values)
    expected = bl.nearest(words[:3], words, 4, 70)
    for given in ((bl.Bits(words[:3], 70), bl.Bits(words, 70), 4), (bl.Bits(words[:3], 70), words, 4)):
        for found, wanted in zip(bl.nearest(*given), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    with pytest.raises(TypeError, match="n must be given unless an operand is Bits"):
        bl.nearest(words, words, 4)
