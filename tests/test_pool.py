"""Calls whose rows are cut in C, on the threads of the extension (csrc/pool.c)."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from operands import OPERANDS
from test_concurrency import exit_status_of_child, ignores_threads, needs_fork

import bitlearn as bl
from bitlearn import threads
from bitlearn.backends.table import TABLE
from bitlearn.ops import dispatch

cext = pytest.importorskip("bitlearn.backends.cext", reason="the extension is not built", exc_type=ImportError)
pytestmark = pytest.mark.skipif(not cext.HAS_THREADS, reason="this build has no threads of its own")

RECODING = [variant for variant, kernels in cext.VARIANTS.items() if "recode_panels" in kernels]
CASES = [
    (variant, kernel)
    for variant, kernels in cext.VARIANTS.items()
    for kernel in OPERANDS
    if kernel in kernels and TABLE[kernel].rows
]


def after(kernel, arguments, run):
    """Return what a call leaves in the arrays that it writes, from the same state of them each time."""
    copies = list(arguments)
    for position in TABLE[kernel].writes:
        copies[position] = arguments[position].copy()
    run(tuple(copies))
    found = [copies[position].tobytes() for position in TABLE[kernel].writes]
    # Its places are counted from the first row of a part.
    return [found[0], copies[-1].any()] if kernel == "split_columns" else found


@pytest.mark.parametrize(("variant", "kernel"), CASES)
def test_parts_give_the_same_bits(variant, kernel, rng, monkeypatch):
    """More threads than rows, and than processors, too."""
    monkeypatch.setattr(threads, "processors", lambda: 7)
    function, operands = cext.VARIANTS[variant][kernel], OPERANDS[kernel]
    for sizes in operands.sizes:
        for dtype in operands.dtypes:
            arguments = operands.make(rng, sizes, dtype)
            expected = after(kernel, arguments, lambda given: function(*given))
            for parts in (2, 3, 300):

                def in_parts(given, parts=parts):
                    program = cext.of_one_call(function, given, parts)
                    rows = max(len(given[position]) for position in TABLE[kernel].rows)
                    wanted = min(parts, rows, 1 + rows * TABLE[kernel].work(*given) // 2)
                    if wanted < 2:
                        assert program is None
                        function(*given)
                    else:
                        assert program.threads == wanted
                        assert program.run() == 1

                assert after(kernel, arguments, in_parts) == expected


@pytest.mark.parametrize("variant", RECODING)
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
@pytest.mark.parametrize("parts", [2, 3, 40])
def test_parts_of_a_product_of_recoded_columns(variant, dtype, parts, rng):
    a, b = (rng.integers(0, 2**64, size=(rows, 3), dtype=np.uint64) for rows in (135, 33))
    a[:, 2] &= np.uint64(1)
    b[:, 2] &= np.uint64(1)
    product = bl.pack_weights(b, 129).product(cext.VARIANTS[variant]["xnor_matmul"])
    found, expected = np.empty((135, 33), dtype), np.empty((135, 33), dtype)
    function, arguments = product.call((a, 129, found), parts)
    assert function.kernel == "xnor_matmul_recoded"
    assert cext.of_one_call(function, arguments, parts).run() == 1
    with bl.use_backend("reference"):
        bl.xnor_matmul(a, b, 129, dtype=dtype, out=expected)
    assert np.array_equal(found, expected)


def large(rng, threads=2):
    """Return a product that is worth some threads, and its result on one."""
    g = rng.integers(-127, 128, size=(200, 256)).astype(np.int8)
    words = bl.pack(rng.choice([-1, 1], size=(256, 256)))
    return (lambda: bl.grad_input(g, words, 256, threads=threads)), bl.grad_input(g, words, 256, threads=1)


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


def test_threads_look_for_work_for_a_short_while(rng):
    """A tenth of a millisecond after a call; five times that is far from what a busy machine adds."""
    product, _ = large(rng)
    used = 0.0
    for _ in range(50):
        product()
        before = time.process_time()
        time.sleep(0.003)
        used += time.process_time() - before
    assert used < 50 * 0.0005


@needs_fork
@ignores_threads
def test_a_child_makes_its_own_threads(rng):
    product, expected = large(rng)
    assert np.array_equal(product(), expected)
    assert exit_status_of_child(lambda: np.array_equal(product(), expected)) == 0
    assert np.array_equal(product(), expected)


@pytest.mark.parametrize(("processors", "helpers"), [(1, 0), (2, 1), (3, 2), (9, 4)])
def test_a_call_has_no_more_threads_than_processors(processors, helpers, rng, monkeypatch):
    product, expected = large(rng, threads=5)
    cext.stop_threads()
    assert cext.lib.bl_threads_started() == 0
    monkeypatch.setattr(threads, "processors", lambda: processors)
    assert np.array_equal(product(), expected)
    assert cext.lib.bl_threads_started() == helpers


def test_threads_end_and_begin_again(rng):
    product, expected = large(rng)
    for _ in range(50):
        assert np.array_equal(product(), expected)
        cext.stop_threads()
        assert cext.lib.bl_threads_started() == 0


def test_threads_end_while_many_call(rng):
    product, expected = large(rng)
    with ThreadPoolExecutor(4) as callers:
        done = [callers.submit(lambda: all(np.array_equal(product(), expected) for _ in range(50))) for _ in range(3)]
        while not all(each.done() for each in done):
            cext.stop_threads()
        assert all(each.result() for each in done)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the threads of a process are listed on Linux alone")
def test_threads_take_the_signals_of_their_own_faults(rng, monkeypatch):
    """SIGSEGV and the like come to the thread that caused them; all others are the program's own."""
    monkeypatch.setattr(threads, "processors", lambda: 4)
    large(rng, threads=4)[0]()
    ours: list[Path] = []
    end = time.monotonic() + 10
    while len(ours) < cext.lib.bl_threads_started() and time.monotonic() < end:  # a thread names itself as it begins
        ours = [task for task in Path("/proc/self/task").iterdir() if (task / "comm").read_text() == "bitlearn\n"]
    assert len(ours) == cext.lib.bl_threads_started() >= 3
    for task in ours:
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        blocked = int(status["SigBlk"], 16)
        for name in ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"):
            assert not blocked >> signal.Signals[name] - 1 & 1
        for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGCHLD", "SIGUSR1", "SIGPROF", "SIGHUP"):
            assert blocked >> signal.Signals[name] - 1 & 1


FEWER_THREADS = """
import resource, numpy as np, bitlearn as bl
from bitlearn import threads
from bitlearn.backends import cext
rng = np.random.default_rng(1)
g = rng.integers(-127, 128, size=(400, 512)).astype(np.int8)
words = bl.pack(rng.choice([-1, 1], size=(512, 512)))
expected = bl.grad_input(g, words, 512)
out = np.empty_like(expected)
threads.processors = lambda: 9
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + {room} * 2**20, -1))
bl.grad_input(g, words, 512, threads=9, out=out)
assert np.array_equal(out, expected)
assert {least} <= cext.lib.bl_threads_started() <= {most}
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs limits of memory as Linux has them")
@pytest.mark.parametrize(("room", "least", "most"), [(3, 0, 0), (13, 1, 3)])
def test_where_the_process_may_have_no_more_threads_fewer_do_it(room, least, most):
    code = FEWER_THREADS.format(room=room, least=least, most=most)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_build_without_threads_uses_those_of_python(rng, monkeypatch):
    """Its programs would run on one thread; so calls are split as those of other backends are."""
    monkeypatch.setattr(cext, "HAS_THREADS", False)
    monkeypatch.setattr(dispatch, "_of_c", lambda name: getattr(cext, name))
    monkeypatch.setattr(cext, "of_one_call", None)
    product, expected = large(rng)
    assert np.array_equal(product(), expected)
    a, b = (bl.pack(rng.choice([-1, 1], size=(rows, 200))) for rows in (150, 33))
    weights, images = bl.pack_weights(b, 200), bl.pack(rng.choice([-1, 1], size=(4, 9, 9, 70)))
    kernels = bl.pack(rng.choice([-1, 1], size=(40, 3, 3, 70)))
    for k in (1, 3):
        assert np.array_equal(bl.xnor_matmul(a, weights, 200, threads=k), bl.xnor_matmul(a, b, 200))
        assert np.array_equal(
            bl.xnor_conv2d(images, kernels, 70, padding=1, threads=k), bl.xnor_conv2d(images, kernels, 70, padding=1)
        )
