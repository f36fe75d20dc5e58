"""The profile of a training step: its parts sum to the step, it finds what ran, and leaves nothing behind."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import cli
from bitlearn.bench import steps
from bitlearn.bench.claims import outside_kernels
from bitlearn.bench.steps import plot, profile, tables
from bitlearn.ops import programs
from bitlearn.program import Call
from bitlearn.training import Trainer

POLICIES = steps.OURS


def started(network, policy):
    return Trainer(steps.model(network, policy, tiny=True), steps.optimizer())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("network", steps.SHAPES)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_parts_sum_to_the_step(network, policy, threads, monkeypatch):
    monkeypatch.setattr(profile, "started", started)
    bl.set_num_threads(threads)
    try:
        step = profile.profile(network, policy, 10, steps=1)
    finally:
        bl.set_num_threads(1)
    assert sum(step.kernels.values()) + step.outside == pytest.approx(step.seconds)
    assert sum(sum(parts.values()) for parts in step.layers.values()) + step.outside == pytest.approx(step.seconds)
    assert min(step.kernels.values()) > 0 and step.outside > 0
    model = steps.model(network, policy, tiny=True)
    assert list(step.layers) == [*model.names, profile.LOSS]
    product = "grad_weight_sign" if bl.precision.policy(policy).sign_weight_gradient else "grad_weight"
    assert {"pack", product} <= {name.removeprefix("conv2d_") for name in step.kernels}
    assert set(step.kernels) == set(step.calls)
    for name, layer in model.items():
        assert (step.layers[name]["update"] > 0) == bool(layer.parameters()), name
        if layer.parameters():
            assert min(step.layers[name].values()) > 0, name
    assert step.layers[profile.LOSS]["forward"] > 0


@pytest.mark.parametrize("policy", POLICIES)
def test_a_profiled_step_is_the_same_step(policy):
    batch, found = steps.batch("cnv", 10), []
    ways = (lambda trainer: trainer.step(*batch, 0.001), *(lambda t, way=way: way(t, *batch) for way in WATCHED))
    for make in ways:
        trainer = started("cnv", policy)
        for _ in range(2):
            make(trainer)
        found.append(trainer.model.state() | trainer.state)
    for key, array in found[0].items():
        for other in found[1:]:
            np.testing.assert_array_equal(array, other[key], err_msg=key)


WATCHED = (profile.whole, profile.singly)


@pytest.mark.parametrize("watched", WATCHED)
def test_nothing_is_left_behind(watched):
    trainer, plain = started("mlp", "int8"), programs.Program.run
    watched(trainer, *steps.batch("mlp", 10))
    assert programs.Program.run is plain
    assert "run" not in vars(trainer.recorded(10).program)


def test_time_is_divided_as_calls_take_it():
    def _float_product():
        pass

    calls = [Call("pack", (), "a", "forward"), Call("pack", (), "a", "update"), Call(_float_product, (), "", "loss")]
    step = profile.divided(calls, [1.0, 2.0, 1.0], 8.0, ["a"])
    assert step.kernels == {"pack": 6.0, "float_product": 2.0} and step.calls == {"pack": 2, "float_product": 1}
    assert step.layers["a"] == {"forward": 2.0, "backward": 0.0, "update": 4.0}
    assert step.layers[profile.LOSS] == {"forward": 2.0, "backward": 0.0, "update": 0.0}
    assert step.seconds == 8.0 and step.outside == 0.0


def test_profile_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "profile.json"
    options = ["--profile", "mlp", "--precision", "int8", "--batch-size", "10", "--threads", "1", "--json", str(path)]
    assert cli.main(["bench", *options]) == 0
    found = json.loads(path.read_text())
    assert found["network"] == "mlp"
    assert sum(found["kernels"].values()) + found["outside"] == pytest.approx(found["seconds"])
    out = capsys.readouterr().out
    assert "by kernel" in out and "by layer" in out and "adam_update" in out and out.count(profile.OUTSIDE) == 2


def test_the_drawing_shows_every_kernel_and_layer(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install bitlearn-xnor[plot]")
    path = tmp_path / "profile.svg"
    options = ["--profile", "mlp", "--batch-size", "10", "--threads", "1", "--plot", str(path)]
    assert cli.main(["bench", *options]) == 0
    text = path.read_text()
    assert "adam_update" in text and "linear5" in text and profile.OUTSIDE in text
    step = profile.Step(2.0, 0.5, {"pack": 1.5}, {"pack": 3}, {"a": dict.fromkeys(profile.PASSES, 0.5)})
    assert plot.draw(step, "title") == plot.draw(step, "title")
    assert tables.by_kernel(step)[0] == ("pack", "3", "1.5 s", "75.0 %")
    assert tables.by_layer(step)[-1] == (profile.OUTSIDE, "", "", "", "25.0 %")


def test_the_claims_take_what_is_not_in_kernels(monkeypatch):
    monkeypatch.setattr(profile, "started", started)
    monkeypatch.setattr(profile, "timed", lambda trainer, x, y, count: (4.0, 3.0))
    before = bl.get_num_threads()
    for claim in outside_kernels.CLAIMS:
        assert claim.measure().value == pytest.approx(25.0)
    assert bl.get_num_threads() == before
