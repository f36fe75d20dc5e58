"""Flips in a budget, which taps learn, what a step costs, and the benchmarks of projection and of centres."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_centre import network
from test_centre_method import learning
from test_continual import clusters

import bitlearn as bl
from bitlearn import nn
from bitlearn.bench import centre, centre_costs, intensity, projection
from bitlearn.continual import class_incremental, permuted
from bitlearn.continual.costs import step_cost
from bitlearn.continual.decoupling import decouple
from bitlearn.continual.flips import accepted_flips
from bitlearn.continual.intensity import knowledge_intensity, one_tap
from bitlearn.continual.methods import options_of
from bitlearn.continual.runner import learn_task
from bitlearn.report.figures import kernel_map
from bitlearn.training import Options as TrainingOptions
from bitlearn.training import Trainer, accuracy, fit

SHAPE = (8, 8, 2)


@pytest.fixture(scope="module")
def scenario():
    return class_incremental(*clusters(SHAPE, each=16), (3, 1, 1, 1))


# --- flips in a budget -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0.0, 0.02, 0.1, 0.5, 10.0])
def test_what_flips_change_stays_in_the_budget(rng, budget):
    x = np.where(rng.random((40, 9)) < 0.5, -1, 1)
    old, new = rng.normal(size=(4, 9)), rng.normal(size=(4, 9))
    accepted = accepted_flips(old, new, x.T @ x, budget)
    before, after = np.where(old >= 0, 1, -1), np.where(np.where(accepted, new, old) >= 0, 1, -1)
    squares = ((x @ before.T) ** 2).sum()
    assert (((x @ (after - before).T) ** 2).sum()) <= budget * squares
    same = (old >= 0) == (new >= 0)
    assert accepted[same].all() and accepted[~same].any() == (budget > 0.02) and (accepted.all() == (budget == 10))


def test_flips_are_taken_one_by_one_from_the_largest_change(rng):
    """The rule written down anew, with the whole product for each flip."""
    x = np.where(rng.random((25, 6)) < 0.5, -1, 1)
    gram, old, new = x.T @ x, rng.normal(size=(3, 6)), rng.normal(size=(3, 6))
    before, after = np.where(old >= 0, 1, -1), np.where(new >= 0, 1, -1)
    left, now = 0.3 * np.trace(before @ gram @ before.T), before.copy()
    for f, j in sorted(itertools.product(range(3), range(6)), key=lambda at: -abs(new[at] - old[at])):
        tried = now.copy()
        tried[f, j] = after[f, j]
        if np.trace((tried - before) @ gram @ (tried - before).T) <= left:
            now = tried
    accepted = accepted_flips(old, new, gram, 0.3)
    assert (np.where(accepted, after, before) == now).all() and not accepted.all()


def test_what_are_no_flips_is_refused():
    with pytest.raises(ValueError, match="must fit"):
        accepted_flips(np.ones((2, 3)), np.ones((2, 4)), np.eye(3), 1.0)
    with pytest.raises(ValueError, match="budget must be at least 0"):
        accepted_flips(np.ones((2, 3)), np.ones((2, 3)), np.eye(3), np.nan)
    with pytest.raises(ValueError, match="flip_budget must be a finite number of at least 0"):
        options_of("centre-kernel", flip_budget=-1.0)


@pytest.mark.parametrize("budget", [None, 0.0, 0.02])
def test_the_method_keeps_to_the_budget(scenario, budget):
    given = {"flip_budget": budget, "eigenvalue_ratio": 1e30, "channel_share": 1.0, "learning_rate": 0.05}
    method, steps = learning(scenario, **given)
    old, gram = np.where(method.whole["conv2"].weight >= 0, 1.0, -1.0)[:, 1, 1], method.space.gram()
    learn_task(method, steps, 1, scenario.tasks[1].train)
    change = np.where(method.whole["conv2"].weight >= 0, 1.0, -1.0)[:, 1, 1] - old
    spent = np.trace(change @ gram @ change.T) / np.trace(old @ gram @ old.T)
    assert spent <= (budget if budget is not None else np.inf)
    assert (spent > 0) == (budget != 0.0) and (budget is not None or spent > 0.02)


# --- which taps learn ------------------------------------------------------------------------------------------------


def test_intensities_are_those_of_the_gradients(scenario):
    model, task = network(precision="standard"), scenario.tasks[1].train
    batches = [(task.codes(rows), task.y[rows]) for rows in (slice(0, 8), slice(8, 16))]
    total = dict.fromkeys(("conv1", "conv2"), 0.0)
    for x, y in batches:
        seen: dict[str, np.ndarray] = {}
        look = bl.training.Gradients(
            model, nn.SoftmaxCrossEntropy(), lambda n, g, seen=seen: seen.update({n: g.copy()})
        )
        look(x, y)
        for name in total:
            total[name] = total[name] + seen[f"{name}.weight"].astype(np.float64) * len(y)
    found = knowledge_intensity(model, batches)
    for name, kernel in found.items():
        wanted = np.abs(total[name]).mean(axis=(0, 3))
        np.testing.assert_allclose(kernel, wanted / wanted.sum(), rtol=1e-4)
    model["head1"].weight[...] = 0  # no gradient comes through
    assert not any(kernel.any() for kernel in knowledge_intensity(model, batches[:1]).values())


def test_one_tap_is_trained_at_a_time(scenario):
    model = network(filters=16, channels=16)
    before = {name: array.copy() for name, array in model.state().items()}
    moved = []

    class Watch(bl.training.Hook):
        pass

    options = TrainingOptions(epochs=2, batch_size=8)
    task = scenario.tasks[0]
    found = one_tap(model, "conv2", task.train, task.test, bl.optim.adam(), options, told=lambda *at: moved.append(at))
    assert found.shape == (3, 3) and [at[:2] for at in moved] == list(np.ndindex(3, 3))
    assert all((array == before[name]).all() for name, array in model.state().items())
    masks = {name: np.zeros(array.shape, bool) for name, array in model.parameters().items()}
    masks["conv2.weight"][:, 0, 2], masks["head1.weight"][...] = True, True
    fit(model, bl.optim.adam(), task.train, options, transforms=(bl.optim.mask(masks),))
    assert accuracy(model, task.test) == found[0, 2]
    for name, sentence in (("sign1", "layer must be a convolution, got 'sign1'"), ("conv9", "must be a convolution")):
        with pytest.raises(ValueError, match=sentence):
            one_tap(model, name, task.train, task.test, bl.optim.adam(), options)
    with pytest.raises(ValueError, match="batch norms must be constant"):
        one_tap(network(norm=False), "conv2", task.train, task.test, bl.optim.adam(), options)


def test_a_kernel_is_drawn_with_its_numbers():
    values = np.arange(9.0).reshape(3, 3) / 36
    ax = kernel_map(values, title="conv6", ax=Figure().subplots())
    assert [text.get_text() for text in ax.texts] == [f"{100 * value:.1f}" for value in values.ravel()]
    assert ax.get_title(loc="left") == "conv6"


# --- costs -----------------------------------------------------------------------------------------------------------


def test_costs_are_those_of_the_layers():
    model = network()
    pixels, first, second, head = 64, 18 * 130, 9 * 130 * 70, 6 * 16 * 70
    cost = step_cost(model, Trainer(model, bl.optim.adam()), 10)
    norms = 64 * 130 + 16 * 70
    assert cost.forward == pixels * (first + second) + head + norms
    assert cost.weight_gradient == pixels * (first + second) + head
    assert cost.input_gradient == pixels * second + head + norms
    lower, upper = decouple(model, "conv2", [0])
    trainer = Trainer(upper, bl.optim.adam())
    part = step_cost(upper, trainer, 10)
    assert part.weight_gradient == pixels * 64 * 70 + head and part.operations < cost.operations / 8
    assert sum(sum(leaf.operations()) for _, leaf in lower.items()) == pixels * (first + second + 64 * 70) + 64 * 130
    kept = sum(array.nbytes for array in (*upper.state().values(), *trainer.state.values()))
    assert part.nbytes == trainer.recorded(10).program.nbytes + kept
    filtered = decouple(model, "conv2", [0], patch=2)[1]
    assert step_cost(filtered, Trainer(filtered, bl.optim.adam()), 10).weight_gradient == pixels * 64 * 70 // 4 + head


def test_every_way_has_a_row_of_costs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(centre_costs, "BATCH", 2)
    assert centre_costs.main(["--into", str(tmp_path / "costs.json"), "--repeats", "1"]) == 0
    shown = capsys.readouterr().out
    entries = json.loads((tmp_path / "costs.json").read_text())
    assert all(entry["way"] in shown for entry in entries) and len(entries) == 16
    head, *lines = centre_costs.rows(entries)
    assert all(len(line) == len(head) for line in lines) and lines[0][2] == "1.000"
    assert centre_costs.main(["--into", str(tmp_path / "costs.json"), "--report"]) == 0


# --- the benchmarks --------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch, rng):
    x = rng.integers(0, 256, (160, 8, 8, 1), dtype=np.uint8)
    y = np.arange(160) % 10
    monkeypatch.setattr(centre, "scenario_of", lambda *_: class_incremental(x, y, x, y, (5, 1, 1, 1, 1, 1)))

    def build(scenario, seed):
        layers = [nn.BinaryConv2d(64), nn.BatchNormSign(), nn.BinaryConv2d(64), nn.BatchNormSign(), nn.Flatten()]
        return nn.Model([*layers, nn.Linear(10)], (8, 8, 1), precision="int8", seed=seed)

    monkeypatch.setattr(centre, "network", build)
    ways = {way: (method, dict(given)) for way, (method, given) in centre.WAYS.items()}
    del ways["gpm"]  # whose eigenvalue problems are as wide as a layer: a minute for 4,096 bits
    monkeypatch.setattr(centre, "WAYS", ways)
    monkeypatch.setattr(centre, "PROTOCOLS", (centre.Protocol("digits", (5, 1, 1, 1, 1, 1), 1, 1, 0.001, "sign1"),))


def test_every_way_is_run_once_and_kept(small, tmp_path, capsys, monkeypatch):
    given = ["--data", str(tmp_path), "--into", str(tmp_path / "kept"), "--bases", str(tmp_path / "bases")]
    assert centre.main([*given, "--seeds", "1", "--way", "centre-kernel"]) == 0
    assert centre.main([*given, "--seeds", "1"]) == 0
    entries = json.loads((tmp_path / "kept" / "digits-5+5x1-test-0.json").read_text())
    assert sorted(entry["way"] for entry in entries) == sorted(centre.WAYS)
    by_way = {entry["way"]: entry for entry in entries}
    own = by_way["centre-kernel"]["kept_bytes"]
    assert 0.9 * own < by_way["latent replay in its bytes"]["kept_bytes"] <= own
    assert by_way["analytic in its bytes"]["kept_bytes"] <= own
    monkeypatch.setattr(centre, "run", None)  # nothing is left to run
    assert centre.main([*given, "--seeds", "1"]) == 0
    assert "mean of the on-device baselines" in capsys.readouterr().out
    head, *lines = centre.rows(entries)
    assert all(len(line) == len(head) for line in lines)


def test_the_taps_of_a_base_are_measured_once_and_drawn(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(intensity, "_LAYER", "conv2")
    into, plot = tmp_path / "kept.json", tmp_path / "out" / "plot.svg"
    given = ["--into", str(into), "--bases", str(tmp_path), "--seeds", "1", "--plot", str(plot)]
    assert intensity.main(given) == 0
    (entry,) = json.loads(into.read_text())
    assert set(entry["intensity"]) == {"conv1", "conv2"} and np.shape(entry["accuracy"]) == (3, 3)
    drawn = plot.read_bytes()
    monkeypatch.setattr(intensity, "measure", None)
    assert intensity.main(given) == 0 and plot.read_bytes() == drawn and b"<svg" in drawn
    assert "one tap" in capsys.readouterr().out


def test_means_are_over_classes():
    entry = {"matrix": [[0.8, None], [0.6, 0.2]]}
    found = centre.by_class(entry, (5, 1))
    assert found["average_of_last_row"] == pytest.approx((5 * 0.6 + 0.2) / 6)
    assert found["average_of_row_means"] == pytest.approx((0.8 + (5 * 0.6 + 0.2) / 6) / 2)


def test_cifar100_is_read_from_its_files(tmp_path, rng):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for name in ("train.bin", "test.bin"):
        labels = np.repeat(np.arange(100, dtype=np.uint8), 2)
        records = np.concatenate(
            [labels[:, None] // 5, labels[:, None], rng.integers(0, 256, (200, 3072), dtype=np.uint8)], axis=1
        )
        (folder / name).write_bytes(records.astype(np.uint8).tobytes())
    protocol = next(each for each in centre.PROTOCOLS if each.dataset == "cifar100")
    found = centre.scenario_of(protocol, tmp_path, choose=False)
    assert [len(task.classes) for task in found.tasks] == [50, *[5] * 10] and found.classes == 100
    assert protocol.name == "cifar100-50+10x5"
    assert centre.network(found, 0).output_shape == (100,)


@pytest.mark.filterwarnings("ignore::bitlearn.continual.spaces.FullBasisWarning")
def test_projection_is_run_once_and_kept(tmp_path, monkeypatch, rng, capsys):
    x, y = rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8), np.arange(60) % 10
    monkeypatch.setattr(projection, "scenario_of", lambda *_: permuted(x, y, x, y, 2))
    given = ["--data", str(tmp_path), "--into", str(tmp_path / "kept"), "--seeds", "2"]
    assert projection.main([*given, "--way", "gpm, 8 bits"]) == 0
    assert projection.main(given) == 0
    entries = projection.present(tmp_path / "kept")
    assert [(entry["way"], entry["seed"]) for entry in entries] == [(w, s) for w in projection.WAYS for s in (0, 1)]
    monkeypatch.setattr(projection, "run", None)
    assert projection.main(given) == 0 and "permuted MNIST, ten tasks" in capsys.readouterr().out
    bytes_of = {entry["way"]: entry["kept_bytes"] for entry in entries}
    assert bytes_of["fine-tuning"] == 0 < bytes_of["gpm, 4 bits"] < bytes_of["gpm, 8 bits"] < bytes_of["gpm, 32 bits"]
    assert len(projection.rows(entries)) == 5


def test_pixels_become_standard_codes(monkeypatch):
    x, y = np.array([[0, 33, 255]], dtype=np.uint8).repeat(20, axis=0).reshape(20, 3, 1, 1), np.arange(20) % 2
    data = bl.datasets.Dataset("mnist", x, y, x, y, 2)
    monkeypatch.setattr(bl.datasets, "load", lambda *_: data)
    found = projection.scenario_of(projection.Path(), 0, choose=True)
    codes = found.tasks[0].test.codes()[0].ravel() * 2.0**-5
    np.testing.assert_allclose(codes, (np.array([0, 33, 255]) / 255 - 0.1307) / 0.3081, atol=2.0**-6 + 1e-6)
