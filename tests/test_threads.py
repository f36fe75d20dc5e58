"""The threads that share a call's rows."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import LARGE, THREADS, packed, signs

import bitlearn as bl
from bitlearn import threads


@pytest.fixture
def undecided(monkeypatch):
    """No number of threads set: neither by a call nor in the environment."""
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.delenv("BITLEARN_NUM_THREADS", raising=False)


@pytest.mark.usefixtures("undecided")
def test_default_environment_and_call_in_rising_order(monkeypatch):
    assert bl.get_num_threads() == 1
    monkeypatch.setenv("BITLEARN_NUM_THREADS", "3")
    assert bl.get_num_threads() == 1  # read once
    threads._from_environment.cache_clear()
    assert bl.get_num_threads() == 3
    bl.set_num_threads(2)
    assert bl.get_num_threads() == 2
    assert threads.resolve(None) == 2
    assert threads.resolve(5) == 5


@pytest.mark.usefixtures("undecided")
@pytest.mark.parametrize("value", ["0", "257", "-1", "1.5", "many", ""])
def test_environment_out_of_range(monkeypatch, value):
    monkeypatch.setenv("BITLEARN_NUM_THREADS", value)
    with pytest.raises(ValueError, match=r"BITLEARN_NUM_THREADS must be an integer from 1 to 256, got"):
        bl.get_num_threads()


@pytest.mark.usefixtures("undecided")
@pytest.mark.parametrize("value", [0, 257, -1, 1.5, "2", True, None])
def test_number_out_of_range_changes_nothing(value):
    bl.set_num_threads(2)
    with pytest.raises(ValueError, match=r"k must be an integer from 1 to 256, got"):
        bl.set_num_threads(value)
    assert bl.get_num_threads() == 2


@pytest.mark.parametrize("value", [0, 257, 1.5, "2", True])
def test_argument_out_of_range(value):
    a = bl.pack(np.ones((2, 3)))
    out = np.full((2, 2), 7, dtype=np.int32)
    with pytest.raises(ValueError, match=r"threads must be an integer from 1 to 256, got"):
        bl.xnor_matmul(a, a, 3, out=out, threads=value)
    assert (out == 7).all()


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 64, LARGE])
@pytest.mark.parametrize("wanted", THREADS)
def test_ranges_cover_the_rows_once(count, wanted):
    seen, ranges, lock = np.zeros(count, dtype=int), [], threading.Lock()

    def visit(start, stop):
        with lock:
            seen[start:stop] += 1
            ranges.append((start, stop))

    threads.over_ranges(visit, count, wanted)
    assert (seen == 1).all()
    assert len(ranges) == max(1, min(wanted, count))
    sizes = [stop - start for start, stop in ranges]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_exceptions_reach_the_caller_after_all_ranges_end(failing):
    ended = []

    def part(start, stop):
        if start == failing:
            raise RuntimeError(f"range {start}")
        ended.append(start)

    with pytest.raises(RuntimeError, match=f"range {failing}"):
        threads.over_ranges(part, 3, 3)
    assert sorted(ended) == [start for start in range(3) if start != failing]


@pytest.mark.parametrize("started", [0, 1, 2])
def test_where_the_process_may_have_no_more_threads_fewer_do_it(started, monkeypatch):
    start, left, done = threads.start_new_thread, [None] * started, []

    def few(function, arguments):
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(function, arguments)

    monkeypatch.setattr(threads, "processors", lambda: 9)
    monkeypatch.setattr(threads, "start_new_thread", few)
    threads.over_ranges(lambda start, stop: done.append((start, stop)), 64, 9)
    assert len(done) == 9 and not left
    assert threads.uninterrupted(lambda: 5) == 5


def test_uninterrupted_calls_pass_on_results_exceptions_and_the_choice_of_a_backend():
    assert threads.uninterrupted(lambda: (1, "two")) == (1, "two")
    with bl.use_backend("reference"):
        assert threads.uninterrupted(lambda: bl.which("pack")) == "reference"
    with pytest.raises(ZeroDivisionError):
        threads.uninterrupted(lambda: 1 // 0)


def running_together(callers: int, wanted: int, monkeypatch, processors: int) -> int:
    """The most threads that were inside ranges at a time, of so many callers that ask for `wanted` threads each."""
    monkeypatch.setattr(threads, "processors", lambda: processors)
    most, inside, lock, ready = 0, 0, threading.Lock(), threading.Barrier(callers)

    def part(start, stop):
        nonlocal most, inside
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.002)
        with lock:
            inside -= 1

    def call(_):
        ready.wait()
        threads.over_ranges(part, 64, wanted)

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(call, range(callers)))
    return most


def test_a_call_takes_no_more_threads_than_processors(monkeypatch):
    assert 1 < running_together(1, 16, monkeypatch, processors=3) <= 3


def test_callers_in_a_thread_pool_share_the_processors(monkeypatch):
    """Each caller runs; helpers there are only for processors that are left: at most 4 - 1 for the first of 4."""
    assert running_together(4, 16, monkeypatch, processors=4) <= 4 + 3
    assert threads._helping == 0
    assert running_together(4, 16, monkeypatch, processors=1) <= 4


def test_little_work_is_not_split(monkeypatch):
    monkeypatch.setattr(threads, "WORK_PER_THREAD", 1600)  # the panels of ten columns are sixteen words
    asked = []
    monkeypatch.setattr(threads, "over_ranges", lambda function, count, k: asked.append(k) or function(0, count))
    a, b = bl.pack(np.ones((100, 64))), bl.pack(np.ones((10, 64)))
    with bl.use_backend("reference"):
        for rows in (99, 100, 100):
            bl.xnor_matmul(a[:rows], b, 64, threads=4)
    assert asked == [1, 2, 2]


def in_another_process(code: str, **environment: str) -> str:
    """What a fresh interpreter prints, its numbers of threads set as given and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    return subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_worker_process_keeps_to_its_share():
    main = "import bitlearn as bl; print(bl.get_num_threads())"
    assert in_another_process(main, BITLEARN_NUM_THREADS="3", OMP_NUM_THREADS="2") == "3"
    child = """
import multiprocessing, bitlearn as bl
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.apply(bl.get_num_threads))
"""
    assert in_another_process(child, BITLEARN_NUM_THREADS="3", OMP_NUM_THREADS="2") == "2"
    assert in_another_process(child, BITLEARN_NUM_THREADS="3") == "3"


def test_joblib_workers_keep_to_their_share():
    pytest.importorskip("joblib")
    code = """
import joblib, bitlearn as bl
print(*joblib.Parallel(n_jobs=2)(joblib.delayed(bl.get_num_threads)() for _ in range(2)))
"""
    share = max(1, len(os.sched_getaffinity(0)) // 2) if hasattr(os, "sched_getaffinity") else 1
    told = in_another_process(code, BITLEARN_NUM_THREADS="64")
    assert told == f"{share} {share}"


def test_threadpoolctl_limits_our_threads():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    pytest.importorskip("bitlearn.backends.cext", reason="the extension is not built", exc_type=ImportError)
    before = bl.get_num_threads()
    try:
        bl.set_num_threads(3)
        with threadpoolctl.threadpool_limits(1):
            assert bl.get_num_threads() == 1
        with threadpoolctl.threadpool_limits({"bitlearn": 2}):
            assert bl.get_num_threads() == 2
        with threadpoolctl.threadpool_limits(10**6, user_api="bitlearn"):
            assert bl.get_num_threads() == threads.MOST_THREADS
        assert bl.get_num_threads() == 3
    finally:
        bl.set_num_threads(before)


def test_concurrent_callers(variant, rng):
    a, b = signs(rng, 40, 130), signs(rng, 9, 130)
    expected = a.astype(np.int64) @ b.astype(np.int64).T
    words = packed(a), packed(b)

    def call(k):
        with bl.use_backend(variant):
            return bl.xnor_matmul(*words, 130, threads=1 + k % 4)

    with ThreadPoolExecutor(8) as callers:
        for result in callers.map(call, range(32)):
            np.testing.assert_array_equal(result, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork is not there")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_use_after_fork(variant, rng):
    a, b = signs(rng, 12, 70), signs(rng, 5, 70)
    expected = a.astype(np.int64) @ b.astype(np.int64).T
    words = packed(a), packed(b)
    bl.xnor_matmul(*words, 70, threads=3)  # the parent's pool has threads by now
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if (bl.xnor_matmul(*words, 70, threads=3) == expected).all() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(bl.xnor_matmul(*words, 70, threads=3), expected)


def test_a_helper_that_waits_holds_no_array():
    """A call's arrays are freed when it returns, not when the helper gets its next task."""
    for _ in range(20):
        array = np.zeros(100)
        gone = weakref.ref(array)

        def work(start, stop, array=array):
            array[start:stop] = 1

        threads.over_ranges(work, 4, 4)
        assert (array == [*[1] * 4, *[0] * 96]).all()
        del work, array
        assert gone() is None
