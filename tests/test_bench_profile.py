"""The profile of a training step: its parts sum to the step, it finds what ran, and leaves nothing behind."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import cli
from bitlearn.bench import steps
from bitlearn.bench.steps import plot, profile, tables
from bitlearn.ops.dispatch import lookup

POLICIES = steps.OURS


def started(network, policy):
    model, rule = steps.model(network, policy, tiny=True), steps.optimizer()
    state = rule.init(model.parameters(), model.precision, model.binary_parameters())
    return model, rule, state


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("network", steps.SHAPES)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_parts_sum_to_the_step(network, policy, threads):
    model, rule, state = started(network, policy)
    recorder = profile.Recorder(model)
    bl.set_num_threads(threads)
    try:
        with recorder.watching():
            step = recorder.step(rule, state, *steps.batch(network, 10))
    finally:
        bl.set_num_threads(1)
    assert sum(step.kernels.values()) == pytest.approx(step.seconds)
    assert sum(sum(parts.values()) for parts in step.layers.values()) == pytest.approx(step.seconds)
    assert min(step.kernels.values()) >= 0 and min(min(parts.values()) for parts in step.layers.values()) >= 0
    assert list(step.layers) == [*model.names, profile.LOSS]
    assert {"pack", "grad_weight" if policy != "low-memory" else "grad_weight_sign"} <= set(step.kernels)
    weighted = [name for name, layer in model.items() if layer.parameters()]
    assert all(step.layers[name]["update"] > 0 for name in weighted)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_profiled_step_is_the_same_step(policy):
    batch, found = steps.batch("cnv", 10), []
    for watched in (False, True):
        model, rule, state = started("cnv", policy)
        recorder = profile.Recorder(model)
        for _ in range(2):
            if watched:
                with recorder.watching():
                    recorder.step(rule, state, *batch)
            else:
                bl.training.train_step(model, rule, state, *batch, rule.learning_rate)
        found.append(model.parameters() | model.statistics() | state)
    for key, array in found[0].items():
        np.testing.assert_array_equal(array, found[1][key], err_msg=key)


def test_nothing_is_left_wrapped():
    model, *_ = started("mlp", "int8")
    before = lookup("pack")
    with profile.Recorder(model).watching():
        assert lookup("pack") is not before
    assert lookup("pack") is before
    assert all("forward" not in vars(layer) and "backward" not in vars(layer) for _, layer in model.items())


def test_kernels_that_run_at_once_share_the_time():
    assert profile.shares({}) == {}
    assert profile.shares({"a": [(5, 6), (0, 2), (1, 3), (1, 2)]}) == {"a": 4}
    assert profile.shares({"a": [(0, 2), (6, 7)], "b": [(1, 3)]}) == {"a": 2.5, "b": 1.5}


def test_profile_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "profile.json"
    options = ["--profile", "mlp", "--precision", "int8", "--batch-size", "10", "--threads", "1", "--json", str(path)]
    assert cli.main(["bench", *options]) == 0
    found = json.loads(path.read_text())
    assert found["network"] == "mlp" and sum(found["kernels"].values()) == pytest.approx(found["seconds"])
    out = capsys.readouterr().out
    assert "by kernel" in out and "by layer" in out and "adam_update" in out


def test_the_drawing_shows_every_kernel_and_layer(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install bitlearn[plots]")
    path = tmp_path / "profile.svg"
    options = ["--profile", "mlp", "--batch-size", "10", "--threads", "1", "--plot", str(path)]
    assert cli.main(["bench", *options]) == 0
    text = path.read_text()
    assert "adam_update" in text and "linear5" in text and profile.OUTSIDE in text
    step = profile.Step(
        2.0, {"pack": 1.5, profile.OUTSIDE: 0.5}, {"pack": 3}, {"a": dict.fromkeys(profile.PASSES, 0.5)}
    )
    assert plot.draw(step, "title") == plot.draw(step, "title")
    assert tables.by_kernel(step)[0] == ("pack", "3", "1.5 s", "75.0 %")
