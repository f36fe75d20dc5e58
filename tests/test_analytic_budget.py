"""What a budget covers: everything that is kept and worked with; and what follows it: how many features there are."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_analytic import examples, stored

import bitlearn as bl
from bitlearn.continual import LDA, AnalyticLearner, NearestClassMean
from bitlearn.continual.packed import bytes_of, narrowed, relaid, widened

#: What Python's own objects may take beside the arrays that a budget covers.
OBJECTS = 12 * 1024


def fed(budget, x, y, sizes=(1, 7, 30), **settings):
    """A learner that was given batches of some sizes in turn."""
    learner, start, turn = AnalyticLearner(memory_budget=budget, **settings), 0, 0
    while start < len(y):
        size = sizes[turn % len(sizes)]
        learner.partial_fit(x[start : start + size], y[start : start + size])
        start, turn = start + size, turn + 1
    return learner


# --- as many features as fit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["images", "rows", "few", "bits"])
@pytest.mark.parametrize("budget", ["8 KiB", 9000, "40 KiB"])
def test_what_was_dropped_leaves_no_trace(rng, budget, form):
    """New classes, and integers that grow by a byte at 292 examples, cost features: they might never have been."""
    x, y = examples(rng, 340, (17, 16) if form == "images" else (6 if form == "few" else 70,), classes=4)
    x = bl.Bits(bl.pack(x.astype(np.int16) - 128), 70) if form == "bits" else x
    order = np.argsort(y, kind="stable")
    x, y = x[order], y[order]
    learner = fed(budget, x, y)
    assert learner.features < fed(budget, x[:1], y[:1]).features
    first = fed(budget, x[:291], y[:291])
    assert first.statistics.pairs.shape[-1] == 2 and learner.statistics.pairs.shape[-1] == 3
    fewer = AnalyticLearner(learner.features, examples=340).partial_fit(x, y)
    assert stored(learner) == stored(fewer)
    np.testing.assert_array_equal(learner.scores(x[:9]).argmax(axis=1), fewer.scores(x[:9]).argmax(axis=1))
    # One more would not have fitted, and the order does not show.
    total = learner.memory().total
    assert total <= learner.budget < learner.memory(features=learner.features + 1).total
    back = rng.permutation(340)
    assert stored(fed(budget, x[back], y[back], (340,))) == stored(learner)


def test_a_class_that_was_announced_costs_nothing_later(rng):
    x, y = examples(rng, 60)
    learner = AnalyticLearner(memory_budget="10 KiB", classes=4, examples=60)
    features = learner.partial_fit(x[y == 0], y[y == 0]).features
    assert learner.partial_fit(x[y > 0], y[y > 0]).features == features
    assert stored(learner) == stored(AnalyticLearner(features, examples=60).partial_fit(x, y))


def test_merging_takes_the_smaller_number(rng):
    x, y = examples(rng, 400)
    one, two = fed("8 KiB", x[:350], y[:350]), fed("30 KiB", x[350:], y[350:])
    assert one.features < two.features
    whole = fed("8 KiB", x, y)
    before = stored(one), stored(two)
    for a, b in ((one, two), (two, one)):
        merged = AnalyticLearner(memory_budget=a.budget).merge(a).merge(b)
        assert (stored(one), stored(two)) == before and merged.features <= one.features
        assert stored(merged) == stored(AnalyticLearner(merged.features, examples=400).partial_fit(x, y))
    assert stored(one.merge(two)) == stored(whole)


@given(st.lists(st.tuples(st.sampled_from("lfms"), st.lists(st.integers(0, 39), max_size=9)), max_size=8))
def test_any_sequence_leaves_what_its_features_would(steps):
    """Learn, forget, merge and save: what counts is which examples are left, and how few features it came to."""
    x, y = examples(np.random.default_rng(3), 40, (13,), classes=5)
    left, learner = [], AnalyticLearner(memory_budget=7000)
    for what, index in steps:
        if what == "f":
            index = [i for i in dict.fromkeys(index) if i in left]
            for i in index:
                left.remove(i)
            learner.forget(x[index], y[index])
        elif what == "m":
            left += index
            learner.merge(AnalyticLearner(memory_budget=7500).partial_fit(x[index], y[index]))
        elif what == "l":
            left += index
            learner.partial_fit(x[index], y[index])
    assert learner.count == len(left)
    if left:
        wanted = AnalyticLearner(learner.features, examples=len(left)).partial_fit(x[left], y[left])
        assert stored(learner) == stored(wanted) and learner.memory().total <= 7000


def test_what_is_saved_goes_on_alike(rng, tmp_path):
    x, y = examples(rng, 340)
    for settings in ({"memory_budget": "8 KiB"}, {"memory_budget": "8 KiB", "half_life": 50}, {"half_life": 50}):
        learner = AnalyticLearner(**settings).partial_fit(x[:170], y[:170])
        learner.save(tmp_path / "file")
        again = AnalyticLearner.load(tmp_path / "file")
        assert stored(again) == stored(learner) and again.since == learner.since
        for each in (learner, again):
            each.partial_fit(x[170:], y[170:])
        assert stored(again) == stored(learner) and again.features == learner.features


def test_a_budget_that_holds_no_feature_is_refused_with_its_table(rng):
    x, y = examples(rng)
    learner = AnalyticLearner(memory_budget=200)
    with pytest.raises(ValueError, match=r"memory_budget must be at least \d+ bytes for 4 classes") as error:
        learner.partial_fit(x, y)
    assert learner.statistics is None and "\n" not in str(error.value)
    memory = learner.memory(("codes", x.shape[1:]), classes=4, examples=97, features=1)
    assert f"{memory.total} bytes" in str(error.value)
    names = [name for name, _ in memory.rows()]
    assert names == ["pairs", "class sums", "places", "head", "learning", "solving", "predicting", "total"]
    learner.budget = memory.total
    assert learner.partial_fit(x, y).features == 1
    with pytest.raises(ValueError, match="form must be given before an example was learned"):
        AnalyticLearner().memory()


@given(st.integers(1, 4), st.integers(1, 90), st.integers(1, 90), st.integers(1, 7), st.integers(1, 7))
def test_integers_are_moved_where_they_lie(rows, n, count, old, new):
    """Fewer a row, more rows, wider or narrower, against a copy."""
    count, values = min(n, count), np.random.default_rng(n).integers(0, 2 ** (8 * min(old, new) - 1), (rows, n))
    found = relaid(narrowed(values, old).copy(), rows + 2, count, new)
    assert found.shape == (rows + 2, count, new) and found.flags.owndata
    np.testing.assert_array_equal(widened(found)[:rows], values[:, :count])
    assert not found[rows:].any() and bytes_of(255**2) == 2


# --- measured from outside -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "shape", "count"),
    [
        ("8 KiB", (28, 28, 1), 300),
        ("8 KiB", (8, 8, 1), 300),
        ("8 KiB", (20,), 300),
        ("32 KiB", (28, 28, 1), 300),
        ("32 KiB", (70,), 120),
        ("128 KiB", (16, 17, 3), 120),
        ("1.2 MiB", (28, 28, 1), 110),
    ],
)
def test_all_arrays_keep_within_the_budget(rng, budget, shape, count):
    """Peak of traced memory over a stream of batches of any size, class by class, with predictions in between."""
    x, y = examples(rng, count, shape, classes=min(10, 2 * shape[0] // 5))
    order = np.argsort(y, kind="stable")
    x, y = (x[order].astype(np.int16) - 128).astype(np.int8), y[order]
    parts = [(x[a : a + size], y[a : a + size]) for a, size in ((0, 1), (1, 99), (100, count - 100))]
    tests = [x[:1], x[50:90]]

    def stream():
        learner = AnalyticLearner(memory_budget=budget)
        for part, labels in parts:
            learner.partial_fit(part, labels)
            for test in tests:
                learner.predict(test)
        return learner

    for _ in range(2):
        stream()  # what is loaded, compiled or cached once is no part of it
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        learner = stream()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert learner.memory().total <= learner.budget and learner.nbytes <= learner.memory().kept + learner.memory().head
    assert peak <= learner.budget + OBJECTS


# --- yardsticks ------------------------------------------------------------------------------------------------------


def test_digits_rise_with_the_budget_above_the_raw_input():
    pytest.importorskip("sklearn")
    data = bl.datasets.load("digits")
    train, held = bl.datasets.holdout(data.y_train, 0.2, seed=0)
    x, y, x_held, y_held = data.x_train[train], data.y_train[train], data.x_train[held], data.y_train[held]
    found = [fed(budget, x, y, (200,)).score(x_held, y_held) for budget in ("8 KiB", "32 KiB", "128 KiB")]
    mean, lda = (kind(examples=2000).partial_fit(x, y).score(x_held, y_held) for kind in (NearestClassMean, LDA))
    assert found[0] > mean and found[1] > lda and found == sorted(found)
