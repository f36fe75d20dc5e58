"""One layer, or several in a row, recorded and run on given arrays: what they give forward and backward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import bitlearn as bl
from bitlearn import streams
from bitlearn.nn import Gradient, Layer, Savings, Spec, Step, Value
from bitlearn.nn.step import training_key
from bitlearn.ops.quantized import Quantized
from bitlearn.precision import Precision, policy
from bitlearn.program import Program


@dataclass(frozen=True)
class Parameter:
    """The gradient of a parameter as a step leaves it."""

    values: np.ndarray
    scale: np.ndarray | None
    clip: float
    fan_in: int

    def real(self, weight: np.ndarray) -> np.ndarray:
        """Return what it stands for, in float64: signs as ±1, and 0 where the straight-through estimator stops it."""
        if self.values.dtype == np.uint64:
            values = bl.unpack(self.values, weight.shape[-1]).astype(np.float64)
        elif self.scale is None:
            values = self.values.astype(np.float64)
        else:
            values = self.values * self.scale.reshape(-1, *[1] * (weight.ndim - 1))
        return np.where(np.abs(weight) <= self.clip, values, 0)


@dataclass(frozen=True)
class Passes:
    """What a forward and a backward pass give; float32 gradients are arrays, integers have their scale with them."""

    y: bl.Bits | np.ndarray
    dx: np.ndarray | Quantized | None
    parameters: dict[str, Parameter]
    program: Program


def bound(layer: Layer, spec: Spec, precision: str | Precision = "standard", *, seed: int = 3, index: int = 0) -> Layer:
    """Return a layer that is bound and built, as a network would."""
    layer.bind(spec, policy(precision), index)
    for _, leaf in layer.leaves():
        leaf.build(seed)
    return layer


def sums(shape: tuple[int, ...], dtype=np.int16, unit: float = 1.0) -> Spec:
    """Return the type of integer sums."""
    return Spec(shape, "sums", np.dtype(dtype), unit)


def passes(
    layer: Layer,
    x,
    grad=None,
    *,
    wanted: bool = True,
    seed: int = 0,
    number: int = 0,
    savings: Savings = Savings(),  # noqa: B008 - it never changes
) -> Passes:
    """Record a forward pass of a bound layer, and a backward pass where there is a gradient; run both once."""
    step, spec = Step(len(x), savings=savings), layer.spec
    into = step.input("X", spec.array_shape(len(x)), spec.dtype)
    y, cache = layer.forward(step, Value(step, spec, into))
    out, dx = step.keep(y.array), None
    if grad is not None:
        given = grad.values if isinstance(grad, Quantized) else np.asarray(grad, dtype=np.float32)
        scale = step.constant(np.array([float(grad.scale)])) if isinstance(grad, Quantized) else None
        back = step.input("dY", given.shape, given.dtype)
        step.phase = "backward"
        dx = layer.backward(step, cache, Gradient(step, back, scale), wanted=wanted)
    if dx is not None:
        values, worth = step.keep(dx.values), step.keep(dx.scale)
    step.finish()
    program = Program(step)
    program[into][...] = x.words if isinstance(x, bl.Bits) else x
    if grad is not None:
        program[back][...] = given
    for key, stream in step.keys:
        key.outside()[...] = training_key(seed, number, streams.ROUNDING + stream)
    program.run()
    found = program[out].copy()
    if dx is not None:
        codes = program[values].copy()
        dx = codes if dx.is_real else Quantized(codes, float(program[worth][0]), 0, layer.precision.gradient_bits)
    parameters = {
        name: Parameter(
            program[each.values].copy(),
            None if each.scale is None else program[each.scale].copy(),
            each.clip,
            each.fan_in,
        )
        for name, each in step.gradients.items()
    }
    return Passes(bl.Bits(found, y.spec.channels) if y.spec.kind == "bits" else found, dx, parameters, program)


def inferred(layer: Layer, x, batch_size: int = 1000):
    """Return what a layer without layers inside gives in inference."""
    return bl.nn.Frozen(layer, layer.inference()).apply(x, batch_size=batch_size)


def bits(plain: np.ndarray) -> bl.Bits:
    """Return ±1 values (or the signs of real ones) packed."""
    return bl.Bits(bl.pack(plain), plain.shape[-1])


def gradient(rng: np.random.Generator, precision: str | Precision, *shape: int, scale: float = 0.25):
    """Return a random gradient in the form that a policy has between its layers."""
    width = policy(precision).gradient_bits
    if width is None:
        return rng.normal(size=shape).astype(np.float32)
    limit = 2 ** (width - 1) - 1
    kind = np.int8 if width <= 8 else np.int16
    return Quantized(rng.integers(-limit, limit + 1, size=shape).astype(kind), scale, 0, width)


def real(grad: np.ndarray | Quantized) -> np.ndarray:
    """Return what a gradient stands for, in float64."""
    if isinstance(grad, Quantized):
        return grad.values.astype(np.float64) * float(grad.scale)
    return np.asarray(grad, dtype=np.float64)


def one_loss(loss, scores, labels, **given):
    """Return the value and the gradient of a loss on some scores."""
    step, shape = Step(len(scores)), scores.shape
    x, y = step.input("scores", shape, np.float32), step.input("labels", (shape[0],), np.int64)
    arrays = {name: step.input(name, array.shape, array.dtype) for name, array in given.items()}
    gradient, terms = loss.record(step, Value(step, Spec.real(shape[1:]), x), y, **arrays)
    step.keep(gradient)
    program = Program(step)
    program[x][...], program[y][...] = scores, labels
    for name, array in given.items():
        program[arrays[name]][...] = array
    program.run()
    return loss.value(program, terms), program[gradient].copy()
