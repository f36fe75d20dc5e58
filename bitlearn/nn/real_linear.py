"""Fully connected layers with real weights inside a network; the head that ends one stands in `head`."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.nn import reals
from bitlearn.nn.gradients import input_operand, weight_operand
from bitlearn.nn.layer import Arrays, register, uniform_weights
from bitlearn.nn.linear import FullyConnected
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.program import Array
from bitlearn.rng import Key
from bitlearn.safetensors import Types


@register
class RealLinear(FullyConnected):
    """A network's int8 input codes, or real values, times real weights with random initial values; without bias.

    Parameters
    ----------
    outputs : int

    Notes
    -----
    ``Y = X W^T``, for networks of real weights to compare binary ones with. The weights are float32 under every policy,
    and drawn uniformly with a standard deviation of ``1 / sqrt(inputs)``. Under an integer policy both are quantized
    for the products, as in `Conv2d`. A code ``c`` stands for ``c / 128``.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.RealLinear(1)], (2,))
    >>> model["linear1"].weight[...] = [[1.0, -0.5]]
    >>> model.apply(np.array([[64, 64]], dtype=np.int8))
    array([[0.25]], dtype=float32)
    """

    kind = "linear"

    def infer(self, spec: Spec) -> Spec:
        """Return real values of shape ``(outputs,)``."""
        if spec.kind not in ("codes", "real") or len(spec.shape) != 1:
            raise ValueError(f"a real linear layer must get rows of codes or real values, got {spec}")
        return Spec.real((self.outputs,))

    def build(self, seed: int) -> None:
        """Draw the weights, float32 under every policy."""
        self.weight = uniform_weights(self.weight_shape, np.dtype(np.float32), Key(seed, stream=self.index))

    def _forward(self, step: Step, x: Array, weight: Array) -> tuple[Value, Gradient]:
        """Record the product with weights (outputs, inputs); return it, and what went in."""
        values = reals.activations(step, x, self.spec, self.precision)
        across = reals.real_weights(step, reals.transposed(step, weight), self.precision, forward=True)
        y = step.empty("Y", (step.batch, self.outputs), np.float32)
        reals.product(step, values, across, y)
        return Value(step, self.output, y), values

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the product."""
        y, values = self._forward(step, x.array, step.constant(self.weight, "W"))
        return y, reals.kept(step, values, self.precision)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record dW, and dX of real values."""
        stream, operand = 2 * self.index, weight_operand(grad, self.precision, 2 * self.index)
        sums = step.empty("dW", self.weight.shape, np.float32 if operand.is_real else np.int64)
        reals.weight_product(step, operand.values, cache, False, sums)
        found = reals.weight_gradient(step, sums, operand, cache, self.inputs)
        # The update changes the weights, so the gradient of the input comes first.
        result = None
        if wanted and self.spec.kind == "real":
            weight = reals.real_weights(step, step.constant(self.weight, "W"), self.precision)
            grad, shape = input_operand(grad, self.precision, stream), (step.batch, self.inputs)
            result = reals.input_gradient(step, grad, weight, shape, self.precision)
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
        return self._forward(step, x.array, step.constant(arrays["weight"], "W"))[0]

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example."""
        return 0, self.outputs * self.inputs
