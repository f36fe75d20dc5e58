from __future__ import annotations

import threading

import numpy as np

from bitlearn.arena import accounting, track


def test_track_outside_an_arena_returns_the_array():
    array = np.zeros(3)
    assert track("X", array) is array


def test_live_and_peak_follow_the_arrays():
    with accounting() as arena:
        first = track("X", np.zeros(100, dtype=np.int8))
        second = track("X", np.zeros(28, dtype=np.int8))
        assert arena.live == {"X": 128}
        del first
        assert arena.live == {"X": 28}
        third = track("X", np.zeros(50, dtype=np.int8))
        assert arena.live == {"X": 78}
        assert arena.peak == {"X": 128}
        assert len(second) + len(third) == 78


def test_the_total_peak_is_that_of_one_moment():
    with accounting() as arena:
        first = track("X", np.zeros(100, dtype=np.int8))
        del first
        second = track("dX", np.zeros(60, dtype=np.int8))
        assert arena.peak == {"X": 100, "dX": 60}
        assert arena.total_peak == 100
        third = track("X", np.zeros(70, dtype=np.int8))
        assert arena.total_peak == 130
        assert len(second) + len(third) == 130


def test_an_array_is_counted_once_and_a_view_as_what_it_looks_into():
    with accounting() as arena:
        owner = np.zeros((8, 16), dtype=np.int16)
        view = track("X", owner[2:4].reshape(-1))
        track("Y", owner)
        track("X", view)
        assert arena.live == {"X": 256}
        del owner
        assert arena.live == {"X": 256}
        del view
        assert arena.live == {"X": 0}


def test_arrays_that_outlive_the_block_or_are_made_after_it():
    with accounting() as arena:
        kept = track("X", np.zeros(10, dtype=np.int8))
    later = track("X", np.zeros(20, dtype=np.int8))
    assert arena.live == {"X": 10}
    del kept
    assert arena.live == {"X": 0}
    assert len(later) == 20


def test_an_inner_arena_takes_over_until_it_closes():
    with accounting() as outer:
        with accounting() as inner:
            first = track("X", np.zeros(10, dtype=np.int8))
        second = track("X", np.zeros(20, dtype=np.int8))
        assert (inner.live, outer.live) == ({"X": 10}, {"X": 20})
        assert len(first) + len(second) == 30


def test_another_thread_is_not_counted():
    with accounting() as arena:
        kept = []
        thread = threading.Thread(target=lambda: kept.append(track("X", np.zeros(10))))
        thread.start()
        thread.join()
        assert arena.live == {}
