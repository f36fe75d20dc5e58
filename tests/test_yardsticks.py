"""The yardsticks beside plain formulas and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.continual import LDA, AnalyticLearner, ClassPrototypes, NearestClassMean
from bitlearn.continual.features import drawn
from bitlearn.continual.gaussian import shrinkage

#: Of probabilities: a head keeps 16 bits of each weight.
HEAD = 2e-3
KINDS = [NearestClassMean, LDA, ClassPrototypes]


def share_of(covariance: np.ndarray, count: int) -> float:
    return shrinkage(np.trace(covariance), (covariance**2).sum(), len(covariance), count)


@pytest.fixture
def data(rng):
    """Clusters of uint8 rows that lie over each other; the first class is rare."""
    y = rng.choice(5, 240, p=[0.05, 0.2, 0.25, 0.2, 0.3])
    mixing = rng.normal(size=(21, 21))
    x = 128 + 12 * rng.normal(size=(240, 21)) @ mixing / 3 + 18 * rng.normal(size=(5, 21))[y]
    return np.clip(x, 0, 255).astype(np.uint8), y


def test_the_nearest_mean_is_that_of_the_formula(data):
    x, y = data
    means = np.stack([x[y == c].astype(float).mean(axis=0) for c in range(5)])
    distances = ((x[:, None].astype(float) - means) ** 2).sum(axis=2)
    learner = NearestClassMean(examples=300).partial_fit(x, y)
    np.testing.assert_array_equal(learner.predict(x), distances.argmin(axis=1))
    assert 0.3 < learner.score(x, y) < 1 and learner.statistics.nbytes == 5 * 21 * 3 + 5 * 8
    np.testing.assert_array_equal((x ^ 0x80).view(np.int8).astype(int) + 128, x)
    np.testing.assert_array_equal(learner.predict((x ^ 0x80).view(np.int8)), learner.predict(x))


def test_the_nearest_mean_is_that_of_scikit_learn(data):
    centroid = pytest.importorskip("sklearn.neighbors").NearestCentroid()
    x, y = data
    np.testing.assert_array_equal(NearestClassMean().partial_fit(x, y).predict(x), centroid.fit(x, y).predict(x))


def test_the_discriminant_is_that_of_the_formula(data):
    x, y = data
    flat, counts = x.astype(float), np.bincount(y)
    means = np.stack([flat[y == c].mean(axis=0) for c in range(5)])
    within = (flat - means[y]).T @ (flat - means[y]) / len(x)
    share = share_of(within, len(x))
    covariance = (1 - share) * within + share * np.trace(within) / 21 * np.eye(21)
    inverse = np.linalg.inv(covariance)
    wanted = -0.5 * np.einsum("ncf,fg,ncg->nc", flat[:, None] - means, inverse, flat[:, None] - means)
    wanted += np.log(counts / len(x))
    wanted = np.exp(wanted - wanted.max(axis=1, keepdims=True))
    learner = LDA(examples=300).partial_fit(x, y)
    np.testing.assert_allclose(learner.predict_proba(x), wanted / wanted.sum(axis=1, keepdims=True), rtol=0, atol=HEAD)
    assert learner.score(x, y) > NearestClassMean().partial_fit(x, y).score(x, y)
    # Sums up to 300 * 255 and products up to 300 * 255**2 both take 3 bytes, or 4.
    assert learner.statistics.nbytes == 21 * 22 // 2 * 4 + 5 * 21 * 3 + 5 * 8


def test_the_discriminant_is_that_of_scikit_learn(data):
    discriminant = pytest.importorskip("sklearn.discriminant_analysis").LinearDiscriminantAnalysis
    x, y = data
    centred = x - np.stack([x[y == c].mean(axis=0) for c in range(5)])[y]
    share = share_of(centred.T @ centred / len(x), len(x))
    other = discriminant(solver="lsqr", shrinkage=share).fit(x.astype(float), y)
    np.testing.assert_allclose(
        LDA().partial_fit(x, y).predict_proba(x), other.predict_proba(x.astype(float)), rtol=0, atol=HEAD
    )


@pytest.mark.parametrize("count", [5, 50, 5000])
def test_the_shrinkage_is_the_published_one(rng, count):
    """Equation 23 of arXiv 0907.4698, in eigenvalues."""
    x, p = rng.normal(size=(count, 13)) @ rng.normal(size=(13, 13)), 13
    covariance = x.T @ x / count
    values = np.linalg.eigvalsh(covariance)
    square, trace = np.sum(values**2), np.sum(values)
    wanted = ((1 - 2 / p) * square + trace**2) / ((count + 1 - 2 / p) * (square - trace**2 / p))
    assert share_of(covariance, count) == pytest.approx(min(1, wanted), rel=1e-9) and wanted > 0
    assert share_of(np.eye(4), 10) == share_of(np.zeros((4, 4)), 10) == 1


def test_prototypes_are_majorities_and_distances_counts(rng):
    x, y = rng.integers(0, 256, (150, 6, 8), dtype=np.uint8), rng.integers(0, 5, 150)
    bits = drawn("codes", (6, 8), 70, 1, 3)(x).T.astype(int)
    prototypes = np.stack([2 * bits[y == c].sum(axis=0) >= (y == c).sum() for c in range(5)])
    distances = (bits[:, None] != prototypes).sum(axis=2)
    learner = ClassPrototypes(70, seed=3, examples=150).partial_fit(x, y)
    np.testing.assert_array_equal(learner.scores(x), -distances)
    np.testing.assert_array_equal(learner.predict(x), distances.argmin(axis=1))
    assert learner.statistics.nbytes == 5 * 70 * 1 + 5 * 8


@pytest.mark.parametrize("kind", KINDS)
def test_bits_are_an_input_like_codes(rng, kind):
    """Bits are 0 and 1: the same predictions as of the codes 0 and 255 where nothing but scale differs."""
    values, y = rng.integers(0, 2, (120, 3, 70)), rng.integers(0, 3, 120)
    values[np.arange(120), y] = 1
    learner = kind().partial_fit(bl.Bits(bl.pack(values > 0), 70), y)
    assert learner.score(bl.Bits(bl.pack(values > 0), 70), y) > 0.9
    if kind is not ClassPrototypes:
        codes = (255 * values).astype(np.uint8)
        other = kind().partial_fit(codes, y)
        np.testing.assert_array_equal(learner.predict(bl.Bits(bl.pack(values > 0), 70)), other.predict(codes))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_few_kibibytes_beat_the_yardsticks_on_images(data_folder, name):
    data = bl.datasets.load(name, data_folder)
    x, y, x_test, y_test = data.x_train[:6000], data.y_train[:6000], data.x_test[:2000], data.y_test[:2000]
    learner = AnalyticLearner(memory_budget="8 KiB", classes=10, examples=60000).partial_fit(x, y)
    assert learner.nbytes <= 8192
    for other in (NearestClassMean(), ClassPrototypes(500)):
        assert learner.score(x_test, y_test) > other.partial_fit(x, y).score(x_test, y_test) + 0.03


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(NearestClassMean, {}), (LDA, {}), (ClassPrototypes, {"features": 70}), (AnalyticLearner, {"features": 33})],
)
def test_no_order_shows_and_what_is_forgotten_was_never_there(data, kind, settings, tmp_path):
    x, y = data
    names = np.array(["e", "d", "c", "b", "a"])[y]
    gone = np.arange(240) % 7 == 0
    one = kind(examples=999, **settings).partial_fit(x[~gone], names[~gone])
    parts = [kind(examples=999, **settings), kind(examples=999, **settings)]
    for i in np.argsort(y, kind="stable"):
        parts[i % 2].partial_fit(x[i : i + 1], names[i : i + 1])
    other = parts[0].merge(parts[1]).forget(x[gone], names[gone])
    other.save(tmp_path / "file")
    for learner in (other, kind.load(tmp_path / "file")):
        assert learner.labels == one.labels == ["a", "b", "c", "d", "e"] and learner.settings() == one.settings()
        for name, array in one.statistics.arrays().items():
            assert learner.statistics.arrays()[name].tobytes() == array.tobytes(), name
        np.testing.assert_array_equal(learner.scores(x), one.scores(x))
