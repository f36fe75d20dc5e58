"""Streams: every example once, drift from one concept to another, and test-then-train."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import continual
from bitlearn.continual import Stream, drift, permuted_labels, prequential


def numbered(count: int, classes: int):
    return np.arange(count, dtype=np.float32)[:, None] * np.ones(2, dtype=np.float32), np.arange(count) % classes


def whole(stream: Stream, size: int):
    parts = list(stream.batches(size))
    assert [len(y) for _, y in parts[:-1]] == [size] * (len(parts) - 1) and 0 < len(parts[-1][1]) <= size
    x, y = (np.concatenate(part) for part in zip(*parts, strict=True))
    return x[:, 0].astype(int), y


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_scenarios_stream_has_each_example_once_task_by_task(size):
    x, y = numbered(61, 5)
    names = np.array(["a", "b", "c", "d", "e"])[y]
    stream = continual.class_incremental(x, names, x, names, (2, 1, 2)).stream(seed=3)
    rows, labels = whole(stream, size)
    assert len(stream) == 61 and sorted(rows) == list(range(61)) and rows.tolist() != sorted(rows)
    assert labels.tolist() == names[rows].tolist()
    of = np.array([0, 0, 1, 2, 2])[y[rows]]
    assert (np.diff(of) >= 0).all()
    assert repr(stream) == "Stream('class', 61 examples)"
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        stream.batches(0)


def test_a_single_pass_takes_one_epoch_and_every_example_once():
    x, y = numbered(60, 4)
    scenario = continual.stream(x, y, x, y, 2)
    model = bl.models.mlp((2,), 4, hidden=(8,), head="real", precision="int8")
    seen = []

    class Look(bl.training.Hook):
        def on_batch(self, trainer, codes, labels):
            seen.append(codes)

    options = continual.Options(epochs=1, batch_size=5)
    continual.run("naive", scenario, model, bl.optim.adam(), options, hooks=Look())
    every = np.concatenate([task.train.codes() for task in scenario.tasks])
    assert sorted(np.concatenate(seen).tolist()) == sorted(every.tolist()) and len(seen) == 12
    with pytest.raises(ValueError, match=r"^epochs must be 1 if every example is seen once, got 2$"):
        continual.run("naive", scenario, model, bl.optim.adam(), continual.Options(epochs=2))


# --- drift -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_permuted_labels_change_every_class_into_another(classes):
    y = np.arange(50) % classes * 10
    for seed in range(4):
        found = permuted_labels(y, seed=seed)
        becomes = dict(zip(y.tolist(), found.tolist(), strict=True))
        assert all(a != b for a, b in becomes.items()) and sorted(becomes.values()) == sorted(becomes)
        assert [becomes[label] for label in y.tolist()] == found.tolist()
    with pytest.raises(ValueError, match="of at least 2 classes to be permuted, got 1"):
        permuted_labels(y * 0)


@pytest.mark.parametrize("at", [0.0, 0.3, 1.0])
def test_labels_change_at_once(at):
    x, y = numbered(50, 3)
    rows, labels = whole(drift(x, y, at=at, seed=6), 8)
    assert sorted(rows) == list(range(50)) and rows.tolist() != sorted(rows)
    old, new = y[rows] == labels, permuted_labels(y, seed=6)[rows] == labels
    first = round(at * 50)
    assert old.tolist() == [True] * first + [False] * (50 - first) and (old != new).all()


def test_gradual_drift_between_two_sets_follows_the_sigmoid():
    x, y = numbered(6000, 2)
    then = x[:5000] + 10000, np.full(5000, 5)
    rows, labels = whole(drift(x, y, then, at=0.6, width=0.2, seed=1), 999)
    new = rows >= 10000
    assert len(rows) == 5000 and len(set(rows.tolist())) == 5000 and ((labels == 5) == new).all()
    middle = (np.arange(10) + 0.5) / 10
    share = new.reshape(10, 500).mean(axis=1)
    # Means of 500 draws: at most 0.0224 off with the standard deviation of one, of which five are allowed.
    assert np.abs(share - 1 / (1 + np.exp(-4 * (middle - 0.6) / 0.2))).max() < 5 * 0.5 / 500**0.5
    assert whole(drift(x, y, then, at=0.6, width=0.2, seed=1), 13)[0].tolist() == rows.tolist()
    assert repr(drift(x, y, then, at=0.6, width=0.2)) == "Stream('drift at 0.6 over 0.2', 5000 examples)"


def test_drift_refuses_what_does_not_fit():
    x, y = numbered(10, 2)
    for at, width in ((-0.1, 0), (1.1, 0), (0.5, -1), (0.5, np.inf), (np.nan, 0)):
        with pytest.raises(ValueError, match=r"at must be in \[0, 1\] and width finite and at least 0, got"):
            drift(x, y, at=at, width=width)
    with pytest.raises(ValueError, match="x and x of the second concept must have the same type and shape"):
        drift(x, y, (x[:, :1], y))
    with pytest.raises(TypeError, match="both concepts must have labels of one type, got int64 and <U21"):
        drift(x, y, (x, y.astype(str)))


# --- test, then train ------------------------------------------------------------------------------------------------


class Echo:
    """Predicts what the batch says, and notes the order of calls."""

    def __init__(self):
        self.calls = []

    def predict(self, x):
        self.calls.append(("predict", len(x)))
        return x[:, 0]

    def partial_fit(self, x, y):
        self.calls.append(("learn", len(x)))


@pytest.mark.parametrize("window", [1, 5, 1000])
@pytest.mark.parametrize("fading", [0.6, 1.0])
def test_accuracies_follow_their_definitions_example_by_example(rng, window, fading):
    correct, sizes = rng.integers(0, 2, size=40), [3, 1, 12, 0, 7, 17]
    ends = np.cumsum(sizes)
    echo, y = Echo(), rng.integers(0, 9, size=40)
    x = np.where(correct, y, y + 1)[:, None]
    batches = [(x[end - size : end], y[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
    found = prequential(echo, batches, window=window, fading=fading)
    tested = [int(end) for size, end in zip(sizes, ends, strict=True) if size]
    assert found.seen.tolist() == tested
    assert [call for call in echo.calls if call[1]] == [
        (what, size) for size in sizes if size for what in ("predict", "learn")
    ]
    for row, end in enumerate(tested):
        weights = [fading ** (end - 1 - i) for i in range(end)]
        assert found.accuracy[row] == correct[:end].mean()
        assert found.windowed[row] == pytest.approx(correct[max(end - window, 0) : end].mean(), abs=1e-15)
        faded = sum(w * c for w, c in zip(weights, correct[:end].tolist(), strict=True)) / sum(weights)
        assert found.faded[row] == pytest.approx(faded, abs=1e-13)
    assert repr(found).startswith("Prequential(40 examples tested: accuracy ")


def test_first_batches_may_be_learned_only():
    echo = Echo()
    batches = [(np.ones((2, 1)), np.ones(2))] * 3
    found = prequential(echo, batches, untested=2)
    assert [what for what, _ in echo.calls] == ["learn", "learn", "predict", "learn"] and found.seen.tolist() == [2]
    assert repr(prequential(echo, batches, untested=9)) == "Prequential(no examples tested)"


def test_a_learner_notices_drift():
    """One that counts labels: what it knew is wrong after the change, and fades."""

    class Table:
        def __init__(self):
            self.known = {}

        def predict(self, x):
            return np.array([self.known.get(value, -1) for value in x[:, 0].tolist()])

        def partial_fit(self, x, y):
            self.known |= dict(zip(x[:, 0].tolist(), y.tolist(), strict=True))

    y = np.arange(600) % 5
    found = prequential(Table(), drift(y[:, None], y, seed=2).batches(10), window=50, fading=0.9)
    before, after = found.seen == 300, found.seen == 320
    assert found.windowed[before] == 1 and found.faded[before] > 0.99
    assert found.faded[after] < found.windowed[after] < found.accuracy[after]
    assert found.windowed[-1] == 1 > found.accuracy[-1]


@pytest.mark.parametrize("settings", [{"window": 0}, {"fading": 0.0}, {"fading": 1.1}, {"untested": -1}])
def test_numbers_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=r"window must be at least 1, untested at least 0 and fading in \(0, 1\], got"):
        prequential(Echo(), [], **settings)


def test_predictions_of_another_shape_are_refused():
    class Scores(Echo):
        def predict(self, x):
            return np.zeros((len(x), 3))

    with pytest.raises(ValueError, match=r"predict must return labels of shape \(2,\), got \(2, 3\)"):
        prequential(Scores(), [(np.ones((2, 1)), np.ones(2))])
