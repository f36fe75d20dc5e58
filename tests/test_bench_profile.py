"""The profile of a training step: its parts sum to the step, it finds what ran, and leaves nothing behind."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import cli
from bitlearn.backends import KERNELS
from bitlearn.bench import steps
from bitlearn.bench.claims import outside_kernels
from bitlearn.bench.steps import plot, profile, roofline, tables
from bitlearn.ops import programs
from bitlearn.program import Call, Recorder
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
    assert {"pack_finite", product} <= {name.removeprefix("conv2d_") for name in step.kernels}
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
    assert set(found["roofs"]) == set(found["kernels"]) and all(each["least"] > 0 for each in found["roofs"].values())
    assert "by kernel" in out and "by layer" in out and "adam_update" in out and out.count(profile.OUTSIDE) == 2


def test_the_drawing_shows_every_kernel_and_layer(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install bitlearn-xnor[plot]")
    path = tmp_path / "profile.svg"
    options = ["--profile", "mlp", "--batch-size", "10", "--threads", "1", "--plot", str(path)]
    assert cli.main(["bench", *options]) == 0
    text = path.read_text()
    assert "adam_update" in text and "linear5" in text and profile.OUTSIDE in text
    roof = {"moved": 2**21, "products": 0.0, "least": 0.75, "limit": "memory"}
    layers = {"a": dict.fromkeys(profile.PASSES, 0.5)}
    step = profile.Step(2.0, 0.5, {"pack": 1.5}, {"pack": 3}, layers, {"pack": roof})
    assert plot.draw(step, "title") == plot.draw(step, "title") and "at least" in text
    assert tables.by_kernel(step)[0] == ("pack", "3", "1.5 s", "75.0 %", "2.0 MiB", "", "memory", "0.50")
    assert tables.by_layer(step)[-1] == (profile.OUTSIDE, "", "", "", "25.0 %")


def test_a_roof_is_the_longer_of_moving_and_multiplying():
    trainer = profile.started("mlp", "int8")
    program = trainer.recorded(10).program
    roofs = roofline.Roofs(((4096, 1e9), (float("inf"), 1e6)), {"bit": 1e6, "add int32": 1e15})
    found = roofline.of_program(program, roofs)
    # The first layer of mlp has codes: those behind it multiply bits with bits.
    leaves = [layer for _, layer in trainer.model.root.leaves() if isinstance(layer, bl.nn.BinaryLinear)]
    bits = 10 * sum(layer.weight.size for layer in leaves[1:])
    product = next(name for name in found if name.startswith("xnor_matmul"))
    assert found[product]["products"] == bits and found[product]["limit"] == "ports"
    assert found[product]["least"] == pytest.approx(bits / 1e6)
    names = [name for name in found if name.removesuffix("_sign") in ("grad_weight", "grad_input")]
    gradients = sum(found[name]["products"] for name in names)
    # Both gradients of each of these layers; the first one's codes are multiplied with its bits as a gradient would be.
    assert gradients == 2 * bits + 10 * leaves[0].weight.size
    update = found["adam_update"]
    assert update["limit"] == "memory" and update["products"] == 0
    moved = sum(array.nbytes for call in program.calls if call.name == "adam_update" for array in call.moved())
    assert update["moved"] == moved and moved / 1e9 < update["least"] <= moved / 1e6
    # An array that is changed is moved twice, and takes its room once.
    inside = Recorder()
    values, sums = inside.input("x", (4, 256), np.float32), inside.input("y", (4, 256), np.float32)
    inside.run("copy", values, sums)
    assert roofs.seconds(inside.calls[0]) == (pytest.approx(8192 / 1e6), 0.0)


def test_what_is_far_below_its_roof_is_named_with_the_reason():
    roofs = {
        name: {"moved": 1, "products": 0.0, "least": least, "limit": "memory"}
        for name, least in (("adam_update", 0.4), ("copy", 0.9), ("peaks", 0.0), ("mystery", 0.1))
    }
    kernels = {"adam_update": 1.0, "copy": 1.0, "peaks": 0.001, "mystery": 1.0}
    calls = dict.fromkeys(kernels, 1) | {"mystery": 10**6}
    step = profile.Step(3.1, 0.1, kernels, calls, {}, roofs)
    assert tables.below(step) == [
        "adam_update reaches 0.40 of its roof: a root and a division for each value",
        "mystery reaches 0.10 of its roof: short calls",
    ]
    assert not set(roofline.REASONS) - set(KERNELS)


def test_a_machine_is_measured():
    found = roofline.measured(1)
    sizes, rates = zip(*found.moves, strict=True)
    assert list(sizes) == sorted(sizes) and sizes[-1] == float("inf") and min(rates) > 0
    assert set(found.products) <= {"bit", "add int32"} and all(rate > 0 for rate in found.products.values())


def test_the_claims_take_what_is_not_in_kernels(monkeypatch):
    monkeypatch.setattr(profile, "started", started)
    monkeypatch.setattr(profile, "timed", lambda trainer, x, y, count: (4.0, 3.0))
    before = bl.get_num_threads()
    for claim in outside_kernels.CLAIMS:
        assert claim.measure().value == pytest.approx(25.0)
    assert bl.get_num_threads() == before
