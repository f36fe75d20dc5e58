"""Convolutions cut into frozen taps and a trained centre, against the whole ones and plain NumPy; the method."""

from __future__ import annotations

import numpy as np
import pytest
from test_continual import clusters

import bitlearn as bl
from bitlearn import nn
from bitlearn.backends import variants
from bitlearn.continual import ContinualLearner, Options, class_incremental, methods, run
from bitlearn.continual.decoupling import decouple, merge
from bitlearn.continual.methods.centre_kernel import decoupled_layer
from bitlearn.continual.networks import Networks
from bitlearn.continual.prototype_replay import Prototypes
from bitlearn.continual.runner import learn_task
from bitlearn.continual.steps import Steps
from bitlearn.nn.centre import channels_of
from bitlearn.training import Gradients, Trainer
from bitlearn.training.hooks import Hooks

SHAPE = (8, 8, 2)


def network(
    channels: int = 130, filters: int = 70, precision: str = "int8", norm: bool = True, classes: int = 6, **conv
) -> nn.Model:
    """A convolution of codes and one of bits, both with a norm whose statistics are not those of the beginning."""
    behind: list[nn.Layer] = [nn.MaxPool2d(2)] if conv.get("kernel", (3, 3)) == (3, 3) else []
    layers = [nn.BinaryConv2d(channels), nn.BatchNormSign(), nn.BinaryConv2d(filters, **conv), *behind]
    layers += [nn.BatchNormSign(), nn.Flatten(), nn.Linear(classes)]
    model = nn.Model(layers, SHAPE, precision=precision, seed=5)
    rng = np.random.default_rng(4)
    for name, array in model.state().items():
        if not name.startswith("conv"):
            array += (rng.normal(size=array.shape) * 0.3 + (2 if name.endswith("std") else 0)).astype(array.dtype)
    return model.fixed() if norm else model


def images(rng, count: int = 5) -> np.ndarray:
    return rng.integers(-128, 128, (count, *SHAPE), dtype=np.int8)


# --- cut and merged --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [None, [0], [2], [0, 2]])
@pytest.mark.parametrize(
    "conv",
    [
        {},
        {"stride": 2, "padding": 1},
        {"padding": 0},
        {"pad_value": 1},
        {"pad_value": -1, "padding": 1},
        {"kernel": (1, 3)},
        {"kernel": (5, 5)},
    ],
)
def test_the_two_parts_give_what_the_whole_gives(rng, words, conv):
    model = network(**conv)
    x = images(rng)
    lower, upper = decouple(model, "conv2", words)
    flowing = lower.apply(x)
    count = 3 if words is None else len(words)
    assert flowing.dtype == np.int16 and flowing.shape[-1] == 70 + 4 * count
    assert (upper.scores(flowing) == model.scores(x)).all()
    # The frozen sums by themselves: those of the kernel without the centre's free channels.
    free = channels_of([0, 1, 2] if words is None else words, 130)
    bits = model.split("sign1")[0].packed_output(x)
    plain = bl.unpack(bits.words, 130).astype(np.int64)
    kernel = np.where(model["conv2"].weight >= 0, 1, -1).astype(np.int64)
    kernel[:, kernel.shape[1] // 2, kernel.shape[2] // 2, free] = 0
    layer = model["conv2"]
    (top, left), (down, right) = layer.windows.padding, layer.windows.stride
    padded = np.pad(plain, ((0, 0), (top, 9), (left, 9), (0, 0)), constant_values=layer.pad_value)
    for r, c in np.ndindex(layer.windows.out_size):
        part = padded[:, r * down : r * down + layer.kernel[0], c * right : c * right + layer.kernel[1]]
        assert (flowing[:, r, c, :70] == np.einsum("bijn,fijn->bf", part, kernel)).all()


@pytest.mark.parametrize("variant", variants())
def test_every_variant_cuts_alike(rng, variant):
    model, x = network(), images(rng)
    wanted = model.scores(x)
    with bl.use_backend(variant):
        lower, upper = decouple(model, "conv2", [1])
        assert (upper.scores(lower.apply(x)) == wanted).all()


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
def test_a_real_centre_gives_the_same(rng, precision):
    model, x = network(precision=precision), images(rng, 20)
    lower, upper = decouple(model, "conv2", real=True)
    assert upper.names[:4] == ["centre1", "pool1", "sign2_norm", "sign2"]
    found, wanted = upper.scores(lower.apply(x)), model.scores(x)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
def test_a_trained_centre_is_merged_bit_for_bit(rng, precision):
    model, x = network(precision=precision), images(rng, 12)
    words = [0, 2]
    lower, upper = decouple(model, "conv2", words)
    flowing, before = lower.apply(x), model["conv2"].weight.copy()
    frozen = {name: array.copy() for name, array in lower.state().items()}
    trainer = Trainer(upper, bl.optim.adam())
    for _ in range(5):
        trainer.step(flowing, np.arange(12) % 6, 0.05)
    flipped = np.signbit(upper["centre1"].weight) != np.signbit(before[:, 1, 1][:, channels_of(words, 130)])
    assert flipped.any() and (model["conv2"].weight == before).all()
    merge(model, "conv2", upper, words)
    assert (model.scores(x) == upper.scores(flowing)).all()
    moved = model["conv2"].weight != before
    assert not np.delete(moved[:, 1, 1], channels_of(words, 130), axis=1).any()
    moved[:, 1, 1] = False
    assert not moved.any()
    assert all((array == frozen[name]).all() for name, array in lower.state().items())


def test_gradients_of_the_centre_are_those_of_the_whole_kernel(rng):
    """Under `standard` with constant norms: the same numbers, from the whole network and from its upper part."""
    model, x, y = network(precision="standard"), images(rng, 8), np.arange(8) % 6
    words, seen = [1, 2], [{}, {}]
    lower, upper = decouple(model, "conv2", words)
    for found, net, given in zip(seen, (model, upper), (x, lower.apply(x)), strict=True):
        Gradients(net, nn.SoftmaxCrossEntropy(), lambda name, g, found=found: found.update({name: g.copy()}))(given, y)
    wanted = seen[0]["conv2.weight"][:, 1, 1][:, channels_of(words, 130)]
    np.testing.assert_allclose(seen[1]["centre1.weight"], wanted, atol=1e-6)
    np.testing.assert_allclose(seen[1]["head1.weight"], seen[0]["head1.weight"], atol=1e-6)
    assert np.abs(wanted).max() > 1e-3


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("precision", ["standard", "int8"])
def test_filtered_gradients_are_those_of_patches(rng, real, precision):
    """From the gradient of what the centre gives, as a layer behind it sees it."""
    model, x, y = network(precision=precision), images(rng, 6), np.arange(6) % 6
    lower, upper = decouple(model, "conv2", real=real, patch=2)
    flowing, seen, caught = lower.apply(x), {}, {}
    whole = nn.CentreConv2d.backward

    def backward(self, step, cache, grad, *, wanted):
        def catch(values, scale):
            caught["g"] = values.astype(np.float64) * scale[0]

        step.run(catch, grad.values, grad.scale)
        return whole(self, step, cache, grad, wanted=wanted)

    nn.CentreConv2d.backward = backward
    try:
        Gradients(upper, nn.SoftmaxCrossEntropy(), lambda name, g: seen.update({name: g.copy()}))(flowing, y)
    finally:
        nn.CentreConv2d.backward = whole
    bits = bl.unpack(np.ascontiguousarray(flowing[..., 70:]).view(np.uint64), 130)
    total = np.zeros((70, 130))
    for i in range(0, 8, 2):
        for j in range(0, 8, 2):
            g = caught["g"].reshape(6, 8, 8, 70)[:, i : i + 2, j : j + 2].mean(axis=(1, 2))
            total += g.T @ bits[:, i : i + 2, j : j + 2].sum(axis=(1, 2))
    np.testing.assert_allclose(seen["centre1.weight"], total, atol=1e-5 * np.abs(total).max())
    assert (decouple(model, "conv2", real=real)[1].scores(flowing) == upper.scores(flowing)).all()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: decouple(network(kernel=(2, 2)), "conv2"), "must have a centre, odd numbers of rows and columns.*2x2"),
        (lambda: decouple(network(kernel=(3, 2)), "conv2"), "must have a centre.*3x2"),
        (lambda: decouple(network(padding=2), "conv2"), "centres must lie inside the image"),
        (lambda: decouple(network(norm=False), "conv2"), r"must be constant, as Model.fixed makes them, got 'sign1'"),
        (lambda: decouple(network(), "conv1"), "must be one of bits without scales to be decoupled, got one of codes"),
        (lambda: decouple(network(), "sign1"), "must be a binary convolution to be decoupled, got 'sign'"),
        (lambda: decouple(network(), "conv9"), "must be one of the network's own layers, conv1"),
        (lambda: decouple(network(), "conv2", [3]), "words must be below 3, got 3"),
        (lambda: decouple(network(), "conv2", []), "words must be one or more in increasing order"),
        (lambda: decouple(network(), "conv2", [1, 0]), "words must be one or more in increasing order"),
        (lambda: decouple(network(), "conv2", patch=3), "patch must divide both sides"),
        (
            lambda: merge(model := network(), "conv2", decouple(model, "conv2", real=True)[1]),
            "must be binary.*got a real one",
        ),
        (lambda: merge(model := network(), "conv2", decouple(model, "conv2", [0])[1]), "must be binary.*shape"),
        (lambda: merge(model := network(), "sign1", decouple(model, "conv2")[1]), "must be a binary convolution to t"),
        (lambda: decoupled_layer(bl.models.mlp((8,), 2, head="real")), "must have a model with a binary 3x3 conv"),
        (lambda: decoupled_layer(network(), "conv1"), "must be one of bits without scales"),
        (lambda: nn.Model([nn.CentreConv2d(5, 64)], nn.Spec.bits((8, 8, 64))), "must get what frozen taps give"),
    ],
)
def test_what_cannot_be_cut_or_merged_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_scaled_kernel_is_refused():
    """Its scale is the mean magnitude of all its weights, and would change with the centre alone."""
    layer = [nn.Sign(), nn.BinaryConv2d(4, scaled=True), nn.BatchNorm(), nn.AveragePool2d(), nn.Linear(3)]
    model = nn.Model([nn.Conv2d(4), nn.BatchNorm(), *layer], SHAPE).fixed()
    with pytest.raises(ValueError, match="without scales to be decoupled, got scaled ones"):
        decouple(model, "conv2")


@pytest.mark.parametrize("real", [False, True])
def test_what_is_frozen_is_saved(tmp_path, rng, real):
    model, x = network(), images(rng)
    lower, upper = decouple(model, "conv2", [0, 2], real=real)
    wanted = upper.scores(lower.apply(x))
    for part in (lower, lower.freeze()):
        bl.save(part, tmp_path / "part")
        assert (upper.scores(bl.load(tmp_path / "part").apply(x)) == wanted).all()


# --- the method ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenario():
    return class_incremental(*clusters(SHAPE, each=16), (3, 1, 1, 1))


def learning(scenario, **given):
    """A method after its first task, with what makes its steps."""
    options = Options(**({"epochs": 2, "batch_size": 8} | given))
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
        assert len(columns) and len(set(columns // 64)) == 1


def test_what_is_frozen_is_not_in_a_step(scenario):
    """A share of the words: the trained centre has so many columns, and the rest is in the sums."""
    method, _ = learning(scenario, channel_share=0.7)
    method.begin(1, scenario.tasks[1].train)
    assert len(method.words) == 2 and method.networks.model["centre1"].channels == len(channels_of(method.words, 130))


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
        result = run(way, tasks, model, bl.optim.adam(), Options(epochs=4, batch_size=10, layers=("conv2",)))
        found[way] = result.metrics["average_of_row_means"]
        assert result.replay_bytes == 0
    others = [found[way] for way in found if way != "centre-kernel"]
    assert found["centre-kernel"] > max(others) and found["centre-kernel"] > np.mean(others) + 0.2, found


@pytest.mark.parametrize(
    ("way", "moves"),
    [("last-layer", ("head1",)), ("biases", ("sign1", "sign2", "head1")), ("sparse-update", ("conv2", "head1"))],
)
def test_the_baselines_train_what_they_say(scenario, way, moves):
    options = Options(epochs=1, batch_size=8, layers=("conv2",))
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
        ({"temperature": 0.0}, "temperature must be a finite number above 0"),
        ({"prototype_weight": -1.0}, "prototype_weight must be a finite number of at least 0"),
        ({"patch": 0}, "patch must be at least 1"),
        ({"centre_branch": "int8"}, "centre_branch must be one of binary, real"),
        ({"channel_choice": "all"}, "channel_choice must be one of gradient, random"),
    ],
)
def test_settings_out_of_range_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        Options(**given)


def test_what_does_not_fit_the_methods_is_refused(scenario):
    with pytest.raises(ValueError, match="memory_budget must be left out with centre-kernel"):
        methods.build("centre-kernel", Networks(network()), Options(memory_budget=10**6))
    with pytest.raises(ValueError, match=r"layers must name some of conv1.*got \('conv9',\)"):
        methods.build("sparse-update", Networks(network()), Options(layers=("conv9",)))
    with pytest.raises(ValueError, match="layers must name some of"):
        methods.build("sparse-update", Networks(network()), Options())
    lower, upper = network().split("sign1")
    with pytest.raises(ValueError, match="must have a whole network"):
        methods.build("centre-kernel", Networks(upper, lower.freeze()), Options())
    method, steps = learning(scenario)
    with pytest.raises(ValueError, match="centre-kernel must have whole tasks"):
        method.learn(steps, scenario.tasks[1].train.codes(), scenario.tasks[1].train.y, 0)
