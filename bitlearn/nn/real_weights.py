"""What layers with real weights share: how these are drawn, and in which order gradients are recorded."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np

from bitlearn.nn import reals
from bitlearn.nn.gradients import input_operand, weight_operand
from bitlearn.nn.layer import Arrays, Layer, uniform_weights
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.program import Array
from bitlearn.rng import Key
from bitlearn.safetensors import Types


class RealWeights(Layer):
    """A layer of input codes, or of real values, with real weights: float32 under every policy."""

    weight: np.ndarray
    mixes = True

    @property
    @abstractmethod
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of the weights, those of one output in a row of the first axis."""

    @property
    def fan_in(self) -> int:
        """How many weights feed one result."""
        return math.prod(self.weight_shape[1:])

    def build(self, seed: int) -> None:
        """Draw the weights, float32 under every policy."""
        self.weight = uniform_weights(self.weight_shape, np.dtype(np.float32), Key(seed, stream=self.index))

    def parameters(self) -> Arrays:
        """Return the weights."""
        return {"weight": self.weight}

    def state_types(self) -> Types:
        """Return the type of the weights."""
        return {"weight": (self.weight_shape, np.dtype(np.float32))}

    @abstractmethod
    def _result(self, step: Step, x: Array, weight: Array) -> tuple[Value, Gradient]:
        """Record the result with some weights; return it, and what went into the product."""

    @abstractmethod
    def _weight_sums(self, step: Step, grad: Gradient, x: Gradient) -> Array:
        """Record the sums that give the gradient of the weights."""

    @abstractmethod
    def _input_gradient(self, step: Step, grad: Gradient, weight: Array) -> Gradient:
        """Record the gradient of real values that flowed in, with some weights."""

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the product."""
        y, values = self._result(step, x.array, step.constant(self.weight, "W"))
        return y, reals.kept(step, values, self.precision)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record dW, and dX of real values."""
        stream, x = 2 * self.index, cache
        operand = weight_operand(grad, self.precision, stream)
        found, result = reals.weight_gradient(step, self._weight_sums(step, operand, x), operand, x, self.fan_in), None
        # The update changes the weights, so the gradient of the input comes first.
        if wanted and self.spec.kind == "real":
            weight = step.constant(self.weight, "W")
            result = self._input_gradient(step, input_operand(grad, self.precision, stream), weight)
        step.gradient("weight", found)
        return result

    def inference(self) -> Arrays:
        """Return the weights."""
        return {"weight": self.weight.copy()}

    def inference_types(self) -> Types:
        """Return the type of the weights."""
        return {"weight": (self.weight_shape, np.dtype(np.float32))}

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the product."""
        return self._result(step, x.array, step.constant(arrays["weight"], "W"))[0]
