"""Fully connected layers with real weights inside a network; the head that ends one stands in `head`."""

from __future__ import annotations

import numpy as np

from bitlearn.nn import reals
from bitlearn.nn.layer import register
from bitlearn.nn.linear import FullyConnected
from bitlearn.nn.real_weights import RealWeights
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.program import Array


@register
class RealLinear(FullyConnected, RealWeights):
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

    def _result(self, step: Step, x: Array, weight: Array) -> tuple[Value, Gradient]:
        """Record the product with weights (outputs, inputs); return it, and what went in."""
        values = reals.activations(step, x, self.spec, self.precision)
        across = reals.real_weights(step, reals.transposed(step, weight), self.precision, forward=True)
        y = step.empty("Y", (step.batch, self.outputs), np.float32)
        reals.product(step, values, across, y)
        return Value(step, self.output, y), values

    def _weight_sums(self, step: Step, grad: Gradient, x: Gradient) -> Array:
        """Record what a gradient and the inputs give for the weights."""
        sums = step.empty("dW", self.weight_shape, np.float32 if grad.is_real else np.int64)
        reals.weight_product(step, grad.values, x, False, sums)
        return sums

    def _input_gradient(self, step: Step, grad: Gradient, weight: Array) -> Gradient:
        """Record the gradient of real values, with weights (outputs, inputs)."""
        codes = reals.real_weights(step, weight, self.precision)
        return reals.input_gradient(step, grad, codes, (step.batch, self.inputs), self.precision)

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example."""
        return 0, self.outputs * self.inputs
