"""Centre-sensitive kernels as a method, and the baselines that train a part: what moves, is kept, is refused."""

from __future__ import annotations

import numpy as np
import pytest
from test_centre import SHAPE, images, network
from test_continual import clusters

import bitlearn as bl
from bitlearn import nn
from bitlearn.budgets import budget_bytes
from bitlearn.continual import ContinualLearner, Options, class_incremental, methods, run
from bitlearn.continual.decoupling import decouple
from bitlearn.continual.networks import Networks
from bitlearn.continual.prototype_replay import Prototypes
from bitlearn.continual.runner import learn_task
from bitlearn.continual.steps import Steps
from bitlearn.memory.recorded import rows_of
from bitlearn.nn.taps import channels_of
from bitlearn.training import Gradients, Trainer
from bitlearn.training.hooks import Hooks


@pytest.fixture(scope="module")
def scenario():
    return class_incremental(*clusters(SHAPE, each=16), (3, 1, 1, 1))


def learning(scenario, **given):
    """A method after its first task, with what makes its steps."""
    options = methods.options_of("centre-kernel", **{"epochs": 2, "batch_size": 8} | given)
    method = methods.build("centre-kernel", Networks(network(norm=False)), options, classes=6)
    steps = Steps(bl.optim.adam(), options, Hooks(None), method.loss, method.transforms)
    learn_task(method, steps, 0, scenario.tasks[0].train)
    return method, steps


@pytest.mark.parametrize("branch", ["binary", "real"])
@pytest.mark.parametrize("choice", ["gradient", "random"])
def test_only_chosen_channels_of_the_centre_and_the_head_move(scenario, branch, choice):
    method, steps = learning(
        scenario, centre_branch=branch, channel_choice=choice, channel_share=0.4, eigenvalue_ratio=1e30
    )
    for task in scenario.tasks[1:]:
        model = method.networks.model if branch == "real" else method.whole
        before = {name: array.copy() for name, array in model.state().items()}
        learn_task(method, steps, task.index, task.train)
        model = method.networks.model if branch == "real" else method.whole
        after = model.state()
        weight = "centre1.weight" if branch == "real" else "conv2.weight"
        assert {name for name, array in after.items() if (array != before[name]).any()} == {weight, "head1.weight"}
        moved = after[weight] != before[weight]
        if branch == "binary":
            moved, rest = moved[:, 1, 1].copy(), moved
            rest[:, 1, 1] = False
            assert not rest.any()
        columns = np.flatnonzero(moved.any(axis=0))
        # Of two epochs each has one word; what is drawn is full.
        assert len(columns) and len(set(columns // 64)) <= (2 if choice == "random" else 1)
        assert choice == "gradient" or columns.max() < 128


def test_what_is_frozen_is_not_in_a_step(scenario):
    """A share of the words: the trained centre has so many columns, and the rest is in the sums."""
    method, _ = learning(scenario, channel_share=0.7)
    method.begin(1, scenario.tasks[1].train)
    assert len(method.words) == 2 and method.networks.model["centre1"].channels == len(channels_of(method.words, 130))


def test_what_stands_before_updates_is_counted(scenario):
    """A projection of 70 rows into the null space and back; scores of three known classes and their gradient."""
    method, _ = learning(scenario, channel_share=0.7)
    method.begin(1, scenario.tasks[1].train)
    channels, free = len(channels_of(method.words, 130)), method.space.free
    features = method.networks.model["head1"].spec.channels
    assert 0 < free < channels
    assert method.update_operations == 70 * 2 * channels * free + 2 * 3 * 6 * features
    method, _ = learning(scenario, channel_share=0.7, prototype_weight=0.0)
    method.begin(1, scenario.tasks[1].train)
    assert method.update_operations == 70 * 2 * len(channels_of(method.words, 130)) * method.space.free
    gpm = methods.build("gpm", Networks(bl.models.relu_mlp((20,), 6, hidden=(30,))), Options())
    assert gpm.update_operations == 0
    basis = next(iter(gpm.spaces.values())).basis  # of the hidden layer
    basis.append(np.eye(20)[:, :3])
    gpm.learned += 1
    assert gpm.update_operations == 30 * 2 * 20 * 3


def test_words_are_chosen_by_the_sum_of_their_gradients(scenario):
    method, _ = learning(scenario, channel_share=0.4)
    task = scenario.tasks[1]
    worth = method._importance(task.train)
    model, total = method.networks.model, np.zeros((70, 130))
    look = Gradients(
        model,
        nn.SoftmaxCrossEntropy(),
        lambda name, g: total.__iadd__(g * len(task.train)) if "centre" in name else None,
    )
    look(method.networks.inputs(task.train.codes()), task.train.y)
    magnitude = np.abs(total).mean(axis=0)
    np.testing.assert_allclose(worth, [magnitude[i : i + 64].sum() for i in (0, 64, 128)], rtol=0.02)
    method.begin(1, task.train)
    assert method.words == [int(worth.argmax())]


@pytest.mark.parametrize("branch", ["binary", "real"])
def test_words_are_drawn_in_each_epoch(scenario, branch):
    """One of two full words: what a step trains, and that its moments begin anew with another word."""
    given = {"epochs": 8, "channel_share": 0.4, "channel_choice": "random", "centre_branch": branch}
    method, steps = learning(scenario, **given)
    task, seen = scenario.tasks[1], []

    def told(epoch: int) -> None:
        seen.append(list(method.words))
        if branch == "binary":
            assert method.networks.model["centre1"].channels == 64
            lower = decouple(method.whole, "conv2", method.words)[0]
            codes = task.train.codes()
            assert (method.networks.inputs(codes) == lower.apply(codes)).all()
            assert (method.source(np.arange(3)) == lower.apply(codes[:3])).all()
        else:
            assert method._open.tolist() == channels_of(method.words, 130).tolist()

    method.begin(1, task.train)
    steps.task(method.training(1, task.train), 1, 0, told)
    assert len(seen) == 8 and {tuple(words) for words in seen} == {(0,), (1,)}
    assert seen == [method._drawn(1, epoch) for epoch in range(8)]
    method.finish(1, task.train)


@pytest.mark.parametrize(("budget", "words"), [("40 KiB", 1), (2 * (4 * 64 * 70 + 8 * 8 * 64), 2), ("1 MiB", 3)])
def test_a_budget_says_how_many_words(scenario, budget, words):
    method, _ = learning(scenario, channel_budget=budget, channel_share=0.4)
    method.begin(1, scenario.tasks[1].train)
    assert len(method.words) == words
    model = method.networks.model
    rows = {row.variable: row.bytes for row in rows_of(Trainer(model, bl.optim.adam()).recorded(8).program)}
    gradient, bits = 4 * 64 * 70, 8 * 8 * 64
    assert rows["X"] >= words * bits and words * (gradient + bits) <= budget_bytes(budget)


def test_a_budget_that_holds_no_word_is_refused(scenario):
    method, _ = learning(scenario, channel_budget=22015)
    with pytest.raises(ValueError, match="channel_budget must be at least 22016 bytes, enough for one word"):
        method.begin(1, scenario.tasks[1].train)


def test_an_exact_null_space_keeps_what_a_real_centre_gave(scenario):
    """Few images of few patterns, so that something is free: outputs of the centre at all their pixels stay."""
    x, y = clusters(SHAPE, each=4)[:2]
    x = np.where(np.arange(8)[:, None, None] % 4 < 2, x[:, :1, :1], np.zeros(SHAPE)).astype(np.uint8)
    found = class_incremental(x, y, x, y, (3, 1, 1, 1))
    method, steps = learning(
        found,
        centre_branch="real",
        channel_share=1.0,
        eigenvalue_ratio=1.0,
        eigenvalue_floor=1e-12,
        prototype_weight=0.0,
        learning_rate=0.01,
    )
    flowing = method.networks.inputs(found.tasks[0].train.codes())
    assert 0 < method.space.free < 130

    def given() -> np.ndarray:
        bits = bl.unpack(np.ascontiguousarray(flowing[..., 70:]).view(np.uint64), 130).astype(np.float64)
        return bits @ method.networks.model["centre1"].weight.T.astype(np.float64)

    before, weight = given(), method.networks.model["centre1"].weight.copy()
    learn_task(method, steps, 1, found.tasks[1].train)
    assert (method.networks.model["centre1"].weight != weight).any()
    assert np.linalg.norm(given() - before) < 1e-4 * np.linalg.norm(before)


def test_sums_of_products_and_prototypes_are_those_of_all_examples(scenario):
    method, steps = learning(scenario)
    learn_task(method, steps, 1, scenario.tasks[1].train)
    gram, model = np.zeros((130, 130), np.int64), method.whole
    sums = np.zeros((6, model["head1"].spec.channels))
    for task in scenario.tasks[:2]:
        bits = model.split("sign1")[0].packed_output(task.train.codes())
        plain = bl.unpack(bits.words, 130).astype(np.int64).reshape(-1, 130)
        gram += plain.T @ plain
    assert (method.space.sums == gram[np.tril_indices(130)]).all()
    features = model.split("flatten1")[0].packed_output(scenario.tasks[1].train.codes())
    sums = bl.unpack(features.words, features.n).sum(axis=0)
    assert (method.prototypes.sums[3] == sums).all() and method.prototypes.counts[3] == len(scenario.tasks[1].train)
    assert method.kept_bytes == 8 * 130 * 131 // 2 + 4 * 6 * features.n + 6 * 8


def test_the_gradient_of_prototypes_is_that_of_their_loss(rng):
    prototypes = Prototypes(9, 4)
    x = np.where(rng.random((30, 9)) < 0.5, -1, 1)
    y = rng.permutation(np.repeat([0, 1, 3], 10))
    prototypes.add(bl.pack(x), y)
    weight, step = rng.normal(size=(4, 9)), 1e-6

    def loss(w):
        scores = np.stack([x[y == c].mean(axis=0) for c in (0, 1, 3)]) @ w.T / 0.5
        return 10 * np.mean([np.log(np.exp(s).sum()) - s[c] for s, c in zip(scores, (0, 1, 3), strict=True)])

    found = np.zeros((4, 9), np.float32)
    prototypes.add_gradient(weight.astype(np.float32), found, 0.5, 10.0)
    for i, j in np.ndindex(4, 9):
        change = np.zeros((4, 9))
        change[i, j] = step
        assert abs(found[i, j] - (loss(weight + change) - loss(weight - change)) / (2 * step)) < 1e-3
    prototypes.grow(6)
    assert prototypes.known.tolist() == [0, 1, 3]


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("precision", ["standard", "int8"])
def test_a_temperature_divides_scores(rng, temperature, precision):
    model, x, y, seen = network(precision=precision), images(rng, 6), np.arange(6), {}
    loss = Gradients(model, nn.Tempered(temperature), lambda name, g: seen.update({name: g.copy()}))(x, y)
    scores = model.scores(x).astype(np.float64) / temperature
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    slack = 1e-4 if precision == "standard" else 0.05
    np.testing.assert_allclose(loss, -np.log(p[np.arange(6), y]).mean(), rtol=1e-2)
    bits = model.split("flatten1")[0].packed_output(x)
    d = (p - np.eye(6)[y]) / 6 / temperature
    wanted = d.T @ bl.unpack(bits.words, bits.n)
    np.testing.assert_allclose(seen["head1.weight"], wanted, atol=slack * np.abs(wanted).max())
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, got 0"):
        nn.Tempered(0)


def test_it_remembers_what_training_a_part_forgets():
    digits = bl.datasets.load("digits")
    x, y = digits.x_train, digits.y_train
    tasks = class_incremental(
        x[:700], y[:700], x[700:], y[700:], (5, 1, 1, 1, 1, 1), preparation=bl.datasets.prepare(x)
    )
    found = {}
    for way in ("naive", "last-layer", "biases", "sparse-update", "centre-kernel"):
        layers = [nn.BinaryConv2d(64), nn.BatchNormSign(), nn.BinaryConv2d(64), nn.MaxPool2d(2), nn.BatchNormSign()]
        model = nn.Model([*layers, nn.Flatten(), nn.Linear(10)], (8, 8, 1), precision="int8", seed=1)
        own = {"layers": "conv2"} if way == "sparse-update" else {}
        result = run(way, tasks, model, bl.optim.adam(), Options(epochs=4, batch_size=10), **own)
        found[way] = result.metrics["average_of_row_means"]
        assert result.replay_bytes == 0
    others = [found[way] for way in found if way != "centre-kernel"]
    assert found["centre-kernel"] > max(others) and found["centre-kernel"] > np.mean(others) + 0.2, found


@pytest.mark.parametrize(
    ("way", "moves"),
    [("last-layer", ("head1",)), ("biases", ("sign1", "sign2", "head1")), ("sparse-update", ("conv2", "head1"))],
)
def test_the_baselines_train_what_they_say(scenario, way, moves):
    options = methods.options_of(
        way, epochs=1, batch_size=8, **{"layers": ("conv2",)} if way == "sparse-update" else {}
    )
    model = network(norm=False)
    method = methods.build(way, Networks(model), options, classes=6)
    steps = Steps(bl.optim.adam(), options, Hooks(None), method.loss, method.transforms)
    learn_task(method, steps, 0, scenario.tasks[0].train)
    before = {name: array.copy() for name, array in model.state().items()}
    learn_task(method, steps, 1, scenario.tasks[1].train)
    moved = {name.rpartition(".")[0] for name, array in model.state().items() if (array != before[name]).any()}
    assert moved == set(moves)


def test_a_class_that_comes_is_taken_up():
    x, y, *_ = clusters(SHAPE)
    learner = ContinualLearner("centre-kernel", network(norm=False, classes=3), epochs=1, batch_size=8)
    for task in range(3, 7):
        rows = y < 3 if task == 3 else y == task - 1
        learner.fit_task(x[rows], y[rows])
    assert sorted(learner.labels) == list(range(6)) and len(set(learner.predict(x))) > 1
    assert (learner.method.whole.scores(learner.inputs.codes(x)) == learner.scores(x)).all()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"channel_share": 0.0}, "channel_share must be in"),
        ({"channel_budget": "many"}, "channel_budget must be bytes"),
        ({"channel_choice": "random", "flip_budget": 0.1}, "flip_budget must be left out"),
        ({"temperature": 0.0}, "temperature must be a finite number above 0"),
        ({"prototype_weight": -1.0}, "prototype_weight must be a finite number of at least 0"),
        ({"patch": 0}, "patch must be at least 1"),
        ({"centre_branch": "int8"}, "centre_branch must be one of binary, real"),
        ({"channel_choice": "all"}, "channel_choice must be one of gradient, random"),
    ],
)
def test_settings_out_of_range_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        methods.options_of("centre-kernel", **given)


def test_what_does_not_fit_the_methods_is_refused(scenario):
    with pytest.raises(ValueError, match="memory_budget must be left out with centre-kernel"):
        methods.build("centre-kernel", Networks(network()), Options(memory_budget=10**6))
    with pytest.raises(ValueError, match=r"layers must name some of conv1.*got \('conv9',\)"):
        methods.build("sparse-update", Networks(network()), methods.options_of("sparse-update", layers="conv9"))
    assert methods.build("sparse-update", Networks(network()), Options()).layers == ("conv2",)
    with pytest.raises(ValueError, match="biases must be given whole tasks"):
        ContinualLearner("biases", network(norm=False)).partial_fit(*clusters(SHAPE)[:2])
    lower, upper = network().split("sign1")
    with pytest.raises(ValueError, match="must have a whole network"):
        methods.build("centre-kernel", Networks(upper, lower.freeze()), Options())
    method, steps = learning(scenario)
    with pytest.raises(ValueError, match="centre-kernel must be given whole tasks"):
        method.learn(steps, scenario.tasks[1].train.codes(), scenario.tasks[1].train.y, 0)
