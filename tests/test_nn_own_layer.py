"""A layer of a user's own, in NumPy: recorded, trained, saved, split, frozen, and counted in memory like the others."""

from __future__ import annotations

import numpy as np
import pytest
import small
from recorded import bound, gradient, inferred, passes, real

import bitlearn as bl
from bitlearn import optim
from bitlearn.memory.recorded import by_variable
from bitlearn.nn import (
    BatchNorm,
    BinaryLinear,
    Gradient,
    Layer,
    Linear,
    Model,
    ParameterGradient,
    Residual,
    Sign,
    Spec,
    Value,
)
from bitlearn.nn.gradients import quantized
from bitlearn.nn.layer import REGISTERED, register
from bitlearn.training import Trainer

POLICIES = ["standard", "int8", "low-memory", "int4"]


def _times(x: np.ndarray, gain: np.ndarray, out: np.ndarray) -> None:
    np.multiply(x, gain, out=out)


def _gain_gradient(d: np.ndarray, scale: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    out[...] = (d * scale * x).sum(axis=tuple(range(d.ndim - 1)))


def _input_gradient(d: np.ndarray, scale: np.ndarray, gain: np.ndarray, out: np.ndarray) -> None:
    out[...] = d * scale * gain


def _mean(x: np.ndarray, running: np.ndarray) -> None:
    running += np.float32(0.1) * (x.reshape(-1, x.shape[-1]).mean(axis=0) - running)


@register
class Gain(Layer):
    """``y = gain * x`` with a gain a channel, and a running mean of x for whoever wants it."""

    kind = "gain"

    def __init__(self, start: float = 1.0):
        self.start = start

    def settings(self):
        return {"start": self.start}

    def infer(self, spec):
        if spec.kind != "real":
            raise ValueError(f"a gain must get real values, got {spec}")
        return spec

    def build(self, seed):
        self.gain = np.full(self.spec.channels, self.start, dtype=np.float32)
        self.mean = np.zeros(self.spec.channels, dtype=np.float32)

    def parameters(self):
        return {"gain": self.gain}

    def statistics(self):
        return {"mean": self.mean}

    def _product(self, step, x, gain):
        y = step.empty("Y", x.shape, np.float32)
        step.run(_times, x, step.constant(gain, "gain"), y)
        return Value(step, self.output, y)

    def forward(self, step, x):
        return self._product(step, x.array, self.gain), x.array

    def backward(self, step, cache, grad, *, wanted):
        dx, dgain = step.empty("dX", grad.shape, np.float32), step.empty("dgain", self.gain.shape, np.float32)
        values = grad.values
        step.run(_gain_gradient, values, grad.scale, cache, dgain)
        step.run(_input_gradient, values, grad.scale, step.constant(self.gain), dx)
        step.commit(_mean, cache, step.constant(self.mean))
        step.gradient("gain", ParameterGradient(dgain))
        if not wanted:
            return None
        return Gradient(step, dx, None) if grad.is_real else quantized(step, dx, self.precision.gradient_bits)

    def inference(self):
        return {"gain": self.gain.copy()}

    def inference_types(self):
        return {"gain": ((self.spec.channels,), np.dtype(np.float32))}

    def predict(self, step, arrays, x):
        return self._product(step, x.array, arrays["gain"])

    def operations(self):
        return 0, self.spec.size


def network(policy: str, start: float = 1.0) -> Model:
    block = Residual([Sign(), BinaryLinear(33), BatchNorm(), Gain(start)], [Gain(start)])
    return Model([BinaryLinear(33), BatchNorm(), block, Sign(), Linear(small.CLASSES)], (35,), precision=policy, seed=3)


def data(count: int):
    found = small.examples("mlp", count)
    return found.codes().reshape(count, -1), found.y


@pytest.mark.parametrize("policy", POLICIES)
def test_alone(policy, rng):
    layer, x = bound(Gain(), Spec.real((3, 5)), policy), rng.normal(size=(7, 3, 5)).astype(np.float32)
    layer.gain[...] = rng.normal(size=5)
    g = gradient(rng, policy, 7, 3, 5)
    found = passes(layer, x, g)
    np.testing.assert_array_equal(found.y, x * layer.gain)
    np.testing.assert_array_equal(inferred(layer, x), x * layer.gain)
    np.testing.assert_allclose(found.parameters["gain"].values, (real(g) * x).sum(axis=(0, 1)), rtol=1e-5)
    slack = 0 if policy == "standard" else 0.51 * found.dx.scale
    np.testing.assert_allclose(real(found.dx), real(g) * layer.gain, rtol=1e-5, atol=slack)
    np.testing.assert_allclose(layer.mean, 0.1 * x.mean(axis=(0, 1)), rtol=1e-5, atol=1e-7)


def test_an_update_of_its_parameter_is_that_of_the_formula():
    """As the last layer of a network, where the gradient is that of the loss."""
    model = Model([BinaryLinear(small.CLASSES), BatchNorm(), Gain(0.5)], (35,), seed=3)
    codes, labels = data(16)
    x = passes(Model([BinaryLinear(small.CLASSES), BatchNorm()], (35,), seed=3).root, codes).y
    grad = bl.nn.softmax_cross_entropy(np.float32(0.5) * x, labels)[1]
    Trainer(model, optim.sgd(momentum=0.0)).step(codes, labels, 2.0)
    np.testing.assert_allclose(model["gain1"].gain, 0.5 - 2.0 * (grad * x).sum(axis=0), rtol=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
def test_in_a_network(policy):
    """It learns; a gain of 1 that is not trained changes nothing but rounding; and saved it comes back."""
    model, (codes, labels) = network(policy), data(64)
    assert "residual1.main.gain1" in model.names and "residual1.shortcut.gain1.mean" in model.state()
    assert "Gain(start=1.0)" in repr(model)
    assert model.summary().rows[5] == ("residual1.main.gain1", "Gain", "(33,)", 33, "32", 132, 0, 33)
    assert not any("gain" in name for name in model.binary_parameters())
    trainer = Trainer(model, optim.adam())
    losses = [trainer.step(codes, labels, 0.02) for _ in range(25)]
    assert losses[-1] < 0.5 * losses[0]
    for name, array in model.state().items():
        if "gain1" in name:
            assert (array != 1).all() and np.isfinite(array).all(), name
    np.testing.assert_array_equal(model.freeze().scores(codes), model.scores(codes))


@pytest.mark.parametrize("policy", POLICIES)
def test_saved_and_loaded(policy, tmp_path):
    model, (codes, labels) = network(policy, 0.75), data(16)
    Trainer(model, optim.adam()).step(codes, labels, 0.02)
    for made in (model, model.freeze()):
        bl.save(made, tmp_path / "network.safetensors")
        loaded = bl.load(tmp_path / "network.safetensors")
        np.testing.assert_array_equal(loaded.scores(codes), model.scores(codes))
    bl.save(model, tmp_path / "network.safetensors")
    loaded = bl.load(tmp_path / "network.safetensors")
    assert small.everything(loaded) == small.everything(model)
    assert loaded["residual1.shortcut.gain1"].start == 0.75
    losses = [Trainer(each, optim.adam()).step(codes, labels, 0.02) for each in (model, loaded)]
    assert losses[0] == losses[1] and small.everything(loaded) == small.everything(model)


def test_a_layer_that_is_not_registered_is_not_loaded(tmp_path, monkeypatch):
    bl.save(network("int8"), tmp_path / "network.safetensors")
    monkeypatch.delitem(REGISTERED, "Gain")
    with pytest.raises(ValueError, match="must name known layers, got 'Gain'"):
        bl.load(tmp_path / "network.safetensors")


def test_a_name_that_is_taken():
    with pytest.raises(ValueError, match="a layer must have a name of its own, got 'Sign', which is taken"):
        register(type("Sign", (Gain,), {}))
    assert register(Gain) is Gain


def test_its_arrays_count_in_memory():
    with_gain = by_variable(network("int8"), optim.adam(), 16)
    assert with_gain["gain"] == 2 * 33 * 4 and with_gain["dgain"] == 2 * 33 * 4  # kept to the end
    model = network("int8")
    without = Model(
        [
            BinaryLinear(33),
            BatchNorm(),
            Residual([Sign(), BinaryLinear(33), BatchNorm()]),
            Sign(),
            Linear(small.CLASSES),
        ],
        (35,),
        precision="int8",
    )
    assert with_gain["momenta"] - by_variable(without, optim.adam(), 16)["momenta"] == 2 * 2 * 33 * 4
    trainer = Trainer(model, optim.adam())
    names = {buffer.path for buffer in trainer.record(16).program.buffers if buffer.name == "dgain"}
    assert names == {"residual1.main.gain1", "residual1.shortcut.gain1"}


def test_a_wrong_place():
    with pytest.raises(ValueError, match="layer 'gain1' cannot follow 'linear1': a gain must get real values, got"):
        Model([BinaryLinear(4), Gain()], (5,))
