"""The methods of continual learning that keep sums: what they are beside the learners themselves."""

from __future__ import annotations

import numpy as np
import pytest
from test_continual import clusters, first_tasks, learned, network

import bitlearn as bl
from bitlearn.continual import (
    LDA,
    AnalyticLearner,
    ClassPrototypes,
    NearestClassMean,
    Options,
    class_incremental,
    run,
    task_incremental,
)

LEARNERS = {"analytic": AnalyticLearner, "prototypes": ClassPrototypes, "nearest-mean": NearestClassMean, "lda": LDA}


@pytest.fixture(scope="module")
def scenario():
    return class_incremental(*clusters(), 3)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("cut", [None, "sign2"])
def test_a_method_is_its_learner(scenario, name, cut):
    """With a cut, of the bits that the network gives once it has learned the first task."""
    model = network(scenario)
    fresh = {key: array.copy() for key, array in model.state().items()}
    drawn = name in ("analytic", "prototypes")
    result, state = learned(name, scenario, model, cut=cut, **({"memory_budget": "6 KiB", "seed": 4} if drawn else {}))
    settings = {"classes": 6, "examples": 144} | ({"memory_budget": 6144, "seed": 4} if drawn else {})
    learner = LEARNERS[name](**settings, backbone=cut and model.split(cut)[0])
    for i, task in enumerate(scenario.tasks):
        learner.partial_fit(task.train.codes(), task.train.y)
        wanted = [learner.score(seen.test.codes(), seen.test.y) for seen in scenario.tasks[: i + 1]]
        assert result.accuracy_matrix[i][: i + 1] == wanted
    assert result.replay_bytes == learner.statistics.nbytes and (not drawn or learner.memory().total <= 6144)
    assert result.metrics["average_accuracy"] > 0.6
    # The network is left alone, or as the first task left it.
    wanted = fresh if cut is None else learned(name, first_tasks(scenario, 1), cut=cut, seed=settings.get("seed", 0))[1]
    assert all(np.array_equal(array, wanted[key]) for key, array in state.items())
    assert all(np.array_equal(array, fresh[key]) for key, array in state.items()) == (cut is None)


def test_the_order_of_tasks_does_not_show():
    data = clusters()
    orders = [class_incremental(*data, 3, seed=seed) for seed in (0, 1)]
    found = [learned("analytic", each)[0] for each in orders]
    assert orders[0].tasks[0].classes != orders[1].tasks[0].classes
    assert found[0].metrics["average_accuracy"] == pytest.approx(found[1].metrics["average_accuracy"], abs=1e-12)


def test_what_does_not_fit_is_refused_before_a_task_is_learned(scenario):
    for settings, sentence in (
        ({"cut": "linear2"}, "cut must be a layer whose output is packed bits, got 'linear2'"),
        ({"memory_budget": 20}, "memory_budget must be at least"),
    ):
        model = network(scenario)
        fresh = {key: array.copy() for key, array in model.state().items()}
        with pytest.raises(ValueError, match=sentence):
            learned("analytic", scenario, model, **settings)
        assert all(np.array_equal(array, fresh[key]) for key, array in model.state().items())


def test_digits_are_not_forgotten():
    pytest.importorskip("sklearn")
    data = bl.datasets.load("digits")
    scenario = class_incremental(data.x_train, data.y_train, data.x_test, data.y_test, 5)
    result, _ = learned("analytic", scenario, memory_budget="32 KiB")
    assert result.replay_bytes <= 2**15 and result.metrics["average_accuracy"] > 0.94


def test_told_the_task_a_learner_is_asked_among_its_classes_alone():
    """Also of tasks that it has not met: nothing is known of their classes, and the first one is said."""
    scenario = task_incremental(*clusters(), 3, seed=1)
    result = run("nearest-mean", scenario, network(scenario), bl.optim.adam(), Options(), evaluate_all=True)
    learner = NearestClassMean(classes=6, examples=144)
    learner.partial_fit(scenario.tasks[0].train.codes(), scenario.tasks[0].train.y)
    assert result.full_matrix[0][0] == learner.score(scenario.tasks[0].test.codes(), scenario.tasks[0].test.y)
    later = scenario.tasks[1]
    assert result.full_matrix[0][1] == np.mean(later.test.y == later.outputs[0])
