"""Learners with tickets in files: they go on as if they had never stopped, to the bit, and refuse what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from test_continual import clusters

import bitlearn as bl
from bitlearn.continual import ContinualLearner, task_incremental

SETTINGS = {"epochs": 2, "batch_size": 8}
WAYS = {
    "task-wta": {"competing": 0.5},
    "task-wta, shared": {"competing": 0.3, "sharing": "tickets"},
    "task-wta, rehearsed": {"competing": 0.5, "rehearse": True, "replay_size": 20, "distillation": 0.5},
    "wsn": {},
}


@pytest.fixture(scope="module")
def scenario():
    return task_incremental(*clusters(), 3)


def learner(scenario, way):
    name = way.partition(",")[0]
    given = {"tasks": 3, "weights": "real", "units": 2, "inputs": 2 if "shared" in way else 0}
    if name == "wsn":
        model = bl.models.subnetwork_mlp(scenario.input_shape, scenario.classes, hidden=(12, 8), share=0.3)
    else:
        model = bl.models.competing_mlp(scenario.input_shape, scenario.classes, hidden=(12, 8), **given)
    return ContinualLearner(name, model, labels=range(scenario.classes), **SETTINGS, **WAYS[way])


def shown(found, scenario) -> list[bytes]:
    return [found.scores(task.test.codes(slice(None))).tobytes() for task in scenario.tasks] + [
        found.method.predictor_of(task).scores(scenario.tasks[task].test.codes(slice(None))).tobytes()
        for task in found.method.classes
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_learner_goes_on_from_a_file_bit_for_bit(way, scenario, tmp_path):
    whole, path = learner(scenario, way), tmp_path / "learner"
    stopped = learner(scenario, way)
    for task in scenario.tasks:
        x, y = task.train.codes(slice(None)), task.train.y
        whole.fit_task(x, y)
        stopped.fit_task(x, y, checkpoint=path)
        stopped = bl.load(path)
        assert shown(stopped, scenario) == shown(whole, scenario)
    for name, array in whole.method.arrays().items():
        np.testing.assert_array_equal(stopped.method.arrays()[name], array)
    state = whole.method.networks.model.state()
    for name, array in stopped.method.networks.model.state().items():
        np.testing.assert_array_equal(array, state[name])


@pytest.mark.parametrize("way", WAYS)
def test_damage_is_refused(way, scenario, tmp_path):
    one = learner(scenario, way)
    for task in scenario.tasks[:2]:
        one.fit_task(task.train.codes(slice(None)), task.train.y)
    method = one.method
    arrays = {name: array.copy() for name, array in method.arrays().items()}
    method.restore(arrays)
    float_ones = [name for name, array in arrays.items() if array.dtype.kind == "f" and array.size][:2]
    damage = dict.fromkeys(float_ones, np.nan) | {"classes": 2}
    if "wta" in way:
        damage |= {"winners.competition1": 7, "winners.competition2": -2}
    else:
        damage |= {"masks.linear1.weight": 255}
    for name, value in damage.items():
        wrong = {key: array.copy() for key, array in arrays.items()}
        wrong[name].reshape(-1)[:1] = value
        with pytest.raises(ValueError, match=r"must (be|select)"):
            method.restore(wrong)
    for wrong in (
        {name: array for name, array in arrays.items() if name != "classes"},
        arrays | {"more": np.zeros(1)},
        arrays | {"classes": np.zeros_like(arrays["classes"])},
    ):
        with pytest.raises(ValueError, match="must"):
            method.restore(wrong)
    if "wta" in way:  # a task that won in some blocks alone, or in one competition
        wrong = {key: array.copy() for key, array in arrays.items()}
        wrong["winners.competition2"][1] = -1
        with pytest.raises(ValueError, match="winners must be given for all blocks"):
            method.restore(wrong)
    for name, array in method.arrays().items():
        np.testing.assert_array_equal(array, arrays[name])


def test_a_learner_is_saved_between_tasks(scenario, tmp_path):
    one = learner(scenario, "task-wta")
    task = scenario.tasks[0]
    one.fit_task(task.train.codes(slice(None)), task.train.y)
    one.epochs = 1
    with pytest.raises(ValueError, match="a learner of task-wta must be saved between tasks, got one within a task"):
        one.save(tmp_path / "learner")
    assert not (tmp_path / "learner").exists()
    one.epochs = 0
    for _ in range(2):
        one.fit_task(task.train.codes(slice(None)), task.train.y)
    with pytest.raises(ValueError, match="task must be one of the 3 that the network has room for, got task 4"):
        one.fit_task(task.train.codes(slice(None)), task.train.y)
