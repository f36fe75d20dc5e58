"""NaN, infinity and exceptions of Python functions in a step: a layer's, a transform's; nothing is changed."""

from __future__ import annotations

import numpy as np
import pytest
import small
from recorded import bits
from test_nonfinite import POLICIES, trainer_and_data

from bitlearn import optim
from bitlearn.errors import NonFiniteError
from bitlearn.nn import (
    BatchNorm,
    BatchNormSign,
    BinaryLinear,
    Gradient,
    Layer,
    Linear,
    Model,
    ParameterGradient,
    Sign,
    Spec,
    Value,
)
from bitlearn.training import Trainer

#: The specification's NumPy warns of what is found a few calls later.
pytestmark = pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")


class Own(Layer):
    """Real values as they are, through Python functions; `harm` is what the backward pass does to its results."""

    kind = "own"

    def __init__(self):
        self.harm = {}

    def settings(self):
        return {}

    def infer(self, spec):
        return Spec.real(spec.shape)

    def build(self, seed):
        self.gain = np.ones(1, dtype=np.float32)
        self.mean = np.zeros(1, dtype=np.float32)

    def parameters(self):
        return {"gain": self.gain}

    def statistics(self):
        return {"mean": self.mean}

    def _copies(self, name):
        def copy(source, out):
            out[...] = source
            self.harm.get(name, lambda array: None)(out)

        return copy

    def forward(self, step, x):
        y = step.empty("Y", x.array.shape, np.float32)
        step.run(self._copies("forward"), x.array, y)
        return Value(step, self.output, y), None

    def predict(self, step, arrays, x):
        return self.forward(step, x)[0]

    def backward(self, step, cache, grad, *, wanted):
        one, gain = step.constant(np.ones(1, np.float32)), step.empty("dgain", (1,), np.float32)
        values, scale = step.empty("dX", grad.shape, grad.dtype), None
        step.run(self._copies("gain"), one, gain)
        step.run(self._copies("values"), grad.values, values)
        if not grad.is_real:
            scale = step.empty("scales", (1,), np.float64)
            step.run(self._copies("scale"), grad.scale, scale)
        step.commit(self._copies("statistics"), one, step.constant(self.mean))
        step.gradient("gain", ParameterGradient(gain))
        return Gradient(step, values, None) if grad.is_real else grad.with_values(values, scale)


def own_network(policy: str, *between: Layer) -> Model:
    layers = [BinaryLinear(9), *between, Own(), Sign(), BinaryLinear(7), BatchNormSign(), Linear(3)]
    return Model(layers, Spec.bits((33,)), precision=policy)


def fill(value):
    return lambda array: array.fill(value)


def refuse(array):
    raise ZeroDivisionError("a function's own")


HARM = {
    "gain": ("gain", (np.nan, np.inf), "standard int8 int4 low-memory"),
    "values": ("values", (np.nan, np.inf), "standard"),
    "scale": ("scale", (np.nan, np.inf, -np.inf), "int8 int4 low-memory"),
}


@pytest.mark.parametrize(
    ("name", "bad", "policy"), [(name, bad, p) for name, bads, ps in HARM.values() for bad in bads for p in ps.split()]
)
def test_what_a_function_of_a_layer_makes_of_gradients(name, bad, policy, rng):
    """The layers above have their gradients by then; none of them has been updated."""
    x, labels = bits(rng.normal(size=(8, 33))), rng.integers(0, 3, 8)
    trainer = Trainer(own_network(policy, BatchNorm()), optim.adam())
    trainer.step(x, labels, 0.01)
    layer, before = trainer.model["own1"], small.everything(trainer.model, trainer.state)
    layer.harm = {name: fill(bad)}
    where = "own1" if policy != "standard" or name == "gain" else "(norm|linear)1"
    with pytest.raises(NonFiniteError, match=f"^the gradient.* must be finite, .* in layer '{where}'$"):
        trainer.step(x, labels, 0.01)
    assert small.everything(trainer.model, trainer.state) == before and trainer.steps == 1
    layer.harm = {}
    assert np.isfinite(trainer.step(x, labels, 0.01))


@pytest.mark.parametrize("policy", ["int8", "int4", "low-memory"])
def test_a_scale_of_a_function_past_what_float32_holds(policy, rng):
    """It is finite itself, and makes infinity of the sums of a product below."""
    x, labels = bits(rng.normal(size=(8, 33))), rng.integers(0, 3, 8)
    trainer = Trainer(own_network(policy), optim.adam())
    trainer.step(x, labels, 0.01)  # the head begins with zeros
    trainer.model["own1"].harm = {"forward": lambda y: np.multiply(y, 0.01, out=y), "scale": fill(1e307)}
    before = small.everything(trainer.model, trainer.state)
    if policy == "low-memory":  # signs have no scale
        trainer.step(x, labels, 0.01)
    else:
        with pytest.raises(NonFiniteError, match=r"^the gradient of .* must be finite, .* in layer '\w+'$"):
            trainer.step(x, labels, 0.01)
        assert small.everything(trainer.model, trainer.state) == before
    assert all(np.isfinite(array).all() for array in (trainer.model.state() | trainer.state).values())


@pytest.mark.parametrize("name", ["gain", "statistics"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_function_of_a_layer_that_raises(policy, name, rng):
    x, labels = bits(rng.normal(size=(8, 33))), rng.integers(0, 3, 8)
    trainer = Trainer(own_network(policy, BatchNorm()), optim.adam())
    trainer.step(x, labels, 0.01)
    before = small.everything(trainer.model, trainer.state)
    trainer.model["own1"].harm = {name: refuse}
    with pytest.raises(ZeroDivisionError, match="a function's own"):
        trainer.step(x, labels, 0.01)
    assert small.everything(trainer.model, trainer.state) == before and trainer.steps == 1
    trainer.model["own1"].harm = {}
    trainer.step(x, labels, 0.01)
    assert trainer.model["own1"].mean == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, refuse])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("place", ["linear1.weight", "norm1.bias", "head1.weight"])
def test_a_transform(place, policy, bad):
    """Wherever it is in the order of the updates; the loop adds the step."""
    spoiling = []

    def transform(name, gradient, parameter):
        if name == place and spoiling:
            refuse(gradient) if bad is refuse else gradient.reshape(-1)[-1:].fill(bad)

    trainer, codes, labels = trainer_and_data(policy, (transform,))
    before = small.everything(trainer.model, trainer.state)
    spoiling.append(True)
    layer, _, parameter = place.rpartition(".")
    sentence = f"^what the transforms make of the gradient of {parameter} must be finite, .* in layer '{layer}'$"
    with pytest.raises(ZeroDivisionError) if bad is refuse else pytest.raises(NonFiniteError, match=sentence):
        trainer.step(codes[:8], labels[:8], 0.01)
    assert small.everything(trainer.model, trainer.state) == before and trainer.steps == 1
    spoiling.clear()
    assert np.isfinite(trainer.step(codes[:8], labels[:8], 0.01))
