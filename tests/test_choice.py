"""The choice between tiles and counted bits by the sizes of a product: its rules, what `which` says, and what runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import backends
from bitlearn.backends import KERNELS, lookup
from bitlearn.bench import rules

cext = pytest.importorskip("bitlearn.backends.cext", reason="the extension is not built", exc_type=ImportError)
lib = cext.lib

HEADER = Path(__file__).parents[1] / "csrc" / "amx" / "rules.h"
RULES, SOURCE = rules.read(HEADER.read_text(encoding="utf-8")) if HEADER.exists() else ({}, "")
TILES, BITS = "cext:amx", "cext:avx512"
needs_tiles = pytest.mark.skipif(TILES not in cext.VARIANTS, reason=cext.REASONS.get(TILES, ""))

#: A product that every rule leaves to counted bits, and one of which tiles get every kernel.
SMALL, LARGE = (17, 65, 70), (128, 256, 2048)


@pytest.fixture(autouse=True)
def _undecided(monkeypatch):
    """No backend is chosen in the environment."""
    monkeypatch.delenv("BITLEARN_BACKEND", raising=False)


def pays(kernel: str, kind: str, sizes: tuple[int, int, int]) -> int:
    return lib.bl_tiles_pay(kernel.encode(), getattr(lib, f"BL_{kind}"), *sizes)


@pytest.mark.skipif(not RULES, reason="the C sources are not here")
def test_the_header_is_what_the_tuner_writes():
    assert rules.write(RULES, SOURCE) == HEADER.read_text(encoding="utf-8")
    assert SOURCE.startswith(("Derived, not measured", "Measured on "))


@pytest.mark.parametrize(("key", "rule"), RULES.items(), ids=str)
def test_the_extension_has_the_rules_of_the_header(key, rule):
    if rule.never:
        assert pays(*key, (10**6, 10**6, 10**6)) == 0
        return
    enough = [rule.m, rule.k, rule.n]
    while enough[0] * enough[1] * enough[2] < rule.work:
        enough = [2 * size for size in enough]
    assert pays(*key, tuple(enough)) == 1
    assert pays(*key, (rule.m, 10**6, 10**6)) == 1
    for axis, least in enumerate((rule.m, rule.k, rule.n)):
        sizes = [10**6] * 3
        sizes[axis] = least - 1
        assert pays(*key, tuple(sizes)) == 0
    assert pays(*key, (0, 0, 0)) == (rule.work == rule.m == rule.k == rule.n == 0)
    # Sizes whose product no integer holds.
    assert pays(*key, (2**31, 2**31, 2**31)) == 1


def test_a_kernel_that_does_not_choose():
    assert pays("popcount", "UINT64", (9, 9, 9)) == -1
    assert pays("grad_input", "UINT64", (9, 9, 9)) == -1
    assert not lib.bl_variant_implements(lib.BL_CHOICE, b"popcount")


def test_every_kernel_on_tiles_chooses():
    for kernel in KERNELS:
        on_tiles, function = cext.implements(0, kernel), cext.row_of(kernel).function
        assert cext.implements(lib.BL_CHOICE, kernel) == on_tiles
        if on_tiles:
            assert any(name == function for name, _ in RULES) or not RULES
    assert cext._names()[:2] == [TILES, BITS]


def test_which_asks_a_kernel_that_chooses(monkeypatch):
    def chooses(*arguments):
        raise AssertionError("nothing is run")

    chooses.at = lambda shape: f"for {shape}"
    first = bl.which("popcount")
    monkeypatch.setattr(backends, "_choosing", lambda backend: {"popcount": chooses} if backend == "cext" else {})
    backends.forget()
    try:
        assert bl.which("popcount") == first and lookup("popcount") is chooses
        assert bl.which("popcount", shape=(1, 2, 3)) == "for (1, 2, 3)"
        with bl.use_backend("cext"):
            assert bl.which("popcount", shape=(1, 2, 3)) == "for (1, 2, 3)"
        # A variant that is asked for by name is what runs.
        for variant in (first, "reference"):
            with bl.use_backend(variant):
                assert bl.which("popcount", shape=(1, 2, 3)) == bl.which("popcount") == variant
                assert lookup("popcount") is not chooses
    finally:
        backends.forget()


def test_without_tiles_nothing_chooses():
    assert bool(cext.CHOOSING) == (TILES in cext.VARIANTS)
    for kernel, function in cext.CHOOSING.items():
        assert lookup(kernel) is function
        with bl.use_backend(TILES):
            assert lookup(kernel) is cext.VARIANTS[TILES][kernel]


@needs_tiles
@pytest.mark.parametrize("kernel", cext.CHOOSING)
def test_which_with_a_shape(kernel):
    kind, function = "UINT64" if kernel in cext.PRODUCTS else "INT8", cext.row_of(kernel).function
    for sizes in (SMALL, LARGE, (1, 1024, 1024)):
        expected = TILES if RULES[function, kind].pays(sizes) else BITS
        assert bl.which(kernel, shape=sizes) == expected
    assert bl.which(kernel) == TILES
    for variant in (TILES, BITS, "reference"):
        with bl.use_backend(variant):
            assert bl.which(kernel, shape=SMALL) == bl.which(kernel, shape=LARGE) == variant


def products(rng, m, k, n):
    """Yield the name and a call of every public product of these sizes."""
    g = rng.integers(-128, 128, (m, k), dtype=np.int8)
    a, b = (bl.pack(rng.normal(size=(rows, n))) for rows in (m, k))
    weights = bl.pack_weights(b, n)
    yield "xnor_matmul", lambda: bl.xnor_matmul(a, b, n)
    yield "xnor_matmul prepared", lambda: bl.xnor_matmul(a, weights, n)
    yield "hamming", lambda: bl.hamming(a, weights, n)
    yield "xnor_matmul_sign", lambda: bl.xnor_matmul_sign(a, weights, n, 3)
    for dtype in (np.int8, np.int16):
        of = g.astype(dtype)
        yield f"grad_input {dtype.__name__}", lambda of=of: bl.grad_input(of, b, n)
        yield f"grad_weight {dtype.__name__}", lambda of=of: bl.grad_weight(of, a, n)
        yield f"grad_weight sign {dtype.__name__}", lambda of=of: bl.grad_weight(of, a, n, output="sign")
    size, channels = 16, n // 9
    x, w = bl.pack(rng.normal(size=(1, size, size, channels))), bl.pack(rng.normal(size=(k, 3, 3, channels)))
    maps = rng.integers(-128, 128, (1, size, size, k), dtype=np.int8)
    yield "xnor_conv2d", lambda: bl.xnor_conv2d(x, w, channels, padding=1)
    yield "xnor_conv2d_sign", lambda: bl.xnor_conv2d_sign(x, bl.pack_weights(w, channels), channels, 2, padding=1)
    sizes = (1, size, size, channels)
    yield "conv2d_grad_input", lambda: bl.conv2d_grad_input(maps, w, channels, sizes, padding=1)
    yield "conv2d_grad_weight", lambda: bl.conv2d_grad_weight(maps, x, channels, (3, 3), padding=1)


@needs_tiles
@pytest.mark.parametrize("sizes", [SMALL, (129, 130, 577), LARGE], ids=str)
def test_the_results_are_those_of_either_variant(sizes, rng):
    for name, call in products(rng, *sizes):
        found = call()
        for variant in (BITS, TILES):
            with bl.use_backend(variant):
                np.testing.assert_array_equal(found, call(), f"{name} on {variant}")


@needs_tiles
@pytest.mark.skipif("xnor_matmul" not in cext.CHOOSING, reason="products of bits have no tiles")
def test_columns_are_recoded_for_counted_bits_alone(rng):
    def words(rows, n):
        return bl.pack(rng.normal(size=(rows, n)))

    m, k, n = LARGE
    a, weights = words(m, n), bl.pack_weights(words(k, n), n)
    before = weights.nbytes
    bl.xnor_matmul(a, weights, n)
    bl.xnor_matmul_sign(a, weights, n, 0)
    assert weights.nbytes == before <= 1.1 * k * n / 8
    bl.xnor_matmul(a[:9], weights, n)
    assert weights.nbytes > before
