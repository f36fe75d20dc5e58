"""Task winner-takes-all with inputs that compete, units that tasks share, and distillation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_continual import clusters
from test_continual_wta import OPTIONS, network, started

import bitlearn as bl
from bitlearn.continual import class_incremental, run, task_incremental
from bitlearn.continual.methods import build, options_of
from bitlearn.continual.networks import Networks
from bitlearn.continual.runner import learn_task
from bitlearn.continual.steps import Steps
from bitlearn.nn.narrow import competitions
from bitlearn.rng import Key
from bitlearn.training.hooks import Hooks


@pytest.fixture(scope="module")
def scenario():
    return task_incremental(*clusters(), 3)


@pytest.mark.parametrize("weights", ["real", "binary"])
@pytest.mark.parametrize("sharing", ["units", "tickets"])
def test_tasks_that_share_units_have_other_inputs(scenario, weights, sharing, tmp_path):
    model = network(scenario, weights=weights, units=(2, 1), inputs=2)
    options = replace(OPTIONS, sharing=sharing, reuse=-30.0, competing=0.0)
    method, steps = started(model, bl.optim.adam(), options)
    codes, scores = [task.test.codes(slice(None)) for task in scenario.tasks], []
    for task in scenario.tasks:
        learn_task(method, steps, task.index, task.train)
        scores.append(method.predictor_of(task.index).scores(codes[task.index]).tobytes())
        for earlier in range(task.index + 1):
            assert method.predictor_of(earlier).scores(codes[earlier]).tobytes() == scores[earlier]
    inputs, units, _ = (method.tickets.winners[name] for name in competitions(model))
    assert (units[0] != units[1]).all()  # free ones first
    if sharing == "tickets":
        assert (units[2] == units[0]).all() and (inputs[2] != inputs[0]).all()
    ticket = method.tickets.ticket(1)
    assert not any("competition" in name for name in ticket.own)
    bl.save(ticket, tmp_path / "ticket")
    opened = bl.load(tmp_path / "ticket").open(model)
    assert opened.scores(codes[1]).tobytes() == scores[1]
    bl.save(opened, tmp_path / "network")
    assert bl.load(tmp_path / "network").scores(codes[1]).tobytes() == scores[1]


def test_a_ticket_is_held_to_the_one_before_on_what_is_replayed():
    scenario = class_incremental(*clusters(), 3)
    given = {"epochs": 4, "batch_size": 16, "rehearse": True, "replay_size": 30, "distillation": 2.0}
    options = options_of("task-wta", **given)
    model = network(scenario, hidden=(32, 32))
    method = build("task-wta", Networks(model), options)
    steps = Steps(bl.optim.adam(), options, Hooks(None), method.loss, method.transforms)
    learn_task(method, steps, 0, scenario.tasks[0].train)
    teacher, second = method.predictor_of(0), scenario.tasks[1].train
    x, y, given = method.training(1, second).batch(np.arange(4), Key(3))
    new = 4
    assert np.isnan(given["targets"][:new]).all() and (given["target_weight"][:new] == 0).all()
    scores, taught = teacher.scores(x[new:]), method.classes[0]
    np.testing.assert_array_equal(given["targets"][new:, taught], scores[:, taught])
    assert np.isnan(np.delete(given["targets"][new:], taught, axis=1)).all()
    np.testing.assert_allclose(given["target_weight"][new:].sum(), 2.0, rtol=1e-6)
    np.testing.assert_allclose(given["label_weight"], 1 / len(y), rtol=1e-6)
    result = run("task-wta", scenario, network(scenario, hidden=(32, 32)), bl.optim.adam(), options)
    assert result.metrics["average_accuracy"] > 0.6
    with pytest.raises(ValueError, match=r"distillation must be 0 without rehearse, got 1\.0"):
        build("task-wta", Networks(model), options_of("task-wta", distillation=1.0))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sharing": "blocks"}, "sharing must be one of units, tickets, got 'blocks'"),
        ({"distillation": -1.0}, "distillation must be a finite number of at least 0"),
    ],
)
def test_bad_options(given, says):
    with pytest.raises(ValueError, match=says):
        options_of("task-wta", **given)


def test_bad_networks(scenario):
    shape, classes = scenario.input_shape, scenario.classes
    for given, says in (
        ({"inputs": 3}, "a competition must get channels in blocks of 3"),
        ({"units": (2,)}, "units must be one number, or one for each of 2 hidden layers, got 1"),
    ):
        with pytest.raises(ValueError, match=says):
            bl.models.competing_mlp(shape, classes, hidden=(8, 8), **given)
