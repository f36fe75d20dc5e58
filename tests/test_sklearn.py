"""The estimators: scikit-learn's own checks, labels and data of any kind, pipelines, searches, pickles and files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import bitlearn as bl

pytest.importorskip("sklearn", "1.6", reason="scikit-learn is not installed: bitlearn-xnor[sklearn]")

from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from bitlearn.sklearn import BitClassifier, BitPacker, ContinualBitClassifier

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]


@parametrize_with_checks(
    [
        BitClassifier(hidden=32, epochs=5),
        ContinualBitClassifier(),
        BitPacker(),
        BitPacker(2, output="values"),
    ]
)
def test_scikit_learns_own_checks(estimator, check):
    """All of them; where an array API is not switched on (SCIPY_ARRAY_API) scikit-learn skips its check of that."""
    check(estimator)


@pytest.mark.parametrize("labels", [Y, NAMES, NAMES.astype(object), Y > 0, Y / 2.0, Y.astype(np.uint8) + 200])
@pytest.mark.parametrize("made", [lambda: BitClassifier(hidden=64), lambda: ContinualBitClassifier()])
def test_labels_of_any_type(made, labels):
    if labels.dtype.kind == "f":
        labels = labels * 2 - 1  # whole numbers: others are no classes for scikit-learn
    estimator = made().fit(X, labels)
    found = estimator.predict(X)
    assert found.dtype.kind == np.unique(labels).dtype.kind and set(found) <= set(labels)
    assert estimator.score(X, labels) > 0.9
    assert np.array_equal(estimator.classes_, np.unique(labels))
    chances = estimator.predict_proba(X)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_array_equal(estimator.classes_[chances.argmax(axis=1)], found)


def test_continuous_labels_are_no_classes():
    with pytest.raises(ValueError, match="Unknown label type"):
        BitClassifier().fit(X, X[:, 0])


def test_a_saved_estimator_predicts_alike(tmp_path):
    estimator = BitClassifier(hidden=(40, 30), epochs=3).fit(X, NAMES)
    bl.save(estimator, tmp_path / "file")
    loaded = bl.load(tmp_path / "file")
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))
    np.testing.assert_array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
    assert loaded.labels == ("setosa", "versicolor", "virginica")
    assert str(loaded.summary()) == str(estimator.summary())
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.predict_proba(X), estimator.predict_proba(X))


def test_a_saved_continual_estimator_goes_on(tmp_path):
    estimator = ContinualBitClassifier().partial_fit(X[:100], NAMES[:100])
    assert estimator.classes_.tolist() == ["setosa", "versicolor"]
    bl.save(estimator, tmp_path / "file")
    learner = bl.load(tmp_path / "file").partial_fit(X[100:], NAMES[100:])
    estimator.partial_fit(X[100:], NAMES[100:])
    assert estimator.classes_.tolist() == sorted(set(NAMES))
    np.testing.assert_array_equal(learner.predict(X), estimator.predict(X))


def test_the_same_seed_gives_the_same_weights():
    first, second = (BitClassifier(epochs=2, random_state=3).fit(X, Y) for _ in range(2))
    for name, array in first.model_.state().items():
        np.testing.assert_array_equal(array, second.model_.state()[name])
    other = clone(first).set_params(random_state=4).fit(X, Y)
    assert any((array != other.model_.state()[name]).any() for name, array in first.model_.state().items())


def test_pipeline_and_search_in_processes():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), BitClassifier(epochs=4)),
        {"bitclassifier__hidden": [(8,), (64,)], "bitclassifier__precision": ["int8", "low-memory"]},
        cv=2,
        n_jobs=2,
    ).fit(X, NAMES)
    assert search.best_score_ > 0.8 and len(search.cv_results_["params"]) == 4


def test_partial_fit():
    batches = [(X[at::30], NAMES[at::30]) for at in range(30)]
    estimator = BitClassifier(hidden=64)
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        estimator.partial_fit(*batches[0])
    for _ in range(10):
        for x, y in batches:
            estimator.partial_fit(x, y, classes=np.unique(NAMES))
    assert estimator.score(X, NAMES) > 0.85
    estimator.partial_fit(X[:1], NAMES[:1])
    with pytest.raises(ValueError, match=r"y must hold labels among the classes .*, got 'daisy'"):
        estimator.partial_fit(X[:1], ["daisy"])
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        estimator.partial_fit(X[:1], NAMES[:1], classes=["a", "b"])


def test_images():
    pixels, y = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) * 15).astype(np.uint8)[:600]
    network = BitClassifier(
        lambda spec, classes: bl.models.cnv(
            spec.shape, classes, filters=(8, 8), dense=(32,), head="real", precision="int8"
        ),
        epochs=1,
    ).fit(images[..., None], y[:600])
    assert network.model_.input_shape == (8, 8, 1) and network.predict(images[:3, ..., None]).shape == (3,)
    flat = BitClassifier(epochs=5).fit(images, y[:600])
    assert flat.score(images, y[:600]) > 0.9 and flat.model_.input_shape == (8, 8)
    with pytest.raises(ValueError, match=r"X must have the shape \(8, 8\) per example as in fit, got \(8, 7\)"):
        flat.predict(images[:, :, :7])
    with pytest.raises(TypeError, match="X must be uint8 as in fit, got float64"):
        flat.predict(images / 255)


def test_early_stopping_keeps_the_best_epoch():
    estimator = BitClassifier(hidden=32, epochs=60, early_stopping=True, patience=2).fit(X, Y)
    accuracies = [entry["validation_accuracy"] for entry in estimator.result_.history]
    assert estimator.n_iter_ < 60 and estimator.result_.history[-1]["stopped"]
    assert max(accuracies[:-2]) >= max(accuracies[-2:])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "mpl"}, "model must be one of .*, got 'mpl'; perhaps mlp"),
        ({"optimizer": "adm"}, "optimizer must be one of .*, got 'adm'; perhaps adam"),
        ({"precision": "int7"}, "precision must be one of .*got 'int7'"),
        ({"codes": "ranges"}, "codes must be one of .*perhaps range"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"bits": 0}, "bits must be an integer from 1 to 4096, got 0"),
        ({"hidden": ()}, "hidden must name at least one width"),
    ],
)
def test_wrong_settings(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        BitClassifier(**settings).fit(X, Y)


def test_before_fit():
    for call in (BitClassifier().summary, BitClassifier().plot, lambda: ContinualBitClassifier().predict_proba(X)):
        with pytest.raises(NotFittedError):
            call()


def test_packed_neighbours():
    """Hamming distances between thermometer codes of some bits rank as the sums of their steps do."""
    words = BitPacker(16).fit(X)
    values = BitPacker(16, output="values").fit(X)
    bits = values.transform(X)
    np.testing.assert_array_equal(bits >= 0, X[:, :, None].repeat(16, 2).reshape(150, 64) >= words.thresholds_.ravel())
    np.testing.assert_array_equal(bl.unpack(words.transform(X), words.n_values_), bits)
    names = values.get_feature_names_out()
    assert len(names) == 64 and names[0].startswith("x0>=") and words.get_feature_names_out().tolist() == ["word0"]
    near = make_pipeline(BitPacker(16, output="values"), KNeighborsClassifier(3, metric="hamming")).fit(X[::2], Y[::2])
    assert near.score(X[1::2], Y[1::2]) > 0.9


def test_data_frames():
    pd = pytest.importorskip("pandas", reason="pandas is not installed: bitlearn-xnor[data]")
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    estimator = BitClassifier(epochs=5).fit(frame, pd.Series(NAMES))
    assert estimator.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(estimator.predict(frame), estimator.classifier_.predict(frame))
