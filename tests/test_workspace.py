"""Memory of a step's arrays that is used again: what is lent, kept and dropped."""

from __future__ import annotations

import copy
import threading

import numpy as np

import bitlearn as bl
from bitlearn.workspace import LEAST_BYTES, Workspace, empty

PAGE = LEAST_BYTES


def test_small_arrays_and_those_outside_are_numpys_own():
    workspace = Workspace()
    with workspace.active():
        assert empty((PAGE - 1,), np.int8).base is None
        assert empty((0, 5), np.float32).shape == (0, 5)
    assert empty((PAGE,), np.int8).base is None
    assert workspace.lent == workspace.kept == 0


def test_memory_comes_back_when_the_last_view_is_gone():
    workspace = Workspace()
    with workspace.active():
        x = empty((4, PAGE), np.int16)
        assert x.shape == (4, PAGE) and x.dtype == np.int16 and x.flags.c_contiguous and x.flags.writeable
        x[...] = 7
        part = x[1:2].reshape(-1)[5:]
        del x
        assert (workspace.lent, workspace.kept) == (8 * PAGE, 0)
        other = empty((4, PAGE), np.int16)
        other[...] = 1
        assert (part == 7).all()
        del part
        assert (workspace.lent, workspace.kept) == (8 * PAGE, 8 * PAGE)
        third = empty((4, PAGE), np.int16)
        assert (workspace.lent, workspace.kept) == (16 * PAGE, 0)
        assert not np.shares_memory(third, other)


def test_kept_memory_never_adds_to_what_was_in_use():
    workspace = Workspace()
    with workspace.active():
        first, second = empty((3 * PAGE,), np.int8), empty((5 * PAGE,), np.int8)
        del first, second
        assert workspace.kept == 8 * PAGE
        large = empty((7 * PAGE,), np.int8)  # neither fits: the older is dropped, and it is not enough
        assert (workspace.lent, workspace.kept) == (7 * PAGE, 0)
        small = empty((PAGE,), np.int8)
        assert workspace.lent == 8 * PAGE
        del large, small
        assert workspace.kept == 8 * PAGE


def test_a_frugal_one_leaves_large_memory_for_large_arrays():
    for frugal, lent in ((False, 8 * PAGE), (True, PAGE)):
        workspace = Workspace(frugal)
        with workspace.active():
            del (large := [empty((8 * PAGE,), np.int8)])[0]
            assert not large and workspace.kept == 8 * PAGE
            kept = empty((PAGE,), np.int8)
            assert workspace.lent == lent
            del kept


def test_arrays_outlive_it_and_copies_share_nothing():
    workspace = Workspace(frugal=True)
    with workspace.active():
        x = empty((PAGE,), np.int8)
    x[...] = 3
    other = copy.deepcopy(workspace)
    assert other.frugal and other.lent == 0
    del workspace
    assert (x == 3).all()


def test_helpers_take_from_the_callers_workspace():
    bl.set_num_threads(2)
    try:
        workspace, names = Workspace(), set()

        def work(start: int, stop: int) -> None:
            names.add(threading.current_thread().name)
            kept.append(empty((PAGE,), np.int8))

        kept: list[np.ndarray] = []
        with workspace.active():
            bl.threads.over_ranges(work, 2, 2)
        assert workspace.lent == 2 * PAGE
        assert not np.shares_memory(*kept)
    finally:
        bl.set_num_threads(1)


def test_helpers_use_the_callers_backend():
    found = []

    def work(start: int, stop: int) -> None:
        found.append(bl.which("pack"))

    with bl.use_backend("reference"):
        bl.threads.over_ranges(work, 8, 8)
    assert found == ["reference"] * 8


def test_gradients_of_a_step_are_not_those_of_the_next(rng):
    model = bl.models.mlp((784,), precision="int8")
    x = rng.integers(-128, 128, size=(50, 784)).astype(np.int8)

    def gradients(sign: int):
        scores, caches = model.forward(x, training=True)
        return model.backward(caches, (sign * scores).astype(np.float32))[1]

    first = gradients(1)
    before = first["linear2.weight"].sums.copy()
    second = gradients(-1)
    np.testing.assert_array_equal(first["linear2.weight"].sums, before)
    assert not np.array_equal(second["linear2.weight"].sums, before)
