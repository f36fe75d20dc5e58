"""The packed functions inside `@njit`: what they give, what is refused, threads, caches, and without the extension."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from importlib.metadata import entry_points

import numba
import numpy as np
import pytest
from cases import PRODUCTS, bits

import bitlearn as bl
import bitlearn.numba as bn
from bitlearn.bits import words_for


@numba.njit(nogil=True)
def products(a, b, n, threshold):
    return bl.xnor_matmul(a, b, n), bl.hamming(a, b, n), bl.xnor_matmul_sign(a, b, n, threshold)


@numba.njit
def into(a, b, n, out):
    return bl.xnor_matmul(a, b, n, out=out)


@numba.njit
def packed(x):
    return bl.pack(x)


@numba.njit
def counts(words):
    return bl.popcount(words)


@numba.njit
def of_word(word):
    return bn.popcount(word)


@pytest.mark.parametrize(("m", "k", "n"), PRODUCTS)
def test_products(m, k, n, rng):
    a, b, threshold = bits(rng, m, n), bits(rng, k, n), rng.integers(-5, 5, k).astype(np.int32)
    wanted = bl.xnor_matmul(a, b, n), bl.hamming(a, b, n), bl.xnor_matmul_sign(a, b, n, threshold)
    for found, each in zip(products(a, b, n, threshold), wanted, strict=True):
        np.testing.assert_array_equal(found, each, strict=True)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
def test_into_an_array(kind, rng):
    a, b, out = bits(rng, 5, 70), bits(rng, 7, 70), np.empty((5, 7), kind)
    into(a, b, 70, out)
    np.testing.assert_array_equal(out, bl.xnor_matmul(a, b, 70, dtype=kind), strict=True)


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint8", "uint64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(0,), (1,), (64,), (65,), (3, 0), (0, 5), (3, 129)])
def test_packing(kind, shape, rng):
    x = (10 * rng.standard_normal(shape)).astype(kind) if kind[0] != "u" else rng.integers(0, 9, shape).astype(kind)
    np.testing.assert_array_equal(packed(x), bl.pack(x), strict=True)


def test_counts(rng):
    words = bits(rng, 5, 130)
    np.testing.assert_array_equal(counts(words), bl.popcount(words), strict=True)
    assert counts(words[0]) == bl.popcount(words[0])


def test_read_only_arrays(rng):
    a, b = bits(rng, 5, 70), bits(rng, 7, 70)
    a.flags.writeable = False
    np.testing.assert_array_equal(products(a, b, 70, np.zeros(7, np.int32))[0], bl.xnor_matmul(a, b, 70))
    with pytest.raises(numba.TypingError, match="out must be a writeable C-contiguous array of int32 or int16"):
        into(a, b, 70, a)


@pytest.mark.parametrize(
    "word", [0, 1, -1, 2**63 - 1, -(2**63), np.uint64(2**64 - 1), np.int8(-1), np.uint16(515), np.int32(-2)]
)
def test_popcount_of_a_word(word):
    width = 8 * word.itemsize if isinstance(word, np.integer) else 64
    assert of_word(word) == bn.popcount(word) == bin(int(word) % 2**width).count("1")


def test_words_that_are_refused():
    with pytest.raises(TypeError, match=r"^word must be an integer, got float$"):
        bn.popcount(1.5)
    with pytest.raises(ValueError, match=r"^word must fit 64 bits, got 18446744073709551616$"):
        bn.popcount(2**64)
    with pytest.raises(numba.TypingError, match="word must be an integer, got float64"):
        of_word(1.5)


def test_arrays_that_are_refused(rng):
    a, b = bits(rng, 5, 70), bits(rng, 7, 70)
    threshold = np.zeros(7, np.int32)
    for wrong in (a.view(np.int64), a[:, ::2], a[0]):
        with pytest.raises(numba.TypingError, match="a must be a C-contiguous array of uint64 with 2 axes, got"):
            products(wrong, b, 70, threshold)
    for n, right, limits in ((64, b, threshold), (70, b[:, :1].copy(), threshold), (200, b, threshold)):
        with pytest.raises(ValueError, match=r"^a, b and out must have shapes"):
            products(a, right, n, limits)
    with pytest.raises(ValueError, match=r"^a, b and threshold must have shapes"):
        products(a, b, 70, threshold[:6])
    with pytest.raises(ValueError, match=r"^a, b and out must have shapes"):
        into(a, b, 70, np.empty((5, 8), np.int32))
    with pytest.raises(numba.TypingError, match="x must be numbers, got bool"):
        packed(a > 0)


def test_threads_run_side_by_side(rng):
    a, b = bits(rng, 40, 700), bits(rng, 30, 700)
    wanted, found = bl.xnor_matmul(a, b, 700), []
    threshold = np.zeros(30, np.int32)
    products(a, b, 700, threshold)
    threads = [
        threading.Thread(target=lambda: found.extend(products(a, b, 700, threshold)[0] for _ in range(20)))
        for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 80 and all(np.array_equal(each, wanted) for each in found)


_PROGRAM = """
import numba, numpy as np
import bitlearn as bl

@numba.njit(cache=True)
def product(a, b):
    return bl.xnor_matmul(a, b, 70), bl.pack(np.ones((2, 70)))

a = bl.pack(np.ones((2, 70)))
dots, words = product(a, a)
assert (dots == 70).all() and (words == a).all()
print(sum(product.stats.cache_hits.values()))
"""


@pytest.mark.parametrize("backend", ["", "jit"])
def test_found_by_numba_itself_and_cached(backend, tmp_path):
    """Nothing here imports the module: the entry point does, in a process that loads kept code too."""
    if not [each for each in entry_points(group="numba_extensions") if each.value == "bitlearn.numba:init"]:
        pytest.skip("bitlearn was installed before it had the entry point: install it again")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(_PROGRAM), encoding="utf-8")
    kept = {"NUMBA_CACHE_DIR": str(tmp_path), "BITLEARN_BACKEND": backend}
    hits = [
        subprocess.run([sys.executable, program], env=os.environ | kept, capture_output=True, text=True, check=False)
        for _ in range(2)
    ]
    assert [each.returncode for each in hits] == [0, 0], hits[-1].stderr
    assert [each.stdout.strip() for each in hits] == ["0", "1"]


def test_words_are_as_many_as_they_should_be():
    assert packed(np.ones(65)).size == words_for(65)
