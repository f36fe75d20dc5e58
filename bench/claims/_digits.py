"""Continual learning of scikit-learn's digits, with the settings of the README's command."""

from __future__ import annotations

from functools import cache

from bitlearn import continual, datasets, models, optim
from bitlearn.datasets.preparation import prepare

from . import NotHere

SOURCE = "README.md, Measured: bitlearn continual --dataset digits --scenario class --tasks 5"


@cache
def average_accuracy(method: str) -> float:
    """Return the average accuracy after five tasks of two classes, with seed 0."""
    try:
        digits = datasets.load("digits")
    except ImportError as error:
        raise NotHere(str(error)) from error
    data = digits.x_train, digits.y_train, digits.x_test, digits.y_test
    scenario = continual.build_scenario("class", *data, 5, preparation=prepare(digits.x_train))
    model = models.build("mlp", scenario.input_shape, scenario.classes, head="real", precision="low-memory", seed=0)
    options = continual.Options(epochs=10, batch_size=50, replay_size=300, seed=0)
    found = continual.run(method, scenario, model, optim.adam(), options).metrics["average_accuracy"]
    assert found is not None, "every task has been learnt"
    return found
