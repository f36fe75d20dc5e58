"""The head: conjugate gradients on packed sums, against a direct solution in float64; and sums that are halved."""

from __future__ import annotations

import numpy as np
import pytest
from test_analytic import examples, learned, stored

from bitlearn.continual import LDA, AnalyticLearner, NearestClassMean
from bitlearn.continual.features import drawn
from bitlearn.continual.gaussian import discriminant, solving_bytes


def direct(codes, y):
    """Scores by NumPy's solver, from the examples themselves."""
    classes, n = np.unique(y), len(y)
    means = np.stack([codes[y == c].mean(axis=0) for c in classes])
    within = codes - means[np.searchsorted(classes, y)]
    s = within.T @ within / n
    p, trace, squares = len(s), np.trace(s), (s * s).sum()
    spread = squares - trace**2 / p
    share = 1 if p == 1 else min(1, ((1 - 2 / p) * squares + trace**2) / ((n + 1 - 2 / p) * spread))
    s = (1 - share) * s + share * trace / p * np.eye(p)
    weight = np.linalg.solve(s, means.T)
    return codes @ weight - (means.T * weight).sum(axis=0) / 2 + np.log(np.bincount(y)[classes] / n)


def apart(scores):
    return scores - scores.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("features", [1, 5, 64, 150])
@pytest.mark.parametrize("more", [0, 10**3, 10**6])
@pytest.mark.parametrize("count", [40, 1000])
def test_scores_are_those_of_the_direct_solution(rng, features, more, count):
    """To a thousandth of the largest, with any work memory: columns and blocks are as many as it allows."""
    x, y = examples(rng, count, (16, 16))
    learner = learned(x, y, features=features, examples=2000)
    codes = drawn("codes", (16, 16), features, 4, 0)(x)
    head = discriminant(learner.statistics, solving_bytes(features) + more)
    found, wanted = apart(head.scores(codes)), apart(direct(codes.T.astype(float), y))
    assert np.abs(found - wanted).max() <= 1e-3 * np.abs(wanted).max()


def test_the_raw_inputs_heads(rng):
    """Pixels that never change among them."""
    x, y = examples(rng, 400, (9, 8))
    x[:, :2] = 7
    flat = x.reshape(400, -1).astype(float)
    found, wanted = apart(LDA().partial_fit(x, y).scores(x)), apart(direct(flat, y))
    assert np.abs(found - wanted).max() <= 1e-3 * np.abs(wanted).max()
    means = np.stack([flat[y == c].mean(axis=0) for c in range(4)])
    far = -((flat[:, None] - means) ** 2).sum(axis=2) / 2
    found = NearestClassMean().partial_fit(x, y).scores(x)
    assert np.abs(apart(found) - apart(far)).max() <= 1e-3 * np.abs(apart(far)).max()


def test_what_is_predicted_beside_an_example_does_not_show(rng):
    x, y = examples(rng, 300)
    learner = AnalyticLearner(memory_budget="20 KiB").partial_fit(x, y)
    np.testing.assert_array_equal(learner.scores(x), np.concatenate([learner.scores(x[i : i + 1]) for i in range(300)]))


# --- half-life -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(1,), (7, 30), (300,)])
def test_sums_are_halved_after_exactly_so_many_examples(rng, sizes):
    """Against sums in Python's integers, example by example."""
    x, y = examples(rng, 300)
    y[:5] = 3
    learner, start, turn = AnalyticLearner(20, half_life=32), 0, 0
    while start < 300:
        size = sizes[turn % len(sizes)]
        learner.partial_fit(x[start : start + size], y[start : start + size])
        start, turn = start + size, turn + 1
    codes = drawn("codes", x.shape[1:], 20, 4, 0)(x).T.astype(np.int64)
    products, sums, counts = np.zeros((20, 20), dtype=np.int64), np.zeros((4, 20), dtype=np.int64), np.zeros(4, int)
    for i, (code, label) in enumerate(zip(codes, y, strict=True), 1):
        products += np.outer(code, code)
        sums[label] += code
        counts[label] += 2**16
        if i % 32 == 0:
            products, sums, counts = products >> 1, sums >> 1, counts >> 1
    found = learner.statistics
    np.testing.assert_array_equal(found.products(), products)
    np.testing.assert_array_equal(found.class_sums(), sums)
    np.testing.assert_array_equal(found.counts, counts)
    assert learner.count == counts.sum() >> 16 <= 64 and found.valid()


def test_a_class_that_has_faded_is_gone_and_may_come_back(rng):
    x, y = examples(rng, 300)
    learner = AnalyticLearner(20, half_life=16).partial_fit(x[:4], ["old"] * 4)
    learner.partial_fit(x, np.where(y > 1, "a", "b"))
    assert learner.labels == ["a", "b"] and set(learner.predict(x)) <= {"a", "b"}
    assert learner.partial_fit(x[:2], ["old", "a"]).labels == ["a", "b", "old"]


def test_labels_that_move_are_learned_anew(rng):
    x, y = examples(rng, 1200, classes=4)
    moved = np.where(np.arange(1200) < 600, y, (y + 1) % 4)
    found = [AnalyticLearner(60, half_life=half).partial_fit(x, moved) for half in (100, None)]
    scores = [learner.score(x, (y + 1) % 4) for learner in found]
    assert scores[0] > 0.9 and scores[0] > scores[1] + 0.2
    with pytest.raises(ValueError, match="merge must be called on a learner without half_life, got half_life=100"):
        found[0].merge(found[0])
    assert stored(found[1]) == stored(AnalyticLearner(60).partial_fit(x, moved))
