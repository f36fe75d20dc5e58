"""Gradients that are looked at, EWC and AR1*, against their formulas in plain NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import small
from recorded import one_loss
from scipy.special import softmax
from test_continual import clusters, first_tasks, learned, network
from test_continual_baselines import made

import bitlearn as bl
from bitlearn.bits import Bits
from bitlearn.continual import class_incremental
from bitlearn.continual.fisher import DrawnLabels, fisher_diagonal
from bitlearn.continual.methods import ar1
from bitlearn.continual.runner import learn_task
from bitlearn.continual.steps import Steps
from bitlearn.errors import NonFiniteError
from bitlearn.nn import Linear, Model, SoftmaxCrossEntropy, Spec
from bitlearn.precision import Precision, Quantization
from bitlearn.rng import Key
from bitlearn.training import Gradients, Hook, Trainer
from bitlearn.training.hooks import Hooks

POLICIES = [*small.POLICIES, "int4", small.APART[0], small.APART[2]]


@pytest.fixture(scope="module")
def scenario():
    return class_incremental(*clusters(), 3)


# --- gradients without a step ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("name", ["mlp", "cnv"])
def test_looking_at_gradients_changes_nothing_and_shows_what_sgd_takes(policy, name):
    model, data, seen = small.model(name, policy, "real"), small.examples(name, 8), {}
    for array in model.parameters().values():
        array += np.random.default_rng(1).normal(scale=0.3, size=array.shape).astype(array.dtype)
    before, programs = small.everything(model), len(vars(model))
    look = Gradients(model, SoftmaxCrossEntropy(), lambda name, g: seen.update({name: g.copy()}))
    loss = look(data.codes(), data.y)
    assert small.everything(model) == before and len(vars(model)) == programs
    # The same gradients by another way: that of a policy whose gradients are whole, as its steps take them.
    whole = model.under(model.precision.with_whole_gradients())
    old = {name: array.astype(np.float32) for name, array in whole.parameters().items()}
    found = Trainer(whole, bl.optim.sgd(momentum=0.0)).step(data.codes(), data.y, 0.5)
    assert found == loss and seen.keys() == old.keys()
    for name, array in whole.parameters().items():
        slack = 2e-3 if array.dtype == np.float16 else 1e-6
        np.testing.assert_allclose(array, old[name] - 0.5 * seen[name], rtol=slack, atol=slack, err_msg=name)
    assert any(abs(g).max() > 2e-2 for g in seen.values())


def test_a_network_under_another_policy_shares_its_arrays():
    model = small.model("mlp", "low-memory", "real")
    other = model.under(model.precision.with_whole_gradients())
    for name, array in model.state().items():
        assert other.state()[name] is array
    assert model.precision.name == "low-memory" and model["linear1"].precision.sign_weight_gradient
    assert not other["linear1"].precision.sign_weight_gradient and other.arena is model.arena
    with pytest.raises(ValueError, match="precision must have latent weights of float16, got float32"):
        model.under(bl.precision.policy("int8"))


def test_a_step_says_what_its_loss_must_be_given():
    model, data = small.model("mlp", "int8", "real"), small.examples("mlp", 8)
    trainer = Trainer(model, bl.optim.adam(), loss=DrawnLabels())
    with pytest.raises(ValueError, match=r"the loss must be given \{'uniform': .*, got nothing else"):
        trainer.step(data.codes(), data.y, 0.1)
    with pytest.raises(ValueError, match=r"the loss must be given \{'uniform'"):
        trainer.step(data.codes(), data.y, 0.1, {"uniform": np.zeros(8, np.float32)})
    with pytest.raises(ValueError, match="the loss must be given nothing but labels, got"):
        Trainer(model, bl.optim.adam()).step(data.codes(), data.y, 0.1, {"uniform": np.zeros(8)})
    before = small.everything(model)
    model["head1"].weight[0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="in layer 'head1'"):
        trainer.step(data.codes(), data.y, 0.1, {"uniform": np.zeros(8)})
    model["head1"].weight[0, 0] = 0
    assert small.everything(model) == before


# --- EWC -------------------------------------------------------------------------------------------------------------


def test_labels_are_drawn_with_the_probabilities_of_the_scores(rng):
    scores = np.repeat(rng.normal(size=(1, 4)).astype(np.float32) * 2, 20_000, axis=0)
    uniform = rng.random(len(scores))
    _, gradient = one_loss(DrawnLabels(), scores, np.zeros(len(scores), np.int64), uniform=uniform)
    share = softmax(scores[0].astype(np.float64))
    drawn = (gradient < 0).argmax(axis=1)
    # The first class at which the cumulated probability passes the number.
    assert np.array_equal(drawn, np.searchsorted(np.cumsum(share), uniform, side="right").clip(max=3))
    assert np.abs(np.bincount(drawn) / len(drawn) - share).max() < 4 * np.sqrt(0.25 / len(drawn))


@pytest.mark.parametrize("forward_bits", [None, 8, 32])
def test_labels_are_drawn_whatever_the_width_of_probabilities(forward_bits):
    policy = Precision("mine", Quantization(16), Quantization(16), forward_bits=forward_bits)
    model, data = small.model("mlp", policy, "real"), small.examples("mlp", 8)
    found, wanted = {}, {}
    # Of a head that is 0 every class has a quarter: 0.6 draws the third.
    look = Gradients(model, DrawnLabels(), lambda name, g: found.update({name: g.copy()}))
    look(data.codes(), np.zeros(8, dtype=np.int64), {"uniform": np.full(8, 0.6)})
    plain = Gradients(model, SoftmaxCrossEntropy(), lambda name, g: wanted.update({name: g.copy()}))
    plain(data.codes(), np.full(8, 2))
    for name, gradient in wanted.items():
        largest = np.abs(gradient).max()
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=2e-2 * largest, err_msg=name)
    assert wanted["head1.weight"].any()


def test_fisher_information_of_a_head_against_numpy(rng):
    """Of a linear head each example has a gradient of its own, so the whole matrix can be written down."""
    model = Model([Linear(3)], Spec.bits((7,)))
    model["head1"].weight[...] = weight = rng.normal(size=(3, 7)).astype(np.float32)
    x = rng.choice([-1.0, 1.0], size=(10, 7))
    bits, total, times = Bits(bl.pack(x), 7), np.zeros((3, 7)), 3000
    p = softmax(x @ weight.T.astype(np.float64), axis=1)
    for _ in range(times):
        uniform = rng.random(10)
        found = fisher_diagonal(model, [(bits[:6], uniform[:6]), (bits[6:], uniform[6:])])["head1.weight"]
        labels = np.array([np.searchsorted(np.cumsum(row), u, side="right") for row, u in zip(p, uniform, strict=True)])
        each = (np.eye(3)[labels] - p)[:, :, None] * x[:, None]
        wanted = (each[:6].sum(axis=0) ** 2 + each[6:].sum(axis=0) ** 2) / 10
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
        total += found
    # Its mean over draws is the Fisher information: of each example, over all labels, the square of its own gradient.
    onehot = np.eye(3)
    fisher = np.einsum("ik,ikcj->cj", p, ((onehot[None] - p[:, None])[..., None] * x[:, None, None]) ** 2) / 10
    np.testing.assert_allclose(total / times, fisher, rtol=0.12)
    assert np.array_equal(model["head1"].weight, weight)


#: Moments of float32, which a penalty needs, for its numbers may be small; fine-tuning has signs, which are not.
WIDE = replace(bl.precision.policy("low-memory"), name="wide", moments=np.dtype(np.float32))


@pytest.mark.parametrize("precision", ["standard", WIDE], ids=["standard", "low-memory"])
def test_ewc_learns_its_first_task_as_fine_tuning_does(scenario, precision):
    first = first_tasks(scenario, 1)
    (_, plain), (_, held) = (learned(name, first, network(scenario, precision)) for name in ("naive", "ewc"))
    assert all(np.array_equal(array, held[name]) for name, array in plain.items())


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
def test_ewc_adds_up_what_tasks_depend_on(scenario, precision):
    settings = {"regularization": 8.0, "regularization_decay": 0.25}
    method, steps, model = made("ewc", scenario, precision, **settings)
    assert method.kept_bytes == sum(array.nbytes + 4 * array.size for array in model.parameters().values()) + 8
    wanted = {name: np.zeros(array.shape) for name, array in model.parameters().items()}
    for task in scenario.tasks:
        learn_task(method, steps, task.index, task.train)
        order = Key(0, task.index, bl.streams.FISHER_ORDER).permutation(len(task.train))
        uniform = Key(0, task.index, bl.streams.FISHER_LABELS).uniform(2 * len(order)).astype(np.float64)
        batches = [order[start : start + 16] for start in range(0, len(order), 16)]
        found = fisher_diagonal(model, [(task.train.codes(rows), uniform[rows]) for rows in batches])
        for name, parameter in model.parameters().items():
            wanted[name] = 0.25 * wanted[name] + 8 * found[name]
            assert np.array_equal(method.anchors[name], parameter)
            np.testing.assert_allclose(method.strengths[name], wanted[name], rtol=1e-6, err_msg=name)
    assert all(strength.any() for strength in method.strengths.values()) and method.measured == 3
    # One bit a weight would make all squares alike; gradients are whole here.
    assert len(np.unique(method.strengths["linear1.weight"])) > 20


def test_the_penalty_is_in_the_gradient_that_the_update_takes(scenario):
    method, steps, model = made("ewc", scenario, "int8", regularization=8.0)
    learn_task(method, steps, 0, scenario.tasks[0].train)
    seen, pull = {}, method.transforms[0]

    def watched(name, gradient, parameter):
        before = gradient.copy()
        pull(name, gradient, parameter)
        wanted = method.strengths[name] * (parameter - method.anchors[name])
        np.testing.assert_allclose(gradient - before, wanted, rtol=0, atol=1e-6 + 1e-6 * np.abs(wanted).max())
        seen[name] = seen.get(name, 0) + np.abs(wanted).max()

    steps = Steps(bl.optim.adam(), method.options, Hooks(None), None, (watched,))
    learn_task(method, steps, 1, scenario.tasks[1].train)
    assert seen.keys() == model.parameters().keys() and all(seen.values())


def test_ewc_of_no_strength_is_fine_tuning_and_of_much_holds_everything(scenario):
    _, plain = learned("naive", scenario, network(scenario, "int8"))
    _, free = learned("ewc", scenario, network(scenario, "int8"), regularization=0.0)
    assert all(np.array_equal(array, free[name]) for name, array in plain.items())
    _, first = learned("naive", first_tasks(scenario, 1), network(scenario, "int8"))
    _, held = learned("ewc", scenario, network(scenario, "int8"), regularization=1e6)
    moved = {name: np.abs(first[name] - arrays[name]).mean() for arrays in (held,) for name in ("linear1.weight",)}
    free_moved = np.abs(first["linear1.weight"] - plain["linear1.weight"]).mean()
    assert 0 < moved["linear1.weight"] < free_moved / 2


# --- AR1* ------------------------------------------------------------------------------------------------------------


def test_ar1_learns_its_first_task_as_cwr_does(scenario):
    """Nothing is drawn back yet, and nothing is frozen yet."""
    first = first_tasks(scenario, 1)
    (_, plain), (_, held) = (learned(name, first, network(scenario, "int8")) for name in ("cwr", "ar1"))
    assert all(np.array_equal(array, held[name]) for name, array in plain.items())


@pytest.mark.parametrize("strength", [None, 5.0])
@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
def test_ar1_follows_the_path_of_each_weight(scenario, precision, strength):
    method, _, model = made("ar1", scenario, precision, hidden=(33, 21), regularization=strength)
    names = ["linear1.weight", "linear2.weight"]
    assert list(method.anchors) == names
    kept = sum(array.nbytes + 12 * array.size for name, array in model.parameters().items() if name in names)
    assert method.kept_bytes == kept
    gradients, pulled, weights = [], [], []

    def before(name, gradient, parameter):
        gradients.append({}) if name == "head1.weight" else None  # the first whose gradient a step has
        gradients[-1][name] = gradient.copy()

    def after(name, gradient, parameter):
        pulled.append({}) if name == "head1.weight" else None
        pulled[-1][name] = gradient.copy()

    class Watch(Hook):
        def on_batch(self, trainer, x, y):
            weights.append({name: model.parameters()[name].astype(np.float64) for name in names})

    steps = Steps(bl.optim.adam(), method.options, Hooks(Watch()), None, (before, *method.transforms, after))
    total, importance = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for task in scenario.tasks:
        for log in (gradients, pulled, weights):
            log.clear()
        anchors = {name: method.anchors[name].astype(np.float64) for name in names}
        learn_task(method, steps, task.index, task.train)
        weights.append({name: model.parameters()[name].astype(np.float64) for name in names})
        assert len(gradients) == len(pulled) == len(weights) - 1 == 6
        for name in names:
            path = -sum(
                g[name].astype(np.float64) * (after[name] - before[name])
                for g, before, after in zip(gradients, weights[:-1], weights[1:], strict=True)
            )
            for g, p, w in zip(gradients, pulled, weights, strict=False):
                pull = importance[name] * (w[name] - anchors[name])
                np.testing.assert_allclose(p[name] - g[name], pull, rtol=0, atol=1e-5 * (1 + np.abs(pull).max()))
            total[name] = total[name] + path / ((weights[-1][name] - weights[0][name]) ** 2 + 1e-7)
            np.testing.assert_allclose(method.sums[name], total[name], rtol=1e-4, atol=1e-4 * np.abs(total[name]).max())
            factor = 1e6 if strength is None else strength
            importance[name] = factor * np.clip(method.sums[name], 0, 0.001)
            np.testing.assert_allclose(method.strengths[name], importance[name], rtol=1e-6)
            assert np.array_equal(method.anchors[name], model.parameters()[name]) and not method.paths[name].any()
            assert np.abs(weights[0][name] - anchors[name]).max() == 0 and (importance[name] > 0).any()
    assert ar1.LARGEST == 0.001 and ar1.STRENGTH == 1e6


def test_ar1_has_the_head_of_cwr(scenario):
    """Rows of classes that a task does not have are as the tasks before left them, however much the rest has moved."""
    _, first = learned("ar1", first_tasks(scenario, 1))
    _, last = learned("ar1", scenario)
    old = list(scenario.tasks[0].classes)
    assert np.array_equal(first["head1.weight"][old], last["head1.weight"][old])
    assert last["head1.weight"].any(axis=1).all()
    assert not np.array_equal(first["linear1.weight"], last["linear1.weight"])
    with pytest.raises(ValueError, match="ar1 must have a model with a real head"):
        learned("ar1", scenario, bl.models.mlp((20,), 6, hidden=(8,)))


@pytest.mark.parametrize("method", ["ewc", "ar1"])
def test_what_no_method_keeps_is_refused(scenario, method):
    found, steps, model = made(method, scenario, "int8")
    learn_task(found, steps, 0, scenario.tasks[0].train)
    arrays = {name: array.copy() for name, array in found.arrays().items()}
    for name, value in (("anchor.linear1.weight", np.nan), ("strength.linear1.weight", -1), ("measured", 2**32)):
        if name in arrays:
            broken = {**arrays, name: np.full_like(arrays[name], value)}
            with pytest.raises(ValueError, match=f"{name} must be"):
                made(method, scenario, "int8")[0].restore(broken)
    other = made(method, scenario, "int8")[0]
    with pytest.raises(ValueError, match=r"it must hold 'strength\.linear1\.weight' as float32"):
        other.restore({name: array for name, array in arrays.items() if name != "strength.linear1.weight"})
    other.restore(arrays)
    assert all(np.array_equal(array, other.arrays()[name]) for name, array in arrays.items()) and model is not None


@pytest.mark.parametrize("method", ["ewc", "ar1"])
def test_a_budget_that_would_not_be_kept_is_refused(scenario, method):
    with pytest.raises(ValueError, match=f"memory_budget must be left out with {method}, .*, got '3 MiB'"):
        made(method, scenario, memory_budget="3 MiB")
