"""Experience replay, dark experience replay and streaming LDA, each against its formula in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import one_loss
from scipy.special import log_softmax, softmax
from test_continual import CLASSES, clusters, first_tasks, learned, network

import bitlearn as bl
from bitlearn.bits import Bits
from bitlearn.continual import LDA, ContinualLearner, Options, StreamingLDA, class_incremental, methods, run
from bitlearn.continual.methods.der import TargetLoss
from bitlearn.continual.methods.distilled import DistilledLoss
from bitlearn.continual.networks import Networks
from bitlearn.continual.records import Records
from bitlearn.continual.runner import learn_task
from bitlearn.continual.steps import Steps
from bitlearn.nn import Spec
from bitlearn.rng import Key
from bitlearn.training.hooks import Hooks

SMALL = {"epochs": 2, "batch_size": 16, "replay_size": 20}


@pytest.fixture(scope="module")
def scenario():
    return class_incremental(*clusters(), 3)


def made(method: str, scenario, precision: str = "standard", hidden=(33,), **settings):
    """A method before its first task, the steps that it is trained with, and its network."""
    model = network(scenario, precision, hidden)
    options = methods.options_of(method, **SMALL | settings)
    found = methods.build(method, Networks(model), options)
    return found, Steps(bl.optim.adam(), options, Hooks(None), found.loss, found.transforms), model


# --- replay ----------------------------------------------------------------------------------------------------------


def test_raw_replay_stores_codes_at_their_bytes_and_trains_everything(scenario):
    result, after_all = learned("replay", scenario, replay_size=20)
    _, after_first = learned("replay", first_tasks(scenario, 1), replay_size=20)
    # 20 codes, a label and a place in the list by class; classes have 8 bytes of counts, 1 of an end, 4 of an order.
    assert result.replay_bytes == result.kept_bytes == 20 * (20 + 1 + 1) + CLASSES * (8 + 1 + 4) + 8
    _, plain = learned("naive", first_tasks(scenario, 1))
    assert all(np.array_equal(array, after_first[name]) for name, array in plain.items())
    assert not any(np.array_equal(array, after_first[name]) for name, array in after_all.items())


def test_raw_replay_mixes_examples_as_they_were(scenario):
    method, _, model = made("replay", scenario, batch_size=10, replay_share=0.7)
    first, second = (task.train for task in scenario.tasks[:2])
    method.training(0, first)
    method.finish(0, first)
    training = method.training(1, second)
    assert training.network is model and (training.batch_size, training.count) == (3, len(second))
    x, y = training.batch(np.array([5, 0, 2]), Key(0))
    assert x.dtype == np.int8 and np.array_equal(x[:3], second.codes(np.array([5, 0, 2])))
    known = {(tuple(row), label) for row, label in zip(first.codes().tolist(), first.y.tolist(), strict=True)}
    assert {(tuple(row), label) for row, label in zip(x[3:].tolist(), y[3:].tolist(), strict=True)} <= known
    assert len(x) == len(y) == 10 and method.memory.kind == "int8"


def test_raw_replay_passes_a_backbone_again_each_time(scenario):
    whole = network(scenario, "int8", (40, 30))
    lower, upper = whole.split("sign1")
    options = Options(**SMALL)
    method = methods.build("replay", Networks(upper, lower.freeze()), options)
    steps = Steps(bl.optim.adam(), options, Hooks(None))
    learn_task(method, steps, 0, scenario.tasks[0].train)
    assert method.memory.kind == "int8" and method.memory.shape == (20,)
    bits, _ = method.mixed(
        method.networks.inputs(scenario.tasks[1].train.codes(slice(0, 2))), np.zeros(2, int), 5, Key(3)
    )
    codes, _ = method.memory.sample(5, Key(3))
    assert np.array_equal(bits.words[2:], lower.freeze().apply(codes).words)
    learn_task(method, steps, 1, scenario.tasks[1].train)


# --- dark experience replay ------------------------------------------------------------------------------------------


def targets_of(rng, rows: int, classes: int):
    targets = rng.normal(size=(rows, classes)).astype(np.float32)
    targets[: rows // 2] = np.nan
    targets[rows // 2 :: 2, -2:] = np.nan
    return targets


def test_the_loss_of_dark_replay_against_its_formula(rng):
    scores, labels = rng.normal(size=(9, 5)).astype(np.float32) * 3, rng.integers(0, 5, 9)
    targets = targets_of(rng, 9, 5)
    u, v = (rng.random(9).astype(np.float32) for _ in range(2))
    loss, gradient = one_loss(TargetLoss(), scores, labels, label_weight=u, target_weight=v, targets=targets)
    wide, known = scores.astype(np.float64), ~np.isnan(targets)
    away = np.where(known, wide - targets, 0)
    count = np.maximum(known.sum(axis=1), 1)
    entropy = -log_softmax(wide, axis=1)[np.arange(9), labels]
    assert loss == pytest.approx((u * entropy).sum() + (v * (away**2).sum(axis=1) / count).sum(), rel=1e-12)
    wanted = u[:, None] * (softmax(wide, axis=1) - np.eye(5)[labels]) + (2 * v / count)[:, None] * away
    np.testing.assert_allclose(gradient, wanted, rtol=1e-5, atol=1e-7)


def test_the_loss_of_distillation_against_its_formula(rng):
    scores, labels = rng.normal(size=(9, 5)).astype(np.float32) * 3, rng.integers(0, 5, 9)
    targets = targets_of(rng, 9, 5)
    u, v = (rng.random(9).astype(np.float32) for _ in range(2))
    loss, gradient = one_loss(DistilledLoss(), scores, labels, label_weight=u, target_weight=v, targets=targets)
    wide = scores.astype(np.float64)
    wanted = u[:, None] * (softmax(wide, axis=1) - np.eye(5)[labels])
    divergence = np.zeros(9)
    for i in range(9):
        known = ~np.isnan(targets[i])
        if known.any():
            q, p = softmax(targets[i, known].astype(np.float64) / 2), softmax(wide[i, known] / 2)
            divergence[i] = 4 * (q * np.log(q / p)).sum()
            wanted[i, known] += v[i] * 2 * (p - q)
    entropy = -log_softmax(wide, axis=1)[np.arange(9), labels]
    assert loss == pytest.approx((u * entropy).sum() + (v * divergence).sum(), rel=1e-9)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-5, atol=1e-6)
    # Scores that are the targets have no divergence, and the gradient is that of the labels alone.
    same = one_loss(DistilledLoss(), scores, labels, label_weight=u, target_weight=v, targets=scores)
    assert same[0] == pytest.approx((u * entropy).sum(), rel=1e-9)


def test_a_step_of_dark_replay_against_pytorch(scenario):
    torch = pytest.importorskip("torch")
    method, steps, model = made("der", scenario, batch_size=10, replay_share=0.7, der_alpha=0.3, der_beta=0.6)
    first, second = (task.train for task in scenario.tasks[:2])
    learn_task(method, steps, 0, first)
    x, y, given = method.training(1, second).batch(np.array([5, 0, 2]), Key(0))
    scores = torch.tensor(np.random.default_rng(1).normal(size=(10, CLASSES)).astype(np.float32), requires_grad=True)
    loss, gradient = one_loss(TargetLoss(), scores.detach().numpy(), y, **given)
    labels, stored = torch.tensor(y), torch.tensor(given["targets"][3:])
    wanted = (
        torch.nn.functional.cross_entropy(scores[:3], labels[:3])
        + 0.3 * torch.nn.functional.mse_loss(scores[3:], stored)
        + 0.6 * torch.nn.functional.cross_entropy(scores[3:], labels[3:])
    )
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=1e-6)
    np.testing.assert_allclose(gradient, scores.grad.numpy(), rtol=1e-5, atol=1e-7)
    # The stored scores are those that the network has given since the task was over.
    np.testing.assert_array_equal(given["targets"][3:], model.scores(x[3:]))
    assert model.scores(x[3:]).any()


@pytest.mark.parametrize("cut", [None, "sign2"])
def test_scores_that_did_not_exist_have_no_target(cut):
    x, y, _, _ = clusters()
    made = ContinualLearner("der", "mlp", cut=cut, **SMALL | {"replay_size": 8})
    made.partial_fit(x[y < 2][:10], y[y < 2][:10])
    _, stored = made.method.records.unpack(made.method.memory.examples)
    assert stored.shape == (8, 2) and not np.isnan(stored).any()
    made.partial_fit(x[y == 2][:1], y[y == 2][:1])
    old, (_, found) = stored, made.method.records.unpack(made.method.memory.examples)
    new = made.method.memory.labels == 2
    assert found.shape == (8, 3) and new.sum() == 1 and not np.isnan(found[new]).any()
    assert np.isnan(found[~new, 2]).all() and np.array_equal(found[~new, :2], old[~new])
    # A label, a place in the list by class, and for 3 classes a count, an end and an order.
    example = 20 if cut is None else made.method.records.example_bytes
    assert made.replay_bytes == 8 * (example + 4 * 3 + 1 + 1) + 3 * (8 + 1 + 4) + 8
    assert (made.method.networks.lower is None) == (cut is None)


def test_bits_of_a_file_end_in_zeros(scenario):
    method, steps, _ = made("der", scenario, "int8", hidden=(65, 33), cut="sign1")
    learn_task(method, steps, 0, scenario.tasks[0].train)
    arrays = {name: array.copy() for name, array in method.arrays().items()}
    method.restore(arrays)
    arrays["memory.examples"][0, 15] |= 128  # the last of two words, of which one bit is used
    with pytest.raises(ValueError, match="words must have no bit past n=65 values set"):
        method.restore(arrays)


def test_records_give_back_what_they_were_given(rng):
    for spec, x in (
        (Spec.bits((3, 2, 70)), Bits(bl.pack(rng.normal(size=(5, 3, 2, 70))), 70)),
        (Spec.codes((4, 3)), rng.integers(-128, 128, size=(5, 4, 3)).astype(np.int8)),
        (Spec.real((7,)), rng.normal(size=(5, 7)).astype(np.float32)),
    ):
        records, scores = Records(spec, 3), rng.normal(size=(5, 3)).astype(np.float32)
        rows = records.pack(x, scores)
        assert rows.shape == (5, records.nbytes) and rows.dtype == np.uint8
        for some in (rows, rows[::2], rows[:0]):
            found, back = records.unpack(some)
            assert len(found) == len(back) == len(some)
        found, back = records.unpack(rows)
        values = [each.words if isinstance(each, Bits) else each for each in (x, found)]
        assert np.array_equal(*values) and np.array_equal(scores, back)
        _, wide = Records(spec, 5).unpack(records.widened(rows, 5))
        assert np.array_equal(wide[:, :3], scores) and np.isnan(wide[:, 3:]).all()


# --- streaming LDA ---------------------------------------------------------------------------------------------------


def transcribed(x, y, classes):
    """The published recursion, written down in float64; and the covariance within classes."""
    mean, count, sigma, t = np.zeros((classes, x.shape[1])), np.zeros(classes), np.zeros((x.shape[1],) * 2), 0
    for each, c in zip(x.astype(np.float64), y, strict=True):
        d = each - mean[c]
        sigma = (t * sigma + np.outer(d, d) * t / (t + 1)) / (t + 1)
        mean[c] += d / (count[c] + 1)
        count[c] += 1
        t += 1
    within = sum((x[y == c] - x[y == c].mean(axis=0)).T @ (x[y == c] - x[y == c].mean(axis=0)) for c in np.unique(y))
    return mean, sigma, within / t


@pytest.mark.parametrize("features", [1, 20, 63, 65, 130])
def test_streaming_lda_against_a_transcription(features, rng):
    y = rng.permutation(np.repeat([0, 1, 3], 40))
    x = (rng.normal(size=(4, features))[y] + rng.normal(size=(120, features)) / 2 + 0.3).astype(np.float32)
    mean, sigma, within = transcribed(x.astype(np.float64), y, 4)
    learner, exact = StreamingLDA(features, 4), StreamingLDA(features, 4, exact=True)
    for size in (1, 7, 112):  # in whatever parts they come
        rows = slice(int(learner.counts.sum()), int(learner.counts.sum()) + size)
        learner.add(x[rows], y[rows])
        exact.add(x[rows], y[rows])
    for found, covariance in ((learner, sigma), (exact, within)):
        np.testing.assert_allclose(found.means, mean, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.covariance, covariance, rtol=0, atol=2e-5 * covariance.max())
        weight = np.linalg.inv((1 - 1e-4) * covariance + 1e-4 * np.eye(features)) @ mean.T
        wanted = x @ weight - (mean.T * weight).sum(axis=0) / 2
        scores = found.scores(x)
        assert np.array_equal(np.isneginf(scores), np.broadcast_to(np.arange(4) == 2, scores.shape))
        np.testing.assert_allclose(scores[:, [0, 1, 3]], wanted[:, [0, 1, 3]], rtol=0, atol=2e-2 * np.abs(wanted).max())
    assert not np.allclose(sigma, within, rtol=0.05)
    assert learner.nbytes == 4 * features**2 + 4 * (4 * features + 8) and learner.counts.tolist() == [40, 40, 0, 40]


def test_the_exact_form_predicts_as_lda_where_both_shrink_alike():
    """LDA adds up integers, and shrinks towards another multiple of the identity; on its terms they agree."""
    x, y, x_test, _ = clusters(each=60)
    sums = LDA().partial_fit(x, y).statistics
    counts, means = sums.counts, sums.class_sums() / sums.counts[:, None]
    covariance = (sums.products() - means.T @ sums.class_sums()) / sums.count / 128**2
    learner = StreamingLDA(20, CLASSES, shrinkage=1e-2, exact=True)
    codes, codes_test = ((each.astype(np.float32) - 128) / 128 for each in (x, x_test))
    learner.add(codes, y)
    np.testing.assert_allclose(learner.covariance, covariance, rtol=0, atol=1e-5 * covariance.max())
    centred = (means - 128) / 128
    weight = np.linalg.solve(0.99 * covariance + 0.01 * np.eye(20), centred.T)
    wanted = codes_test @ weight - (centred.T * weight).sum(axis=0) / 2
    np.testing.assert_allclose(learner.scores(codes_test), wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())
    assert np.array_equal(learner.scores(codes_test).argmax(axis=1), wanted.argmax(axis=1)) and counts.sum() == len(y)


def test_slda_learns_the_input_or_the_bits_of_a_frozen_network(scenario):
    raw, _ = learned("slda", scenario)
    assert raw.replay_bytes == 4 * 20**2 + CLASSES * (4 * 20 + 8) and raw.metrics["average_accuracy"] > 0.9
    cut, arrays = learned("slda", scenario, cut="sign2")
    assert cut.replay_bytes == 4 * 64**2 + CLASSES * (4 * 64 + 8)
    _, first = learned("naive", first_tasks(scenario, 1))
    assert all(np.array_equal(array, first[name]) for name, array in arrays.items())
    with pytest.raises(ValueError, match="cut must be a layer whose output is packed bits, got 'linear2'"):
        learned("slda", scenario, cut="linear2")


def test_rounding_does_not_make_a_covariance_that_cannot_be_solved():
    """Of values that depend on each other eigenvalues are 0, and float32 makes some of them negative."""
    rng = np.random.default_rng(0)
    x = np.sign(rng.normal(size=(3000, 6))) @ rng.normal(size=(6, 200)) / 8
    y = (x[:, 0] > 0) + 2 * (x[:, 1] > 0)
    for shrinkage in (1e-4, 1e-9, 0.0):
        learner = StreamingLDA(200, 4, shrinkage=shrinkage, exact=True)
        learner.add(x.astype(np.float32), y)
        assert np.linalg.eigvalsh(learner.covariance.astype(np.float64)).min() < 0
        assert np.isfinite(learner.scores(x)).all()
        if shrinkage == 1e-4:
            assert (learner.scores(x).argmax(axis=1) == y).mean() > 0.9


def test_batches_do_not_matter_to_slda(tmp_path):
    x, y, x_test, _ = clusters()
    whole = ContinualLearner("slda").partial_fit(x, y)
    parts = ContinualLearner("slda")
    for start in range(0, len(y), 17):
        parts.partial_fit(x[start : start + 17], y[start : start + 17])
    assert np.array_equal(whole.scores(x_test), parts.scores(x_test))
    whole.save(tmp_path / "a")
    assert np.array_equal(ContinualLearner.load(tmp_path / "a").scores(x_test), whole.scores(x_test))


@pytest.mark.parametrize(
    ("name", "value"),
    [("counts", -1), ("counts", 2**62), ("means", np.nan), ("covariance", np.inf)],
)
def test_what_no_examples_have_is_refused(name, value):
    x, y, _, _ = clusters()
    learner = ContinualLearner("slda").partial_fit(x, y)
    arrays = {key: array.copy() for key, array in learner.method.arrays().items()}
    arrays[name].flat[0] = value
    before = {key: array.tobytes() for key, array in learner.method.arrays().items()}
    with pytest.raises(ValueError, match="it must hold counts, means and a covariance of examples"):
        learner.method.learner.restore(arrays)
    assert {key: array.tobytes() for key, array in learner.method.arrays().items()} == before
    other = methods.build("slda", None, Options())
    large = np.full_like(arrays["means"], 1.5)
    with pytest.raises(ValueError, match="it must hold means of at most 1, and a covariance of at most 4"):
        other.restore({**arrays, "means": large, "covariance": np.zeros((20, 20), np.float32)})
    for broken in ({"means": arrays["means"]}, {**arrays, "covariance": np.zeros((2, 2), np.float32)}):
        with pytest.raises(ValueError, match="it must hold means of classes and a covariance that fits them"):
            other.restore(broken)
    with pytest.raises(ValueError, match="shrinkage must be in"):
        StreamingLDA(2, 2, shrinkage=1.5)


# --- options, and what it is for -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("ewc", {"regularization": -1.0}, "regularization must be a finite number of at least 0, got -1.0"),
        ("ar1", {"regularization": float("nan")}, "regularization must be a finite number of at least 0, got nan"),
        ("ewc", {"regularization_decay": 1.5}, r"regularization_decay must be in \[0, 1\], got 1.5"),
        ("der", {"der_alpha": float("inf")}, "der_alpha must be a finite number of at least 0, got inf"),
        ("der", {"der_beta": -0.5}, "der_beta must be a finite number of at least 0, got -0.5"),
    ],
)
def test_settings_out_of_range_are_refused(method, settings, message):
    with pytest.raises(ValueError, match=message):
        methods.options_of(method, **settings)


def final(method: str, scenario, precision: str = "low-memory", **settings) -> float:
    model = network(scenario, precision, (128, 128))
    return run(method, scenario, model, bl.optim.adam(), **settings).metrics["average_accuracy"]


def test_each_keeps_more_than_fine_tuning():
    pytest.importorskip("sklearn")
    data = bl.datasets.load("digits")
    arrays = data.x_train, data.y_train, data.x_test, data.y_test
    classes = class_incremental(*arrays, 5)
    naive = final("naive", classes)
    for method in ("replay", "der"):
        assert final(method, classes) >= naive + 0.4, method
    assert final("slda", classes) > 0.9
    plain = final("naive", classes, "int8")
    for method in ("ewc", "ar1"):
        assert final(method, classes, "int8") >= plain + 0.1, method
