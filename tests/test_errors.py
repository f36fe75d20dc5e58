"""Errors that say what was wanted: one sentence for every name that is unknown, or not built yet."""

from __future__ import annotations

import numpy as np
import pytest

from bitlearn import continual, memory, models, optim, precision
from bitlearn.cli import experiment
from bitlearn.continual import methods, scenarios
from bitlearn.errors import NonFiniteError, brief, by_name


def test_a_name_that_is_known():
    known = {"a": object(), "b": None}
    assert by_name("letter", "a", known) is known["a"] and by_name("letter", "b", known, ["c"]) is None


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("c", "letter 'c' is not built yet; there are a, b"),
        ("d", "letter must be one of a, b, got 'd'"),
        ("", "letter must be one of a, b, got ''"),
        (3, "letter must be one of a, b, got 3"),
    ],
)
def test_a_name_that_is_not(name, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        by_name("letter", name, {"a": 1, "b": 2}, ["c"])


def scenario(name):
    return continual.build_scenario(name, None, None, None, None, 1)


@pytest.mark.parametrize(
    ("what", "look_up", "planned", "known"),
    [
        ("model", lambda name: models.build(name, (4,), 2), (), models.MODELS),
        ("precision", precision.policy, (), precision.POLICIES),
        ("method", lambda name: methods.build(name, None, None), methods.PLANNED, methods.METHODS),
        ("scenario", scenario, (), scenarios.SCENARIOS),
        ("optimizer", experiment.optimizer, (), optim.OPTIMIZERS),
        ("optimizer", lambda name: memory.account("mlp", 100, name), (), optim.OPTIMIZERS),
    ],
)
def test_everything_that_is_asked_for_by_name(what, look_up, planned, known):
    assert not set(planned) & set(known)
    for name in planned:
        with pytest.raises(ValueError, match=f"^{what} '{name}' is not built yet; there are {', '.join(known)}$"):
            look_up(name)
    with pytest.raises(ValueError, match=f"^{what} must be one of {', '.join(known)}, got 'nothing'$"):
        look_up("nothing")


def test_places_are_added_on_the_way_up():
    error = NonFiniteError("the scores").located("in layer 'norm1'").located("at step 3").located("of task 2")
    assert str(error) == "the scores must be finite, got NaN or infinity in layer 'norm1' at step 3 of task 2"
    assert (error.what, error.where) == ("the scores", "in layer 'norm1' at step 3 of task 2")
    assert str(NonFiniteError("the loss")) == "the loss must be finite, got NaN or infinity"


def test_integer_gradients_under_a_float_policy():
    assert precision.policy("int8").code_bits == 8 and precision.policy("low-memory").code_bits == 16
    with pytest.raises(ValueError, match="gradients must be float32 under precision 'standard', got integer codes"):
        _ = precision.policy("standard").code_bits


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        ("values", "'values'"),
        (np.float64(0.5), "np.float64(0.5)"),
        (np.arange(1000).reshape(10, 100), "an array of shape (10, 100) and dtype int64"),
        (np.array(7), "array(7)"),
        ([np.eye(2)], "[array([[1., 0.], [0., 1.]])]"),
        (None, "None"),
    ],
)
def test_values_in_errors(value, text):
    assert brief(value) == text


class Loud:
    def __repr__(self):
        raise RuntimeError("no")


def test_values_in_errors_are_one_short_line():
    fields = np.zeros(1, [(f"f{i}", "i4") for i in range(99)])
    for value in (
        10**5000,
        "line\n" * 1000,
        [[list(range(100))] * 100] * 100,
        fields,
        fields.dtype,
        {"a": np.eye(9)},
        Loud(),
    ):
        assert len(brief(value)) <= 80 and "\n" not in brief(value)
