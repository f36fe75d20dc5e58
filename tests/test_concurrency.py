"""Kernels under concurrent callers, and in the children of a process that used them."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import guards
import numpy as np
import pytest
from cases import integers, packed, seed, signs
from operands import OPERANDS

import bitlearn as bl
from bitlearn.backends.reference import RESULTS

cext = pytest.importorskip("bitlearn.backends.cext", reason="the extension is not built", exc_type=ImportError)

CALLERS = 8
#: A child that does not end by itself within so many seconds waits for something that will not come.
PATIENCE = 60


@pytest.mark.parametrize("variant", cext.VARIANTS)
def test_concurrent_calls_of_every_kernel(variant, rng):
    """Eight threads go through all kernels, each in its own order, on the same inputs."""
    calls = []
    for kernel in cext.VARIANTS[variant].keys() - cext.EXTRA.keys():
        function, operands = cext.VARIANTS[variant][kernel], OPERANDS[kernel]
        arguments = operands.make(rng, operands.sizes[-1], operands.dtypes[0])
        count = RESULTS.get(kernel, 1)
        expected = [array.copy() for array in arguments[-count:]]
        function(*arguments[:-count], *expected)
        calls.append((kernel, function, arguments, expected))
    ready = threading.Barrier(CALLERS)

    def caller(number: int) -> list[str]:
        wrong = []
        order = np.random.default_rng([seed(), number]).permutation(len(calls))
        ready.wait()
        for position in order:
            kernel, function, arguments, expected = calls[position]
            results = [array.copy() for array in arguments[-len(expected) :]]
            function(*arguments[: -len(expected)], *results)
            if [array.tobytes() for array in results] != [array.tobytes() for array in expected]:
                wrong.append(kernel)
        return wrong

    with ThreadPoolExecutor(CALLERS) as callers:
        assert [wrong for wrong in callers.map(caller, range(CALLERS)) if wrong] == []


def products(rng):
    """Return a function that says whether some products on three threads are right."""
    a, b = signs(rng, 40, 130), signs(rng, 9, 130)
    dots = a.astype(np.int64) @ b.astype(np.int64).T
    g = integers(rng, np.int8, 40, 9)
    sums = g.astype(np.int64) @ b
    words = packed(a), packed(b)

    def are_right() -> bool:
        return (
            np.array_equal(bl.xnor_matmul(*words, 130, threads=3), dots)
            and np.array_equal(bl.xnor_matmul_sign(*words, 130, 1, threads=3), packed(np.where(dots >= 1, 1, -1)))
            and np.array_equal(bl.grad_input(g, words[1], 130, threads=3), sums)
        )

    return are_right


def exit_status_of_child(function) -> int:
    """Fork, and return 0 where `function` returned True in the child, -SIGALRM where it did not return."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(PATIENCE)
            status = 0 if function() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork is not there")
ignores_threads = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@needs_fork
@ignores_threads
def test_children_of_a_busy_parent(rng):
    """Fork while other threads are inside calls that use the pool: the child has the pool's state, not its threads."""
    if not guards.MARGIN:
        pytest.skip("AddressSanitizer's allocator waits for ever in a child forked while another thread held its lock")
    are_right, stop = products(rng), threading.Event()
    assert are_right()

    def keep_busy() -> bool:
        right = True
        while not stop.is_set():
            right = are_right() and right
        return right

    with ThreadPoolExecutor(2) as callers:
        busy = [callers.submit(keep_busy) for _ in range(2)]
        try:
            statuses = [exit_status_of_child(are_right) for _ in range(8)]
        finally:
            stop.set()
        assert statuses == [0] * len(statuses)
        assert all(each.result() for each in busy)
    assert are_right()


@needs_fork
@ignores_threads
def test_a_child_may_fork_and_call_concurrently(rng):
    are_right = products(rng)
    assert are_right()

    def in_threads() -> bool:
        with ThreadPoolExecutor(CALLERS) as callers:
            return all(callers.map(lambda _: are_right(), range(CALLERS)))

    assert exit_status_of_child(lambda: in_threads() and exit_status_of_child(in_threads) == 0) == 0
