"""Feature maps of real convolutions: those that compete, and those of subnetworks."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from recorded import bound, passes
from test_continual import clusters
from test_continual_wta import started

import bitlearn as bl
from bitlearn.continual import ContinualLearner, Options, run, task_incremental
from bitlearn.continual.runner import learn_task
from bitlearn.nn import Spec, SubnetworkConv2d
from bitlearn.nn.narrow import competitions, narrow

OPTIONS = Options(epochs=10, batch_size=8)


@pytest.fixture(scope="module")
def scenario():
    return task_incremental(*clusters((8, 8, 1)), 3)


def competing(**settings) -> bl.nn.Model:
    given = {"filters": (8, 12), "dense": (16,), "units": 4, "tasks": 3, "weights": "real"} | settings
    return bl.models.competing_cnv((8, 8, 1), 6, **given)


# --- competition -----------------------------------------------------------------------------------------------------


def test_a_ticket_computes_what_the_whole_network_does_with_losers_at_zero(rng):
    model = competing(tasks=1)
    for array in model.state().values():
        array[...] = abs(rng.normal(size=array.shape)) + 0.1
    for name, array in model.parameters().items():
        if not name.endswith("logits"):
            array[...] = rng.normal(size=array.shape)
    winners = {name: rng.integers(0, 4, layer.blocks) for name, layer in competitions(model).items()}
    for name, layer in competitions(model).items():
        layer.logits[0, np.arange(layer.blocks), winners[name]] = 99
    ticket = narrow(model, winners)
    assert ticket.model["conv2"].weight.shape == (3, 3, 3, 2) and ticket.model["linear1"].weight.shape == (4, 2 * 2 * 3)
    assert ticket.shared == {"conv1.weight", "conv2.weight", "linear1.weight"}
    x = rng.integers(-128, 128, (5, 8, 8, 1)).astype(np.int8)
    np.testing.assert_allclose(ticket.model.scores(x), model.scores(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("precision", "weights", "least"), [("standard", "real", 0.8), ("int8", "real", 0.8), ("int8", "binary", 0.7)]
)
def test_maps_compete_and_nothing_is_forgotten(precision, weights, least, scenario):
    model = competing(precision=precision, weights=weights, filters=(16, 24), dense=(32,))
    result = run("task-wta", scenario, model, bl.optim.adam(), OPTIONS, competing=0.3)
    assert result.metrics["average_accuracy"] > least and result.metrics["forgetting_mean_of_best_minus_last"] == 0
    report = result.report  # each of three tasks takes one of the four units of a block
    assert report["units"] == dict.fromkeys(competitions(model), 4)
    assert report["free"] == {"competition1": 4, "competition2": 6, "competition3": 8}


def test_what_a_ticket_of_maps_holds_keeps_every_bit(scenario):
    model = competing(units=2)  # three tasks: the last one has to share
    method, steps = started(model, bl.optim.adam(), OPTIONS)
    codes = [task.test.codes(slice(None)) for task in scenario.tasks]
    found = []
    for task in scenario.tasks:
        learn_task(method, steps, task.index, task.train)
        found.append(method.predictor_of(task.index).scores(codes[task.index]).tobytes())
        assert [method.predictor_of(t).scores(codes[t]).tobytes() for t in range(len(found))] == found


# --- subnetworks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), 1), ((2, 3), 2)])
def test_a_subnetwork_is_straight_through_its_choice(kernel, stride, rng):
    layer = bound(SubnetworkConv2d(5, share=0.3, kernel=kernel, stride=stride), Spec.real((6, 5, 4)))
    x = rng.integers(-9, 10, (3, 6, 5, 4)).astype(np.float32)
    layer.weight[...] = rng.integers(-9, 10, layer.weight.shape)
    layer.scores.flat[::7] *= -3
    size = np.abs(layer.scores)
    mask = size >= np.sort(size.ravel())[-layer.count]
    assert layer.count == mask.sum() == round(0.3 * layer.weight.size) and (layer.mask == mask).all()
    used = layer.weight * mask
    exact = oracles.conv2d(x, used, stride, "same")
    d = rng.integers(-9, 10, exact.shape).astype(np.float32)
    found = passes(layer, x, d)
    np.testing.assert_array_equal(found.y, exact)
    full = oracles.grad_weight(d, x.astype(np.int64), kernel, stride, "same")
    np.testing.assert_array_equal(found.parameters["weight"].values, full * mask)
    np.testing.assert_array_equal(found.parameters["scores"].values, full * layer.weight * np.sign(layer.scores))
    np.testing.assert_array_equal(found.dx, oracles.grad_input(d, used, (6, 5), stride, "same"))
    np.testing.assert_array_equal(layer.inference()["weight"], used)
    assert layer.operations() == (0, layer.count * int(np.prod(exact.shape[1:3])))


def test_bad_settings():
    for share in (0, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=f"share must be above 0 and at most 1, got {share}"):
            SubnetworkConv2d(2, share=share)
    with pytest.raises(ValueError, match="a layer of subnetworks must have precision 'standard', got 'int8'"):
        bl.models.subnetwork_cnv((8, 8, 1), 2, filters=(4,), precision="int8")
    with pytest.raises(ValueError, match="weights must be 'binary' or 'real', got 'float'"):
        competing(weights="float")


def subnetworks() -> bl.nn.Model:
    return bl.models.subnetwork_cnv((8, 8, 1), 6, filters=(8, 8), dense=(16,), share=0.3)


def test_winning_subnetworks_of_maps_forget_nothing(scenario):
    method, steps = started(subnetworks(), bl.optim.adam(), OPTIONS, name="wsn")
    scores, codes = [], [task.test.codes(slice(None)) for task in scenario.tasks]
    for task in scenario.tasks:
        learn_task(method, steps, task.index, task.train)
        scores.append(method.predictor_of(task.index).scores(codes[task.index]).tobytes())
        assert [method.predictor_of(t).scores(codes[t]).tobytes() for t in range(len(scores))] == scores
    report, sizes = method.report, {"conv1.weight": 72, "conv2.weight": 576, "linear1.weight": 2 * 2 * 8 * 16}
    assert {name: used.size for name, used in method.used.items()} == sizes
    assert report["mask_bytes"] == 3 * sum(-(-size // 8) for size in sizes.values())
    assert report["weight_bytes"] == 4 * sum(int(used.sum()) for used in method.used.values())
    assert 0.3 <= report["used"] <= 0.9
    # A task's own: the mean, inverse deviation and bias of three norms, and the head.
    assert report["own_bytes"] == 3 * 4 * (3 * (8 + 8 + 16) + 6 * 16)
    for task, name in ((0, "conv1.weight"), (2, "conv2.weight")):
        assert method.mask(name, task).sum() == round(0.3 * sizes[name])


def test_subnetworks_of_maps_learn(scenario):
    result = run("wsn", scenario, subnetworks(), bl.optim.adam(), OPTIONS)
    assert result.metrics["average_accuracy"] > 0.8 and result.metrics["forgetting_mean_of_best_minus_last"] == 0


@pytest.mark.parametrize("name", ["task-wta", "wsn"])
def test_a_learner_of_maps_goes_on_from_a_file_bit_for_bit(name, scenario, tmp_path):
    def learner() -> ContinualLearner:
        model = competing() if name == "task-wta" else subnetworks()
        return ContinualLearner(name, model, labels=range(scenario.classes), epochs=1, batch_size=8)

    whole, stopped, path = learner(), learner(), tmp_path / "learner"
    for task in scenario.tasks:
        x, y = task.train.codes(slice(None)), task.train.y
        whole.fit_task(x, y)
        stopped.fit_task(x, y, checkpoint=path)
        stopped = bl.load(path)
    for task in scenario.tasks:
        codes = task.test.codes(slice(None))
        ours, theirs = (each.method.predictor_of(task.index).scores(codes) for each in (stopped, whole))
        assert ours.tobytes() == theirs.tobytes()
