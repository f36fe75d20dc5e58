"""What tickets of competing units save, and that protected ones forget nothing."""

from __future__ import annotations

from functools import cache
from typing import Any

from bitlearn import continual, datasets, models, optim

from .. import wta_times
from . import Claim, Measured, NotHere

_SOURCE = "docs/winner_takes_all.rst"
_UNITS, _TIMES = 8, 30


@cache
def _timed() -> tuple[dict[str, Any], ...]:
    return tuple(wta_times.timed(_TIMES))


def _slowest_inference() -> Measured:
    some = [entry for entry in _timed() if entry["units"] == _UNITS]
    return Measured(
        min(entry["whole_inference_seconds"] / entry["ticket_inference_seconds"] for entry in some), {"timed": some}
    )


def _longest_backward() -> Measured:
    found = [entry["units"] * entry["ticket_backward_seconds"] / entry["whole_backward_seconds"] for entry in _timed()]
    return Measured(max(found), {"timed": list(_timed())})


def _forgetting() -> float:
    try:
        digits = datasets.load("digits")
    except ImportError as error:
        raise NotHere(str(error)) from error
    data = digits.x_train, digits.y_train, digits.x_test, digits.y_test
    scenario = continual.build_scenario("task", *data, 5)
    model = models.build("competing-mlp", scenario.input_shape, scenario.classes, units=2, tasks=5)
    found = continual.run("task-wta", scenario, model, optim.adam(), continual.Options(epochs=3, batch_size=20))
    forgotten = found.metrics["forgetting_mean_of_best_minus_last"]
    assert forgotten is not None, "there is more than one task"
    return forgotten


CLAIMS = (
    Claim(
        id="ticket-inference",
        statement=f"with {_UNITS} units a block the ticket of a hidden layer of {wta_times.WIDTH} binary or real units "
        "runs 8 times as fast as the layer",
        source=_SOURCE,
        bar=(">=", 8),
        unit="times as fast",
        measure=_slowest_inference,
    ),
    Claim(
        id="ticket-backward",
        statement="with 2 to 16 units a block the backward pass of a hidden layer's ticket takes 1.5 / units of the "
        "layer's time at most",
        source=_SOURCE,
        bar=("<=", 1.5),
        unit="/ units of the time",
        measure=_longest_backward,
    ),
    Claim(
        id="protected-tickets-forget-nothing",
        statement="on digits in five tasks of two classes, protected tickets forget nothing, with units for two tasks",
        source=_SOURCE,
        bar=("==", 0.0),
        unit="",
        measure=_forgetting,
    ),
)
