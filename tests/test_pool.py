"""Kernels that cut their rows themselves, on the threads of the extension (csrc/pool.c)."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from operands import OPERANDS
from test_concurrency import exit_status_of_child, ignores_threads, needs_fork

import bitlearn as bl
from bitlearn import threads
from bitlearn.backends.reference import RESULTS

cext = pytest.importorskip("bitlearn.backends.cext", reason="the extension is not built", exc_type=ImportError)
pytestmark = pytest.mark.skipif(not cext.lib.bl_has_threads(), reason="this build has no threads of its own")

SPLIT = ("grad_input", "grad_weight", "codes_grad_weight", "adam_update")
RECODING = [
    name
    for index, name in enumerate(cext._names())
    if name in cext.VARIANTS and cext.lib.bl_variant_implements(index, b"recode_panels")
]
CASES = [(variant, kernel) for variant in cext.VARIANTS for kernel in SPLIT if kernel in cext.VARIANTS[variant]]


def results(function, arguments, count, **options):
    """Return the results of a kernel, from the same state of its last `count` arguments each time."""
    copies = [array.copy() for array in arguments[-count:]]
    function(*arguments[:-count], *copies, **options)
    return [array.tobytes() for array in copies]


@pytest.mark.parametrize(("variant", "kernel"), CASES)
@pytest.mark.parametrize("parts", [2, 3, 7, 300])
def test_parts_give_the_same_bits(variant, kernel, parts, rng):
    """More threads than rows, and than processors, too."""
    function, operands = cext.VARIANTS[variant][kernel], OPERANDS[kernel]
    for sizes in operands.sizes:
        for dtype in operands.dtypes:
            arguments = operands.make(rng, sizes, dtype)
            count = RESULTS.get(kernel, 1)
            assert results(function, arguments, count, threads=parts) == results(function, arguments, count)


@pytest.mark.parametrize("variant", RECODING)
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
@pytest.mark.parametrize("parts", [2, 3, 40])
def test_parts_of_a_product_of_recoded_columns(variant, dtype, parts, rng):
    a, b = (rng.integers(0, 2**64, size=(rows, 3), dtype=np.uint64) for rows in (135, 33))
    a[:, 2] &= np.uint64(1)
    b[:, 2] &= np.uint64(1)
    weights = bl.pack_weights(b, 129)
    product = weights.product(cext.VARIANTS[variant]["xnor_matmul_panels"])
    found, expected = np.empty((135, 33), dtype), np.empty((135, 33), dtype)
    product(a, 129, found, threads=parts)
    with bl.use_backend("reference"):
        bl.xnor_matmul(a, b, 129, dtype=dtype, out=expected)
    assert np.array_equal(found, expected)


def large(rng):
    """Return a product that is worth two threads, and its result on one."""
    g = rng.integers(-127, 128, size=(200, 256)).astype(np.int8)
    words = bl.pack(rng.choice([-1, 1], size=(256, 256)))
    return (lambda: bl.grad_input(g, words, 256, threads=2)), bl.grad_input(g, words, 256, threads=1)


def test_many_callers_at_once(rng):
    """One of them has the threads, the others do all themselves."""
    product, expected = large(rng)
    ready = threading.Barrier(8)

    def caller(_: int) -> bool:
        ready.wait()
        return all(np.array_equal(product(), expected) for _ in range(50))

    with ThreadPoolExecutor(8) as callers:
        assert all(callers.map(caller, range(8)))


def test_threads_that_have_gone_to_sleep(rng):
    product, expected = large(rng)
    for _ in range(5):
        time.sleep(0.01)
        assert np.array_equal(product(), expected)


@needs_fork
@ignores_threads
def test_a_child_makes_its_own_threads(rng):
    product, expected = large(rng)
    assert np.array_equal(product(), expected)
    assert exit_status_of_child(lambda: np.array_equal(product(), expected)) == 0
    assert np.array_equal(product(), expected)


def test_a_call_counts_its_threads(rng, monkeypatch):
    """As many as are to be had, among all callers; all are free again when it fails."""
    from bitlearn.ops import dispatch

    monkeypatch.setattr(threads, "_processors", lambda: 3)
    asked = []

    def kernel(x, *, threads):
        asked.append(threads)
        if len(asked) == 3:
            raise ZeroDivisionError

    kernel.on_threads = True
    x = np.zeros((64, 1))
    helpers = threads.borrow(1)
    dispatch.run(kernel, (x,), rows=(0,), threads=4)
    threads.give_back(helpers)
    dispatch.run(kernel, (x,), rows=(0,), threads=4)
    with pytest.raises(ZeroDivisionError):
        dispatch.run(kernel, (x,), rows=(0,), threads=4)
    dispatch.run(kernel, (x,), rows=(0,), threads=2)
    assert asked == [1, 3, 3, 2]
