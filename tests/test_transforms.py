"""What stands between gradients and updates, against NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import small
from recorded import bits, passes

import bitlearn as bl
from bitlearn import optim
from bitlearn.training import Trainer

POLICIES = [*small.POLICIES, "int4"]
#: Moments of signs are float16, and those of what a transform makes of them float32, for that may be small.
WIDE = replace(bl.precision.policy("low-memory"), name="wide", moments=np.dtype(np.float32))
RATE = 0.25


def steps(policy: str, rule: str, transforms: tuple, count: int = 3) -> dict[str, bytes]:
    trainer = Trainer(small.model("mlp", policy), optim.OPTIMIZERS[rule](), transforms=transforms)
    data = small.examples("mlp", 8 * count)
    for i in range(0, 8 * count, 8):
        trainer.step(data.codes()[i : i + 8], data.y[i : i + 8], 0.01)
    return small.everything(trainer.model, trainer.state)


@pytest.mark.parametrize("rule", ["sgd", "adam", "bop"])
@pytest.mark.parametrize("policy", ["standard", "int8", "int4", WIDE], ids=str)
def test_a_transform_that_does_nothing_changes_nothing(policy, rule):
    assert steps(policy, rule, (lambda name, g, w: None,)) == steps(policy, rule, ())


def updated(policy: str, transform, rng):
    """Make one step of plain SGD; return the real gradients without the transform, and how far parameters moved."""
    model = small.model("mlp", policy)
    for name, array in model.parameters().items():
        array[...] = rng.normal(scale=0.5 if name.endswith("bias") else 0.8, size=array.shape)
    data, seen = small.examples("mlp", 8), {}

    def look(name, gradient, parameter):
        seen[name] = gradient.copy()
        assert parameter is not None and gradient.dtype == np.float32 and gradient.shape == parameter.shape

    before = {name: array.copy() for name, array in model.parameters().items()}
    trainer = Trainer(model, optim.sgd(momentum=0.0), transforms=(look, transform))
    trainer.step(data.codes(), data.y, RATE)
    moved = {name: (before[name].astype(np.float32), array) for name, array in model.parameters().items()}
    return seen, moved


def check(policy: str, transform, expected, rng) -> None:
    seen, moved = updated(policy, transform, rng)
    assert seen.keys() == moved.keys()
    changed = 0
    for name, (before, after) in moved.items():
        wanted = expected(name, seen[name].copy(), before)
        changed += not np.array_equal(wanted, seen[name])
        target = (before - np.float32(RATE) * wanted.astype(np.float32)).astype(after.dtype)
        slack = 2e-3 if after.dtype == np.float16 else 1e-6
        np.testing.assert_allclose(after, target, rtol=slack, atol=slack * 0.1, err_msg=name)
    assert changed


@pytest.mark.parametrize("policy", POLICIES)
def test_what_a_transform_sees_is_the_gradient(policy, rng):
    """Of the last layer: that of the loss times the layer's input, 0 where the straight-through estimator stops it."""
    model = small.model("mlp", policy)
    model["linear3"].weight.flat[::5] = 1.5
    data, seen = small.examples("mlp", 8), {}

    def keep(name, gradient, parameter):
        seen[name] = gradient.copy()

    Trainer(model, optim.sgd(), transforms=(keep,)).step(data.codes(), data.y, RATE)
    other = small.model("mlp", policy)
    other["linear3"].weight.flat[::5] = 1.5
    scores = passes(other.root, data.codes()).y
    grad = bl.nn.softmax_cross_entropy(scores, data.y)[1]
    width = other.precision.gradient_bits
    found = passes(other.root, data.codes(), grad if width is None else bl.quantize(grad, width), wanted=False)
    for name, each in found.parameters.items():
        weight = other.parameters()[name]
        wanted = each.real(weight)
        if each.values.dtype == np.uint64:
            wanted = wanted / np.sqrt(each.fan_in)
        np.testing.assert_allclose(seen[name], wanted, rtol=1e-6, err_msg=name)
    assert (seen["linear3.weight"].flat[::5] == 0).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_clip(policy, rng):
    check(policy, optim.clip(0.003), lambda name, g, w: np.clip(g, -0.003, 0.003), rng)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("policy", POLICIES)
def test_mask(policy, packed, rng):
    shapes = {name: array.shape for name, array in small.model("mlp", policy).parameters().items()}
    plain = {name: rng.random(shapes[name]) < 0.5 for name in ("linear2.weight", "sign1.bias")}
    masks = {name: bits(np.where(each, 1, -1)) for name, each in plain.items()} if packed else plain
    check(policy, optim.mask(masks), lambda name, g, w: g * plain.get(name, True), rng)


@pytest.mark.parametrize("policy", POLICIES)
def test_project(policy, rng):
    model = small.model("mlp", policy)
    bases = {}
    for name in ("linear1.weight", "linear2.weight"):
        fan_in = model.parameters()[name].shape[1]
        bases[name] = np.linalg.qr(rng.normal(size=(fan_in, 5)))[0].astype(np.float32)

    def expected(name, g, w):
        return g - g @ bases[name] @ bases[name].T if name in bases else g

    check(policy, optim.project(bases), expected, rng)
    seen, moved = updated(policy, optim.project(bases), rng)
    if policy != "low-memory":  # whose weights are float16
        for name, basis in bases.items():
            before, after = moved[name]
            assert np.abs((after - before) @ basis).max() < 1e-5 * max(np.abs(after - before).max(), 1)
    assert set(bases) < set(seen)


def test_project_takes_kernels_as_rows(rng):
    basis = np.linalg.qr(rng.normal(size=(2 * 3 * 4, 3)))[0]
    gradient = rng.normal(size=(5, 2, 3, 4)).astype(np.float32)
    rows = gradient.reshape(5, -1).astype(np.float64)
    optim.project({"conv1.weight": basis})("conv1.weight", gradient, gradient)
    np.testing.assert_allclose(gradient.reshape(5, -1), rows - rows @ basis @ basis.T, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("policy", POLICIES)
def test_penalise(policy, rng):
    anchors = {
        name: rng.normal(size=array.shape).astype(np.float32)
        for name, array in small.model("mlp", policy).parameters().items()
        if name.endswith("weight")
    }
    check(
        policy,
        optim.penalise(anchors, 0.125),
        lambda name, g, w: g + 0.125 * (w - anchors[name]) if name in anchors else g,
        rng,
    )
    strengths = {name: rng.uniform(0, 1, size=array.shape) for name, array in anchors.items()}
    check(
        policy,
        optim.penalise(anchors, strengths),
        lambda name, g, w: g + strengths[name] * (w - anchors[name]) if name in anchors else g,
        rng,
    )


def test_transforms_run_in_their_order(rng):
    first, second = [], []

    def double(name, gradient, parameter):
        first.append(gradient.copy())
        gradient *= 2

    def look(name, gradient, parameter):
        second.append(gradient.copy())

    data = small.examples("mlp", 8)
    trainer = Trainer(small.model("mlp", "int8"), optim.sgd(), transforms=(double, look))
    trainer.step(data.codes(), data.y, 0.1)
    assert len(first) == len(trainer.parameters)
    for before, after in zip(first, second, strict=True):
        np.testing.assert_array_equal(after, 2 * before)


def test_a_transform_that_raises_is_heard(rng):
    def refuse(name, gradient, parameter):
        raise RuntimeError(f"no update of {name}")

    data = small.examples("mlp", 8)
    trainer = Trainer(small.model("mlp", "standard"), optim.sgd(), transforms=(refuse,))
    before = small.everything(trainer.model, trainer.state)
    with pytest.raises(RuntimeError, match=r"no update of norm1\.bias"):
        trainer.step(data.codes(), data.y, 0.1)
    assert small.everything(trainer.model, trainer.state) == before and trainer.steps == 0


def test_wrong_arguments():
    for magnitude in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="magnitude must be above 0"):
            optim.clip(magnitude)
