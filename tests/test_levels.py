"""Codes by levels, against plain counting of thresholds; how they are chosen; networks on them, also from files."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import datasets
from bitlearn.classifier import Classifier
from bitlearn.datasets.levels import fit_levels, long_tailed


@pytest.mark.parametrize("bits", [1, 7, 64, 65])
@pytest.mark.parametrize("shape", [(3,), (4, 2), (2, 3, 5)])
def test_a_thermometer_counts_thresholds(bits, shape, rng):
    x = np.exp(3 * rng.normal(size=(90, *shape)))
    made = fit_levels(x, "thermometer", bits=bits)
    assert made.thresholds.shape == (*shape, bits) and made.shape == shape
    found = made.codes(x)
    assert found.shape == (90, *shape[:-1], shape[-1] * bits)
    expected = np.where(x[..., None] >= made.thresholds, 1, -1).reshape(found.shape)
    np.testing.assert_array_equal(found.unpack(), expected)
    np.testing.assert_array_equal(bl.unpack(found.words, found.n), expected)


def test_quantile_codes_are_ranks(rng):
    x = np.exp(3 * rng.normal(size=(5000, 2)))
    codes = fit_levels(x, "quantile").codes(x)
    assert codes.dtype == np.int8 and codes.min() == -127 and codes.max() == 127
    order = np.argsort(x[:, 0])
    assert (np.diff(codes[order, 0].astype(int)) >= 0).all()
    counts = np.bincount(codes[:, 0].astype(int) + 127, minlength=255)
    assert counts.max() - counts[1:-1].min() <= 2  # as many values from one threshold to the next


def test_a_value_that_occurs_often_takes_one_level(rng):
    x = np.where(rng.random(4000) < 0.9, 0, rng.normal(size=4000))[:, None]
    bits = fit_levels(x, "thermometer", bits=9).codes(x).unpack()
    assert len(np.unique(bits, axis=0)) == 10
    two = (rng.random((500, 1)) < 0.02).astype(float)
    np.testing.assert_array_equal(
        fit_levels(two, "thermometer", bits=5).codes(two).unpack(), np.repeat(2 * two - 1, 5, 1)
    )


def test_automatic_codes_look_at_each_feature(rng):
    even, tailed = rng.uniform(size=(1000, 1)), np.exp(3 * rng.normal(size=(1000, 1)))
    assert not long_tailed(even[:, 0]) and long_tailed(tailed[:, 0])
    assert isinstance(datasets.prepare(even).scaling, datasets.Scaling)
    both = np.hstack([even, tailed])
    prepared = datasets.prepare(both)
    assert isinstance(prepared.scaling, datasets.Quantiles)
    ranged = datasets.prepare(both, codes="range").codes(both)
    assert np.abs(prepared.codes(both)[:, 0].astype(int) - ranged[:, 0]).max() <= 1
    # Of the tail's thousand values equal steps leave a few codes, quantiles all.
    assert len(np.unique(ranged[:, 1])) < 60 and len(np.unique(prepared.codes(both)[:, 1])) == 255
    images = rng.integers(0, 256, size=(5, 4, 4, 1), dtype=np.uint8)
    np.testing.assert_array_equal(datasets.prepare(images).codes(images), images.astype(int) - 128)


@pytest.mark.parametrize("codes", ["quantile", "thermometer", "auto"])
def test_a_network_learns_from_levels_and_is_saved(codes, rng, tmp_path):
    x, y = np.exp(2 * rng.normal(size=(600, 4))), rng.integers(0, 2, 600)
    x[:, 2] *= np.where(y, 10_000, 1)
    train = datasets.Examples(x, y, datasets.prepare(x, codes=codes))
    model = bl.models.mlp(bl.nn.Spec.of(train.codes([0])), 2, hidden=(32,), head="real", precision="int8")
    bl.training.fit(model, bl.optim.adam(0.003), train, bl.training.Options(epochs=5, batch_size=20))
    assert bl.training.accuracy(model, train) > 0.8
    classifier = Classifier(model.freeze(), train.preparation, ("low", "high"))
    bl.save(classifier, tmp_path / "file")
    loaded = bl.load(tmp_path / "file")
    np.testing.assert_array_equal(loaded.predict(x), np.array(["low", "high"])[model.predict(train.codes())])
    learner = bl.continual.ContinualLearner(preparation=train.preparation).partial_fit(x[:300], y[:300])
    bl.save(learner, tmp_path / "file")
    np.testing.assert_array_equal(bl.load(tmp_path / "file").scores(x), learner.scores(x))


def test_permuted_features_keep_their_levels(rng):
    x, y = np.exp(3 * rng.normal(size=(50, 6))) * 10.0 ** np.arange(6), np.arange(50) % 2
    tasks = bl.continual.permuted(x, y, x, y, 2, preparation=datasets.prepare(x, codes="quantile")).tasks
    first, second = (task.train.codes() for task in tasks)
    assert (first != second).any()
    np.testing.assert_array_equal(np.sort(first, axis=1), np.sort(second, axis=1))


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda x: datasets.prepare(x, codes="ranges"), ValueError, "codes must be one of .*; perhaps range"),
        (lambda x: datasets.prepare(x, bits=3), ValueError, "bits must be given for a thermometer only"),
        (lambda x: datasets.prepare(x, codes="thermometer", bits=0), ValueError, "bits must be an integer from 1"),
        (lambda x: datasets.prepare(x * np.nan), ValueError, "features must be finite"),
        (lambda x: datasets.prepare(x, codes="quantile").codes(x[:, :2]), ValueError, r"must have shape \(3,\)"),
        (lambda x: datasets.prepare(x, codes="thermometer").codes(x * np.inf), ValueError, "must be finite"),
        (lambda x: datasets.Quantiles(np.array([[2.0, 1.0]])), ValueError, "in increasing order"),
        (lambda x: datasets.Quantiles(np.zeros(3)), ValueError, "thresholds must be float64 of shape"),
        (lambda x: datasets.prepare([["a"]]), TypeError, "x_train must hold real numbers"),
    ],
)
def test_wrong_levels(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call(np.arange(12.0).reshape(4, 3) + 1)
