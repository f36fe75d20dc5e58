"""The head that ends a network: real weights on bits or real values, with more outputs as classes come."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn import reals
from bitlearn.nn.gradients import input_operand, sums_type, weight_operand
from bitlearn.nn.layer import register
from bitlearn.nn.real_linear import RealLinear
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.program import Array


@register
class Linear(RealLinear):
    """A layer of real weights on packed ±1 inputs or real values, without bias: a classifier.

    Parameters
    ----------
    outputs : int
    drawn : bool
        Start with random weights, as `RealLinear` does, instead of at zero. Such a head also takes input codes.

    Notes
    -----
    The head of arXiv 2308.15308 and 2401.09916, whose rows CWR* consolidates. ``Y = X W^T`` in float32. Under an
    integer policy the weights are quantized for both products, to the width of the gradient between the layers, and
    real values to 8 bits, with one scale per example. A policy with `forward_bits` sets the width in the forward
    product.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.Linear(1)], bl.nn.Spec.bits((3,)), precision="low-memory")
    >>> model["head1"].weight[...] = [[1.0, 2.0, 4.0]]
    >>> model.apply(bl.Bits(bl.pack([[1, 1, -1]]), 3)).round(3)
    array([[-1.]], dtype=float32)
    """

    kind = "head"

    def __init__(self, outputs: int, *, drawn: bool = False):
        super().__init__(outputs)
        self.drawn = bool(drawn)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().settings() | ({"drawn": True} if self.drawn else {})

    def infer(self, spec: Spec) -> Spec:
        """Return real values of shape ``(outputs,)``."""
        kinds = ("bits", "real", "codes") if self.drawn else ("bits", "real")
        if spec.kind not in kinds or len(spec.shape) != 1:
            raise ValueError(f"a linear head must get rows of bits or real values, got {spec}")
        return Spec.real((self.outputs,))

    def build(self, seed: int) -> None:
        """Start at zero, or with random weights; float32 under every policy."""
        if self.drawn:
            super().build(seed)
        else:
            self.weight = np.zeros(self.weight_shape, dtype=np.float32)

    def grow(self, outputs: int) -> None:
        """Add outputs whose weights are 0: see `Model.grow <bitlearn.nn.Model.grow>`."""
        if outputs < self.outputs:
            raise ValueError(f"outputs must be at least the {self.outputs} that a head has, got {outputs}")
        weight = np.zeros((outputs, self.inputs), dtype=np.float32)
        weight[: self.outputs] = self.weight
        self.outputs, self.weight = outputs, weight

    def _result(self, step: Step, x: Array, weight: Array) -> tuple[Value, Any]:
        """Record the scores; return them, and the values or bits that they come from."""
        if self.spec.kind != "bits":
            return super()._result(step, x, weight)
        y = step.empty("Y", (step.batch, self.outputs), np.float32)
        operand = reals.real_weights(step, weight, self.precision, forward=True)
        # The bits are packed along the axis that is summed over, so the product is that of the weights with their
        # transpose: (outputs, inputs) times (inputs, batch).
        turned = step.empty("scratch", (self.inputs, words_for(step.batch)), WORD)
        sums = step.empty("Y", (self.outputs, step.batch), sums_type(operand.dtype))
        step.run("transpose_bits", x, self.inputs, turned)
        step.run("grad_input", operand.values, turned, step.batch, sums)
        step.run("scaled_transpose", sums, operand.scale, y)
        return Value(step, self.output, y), x

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the scores."""
        if self.spec.kind != "bits":
            return super().forward(step, x)
        return self._result(step, x.array, step.constant(self.weight, "W"))

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the full dW, and dX."""
        grad = grad.kept()
        if self.spec.kind != "bits":
            return super().backward(step, cache, grad, wanted=wanted)
        stream, operand = 2 * self.index, weight_operand(grad, self.precision, 2 * self.index)
        sums = step.empty("dW", self.weight.shape, sums_type(operand.dtype))
        step.run("grad_weight", operand.values, cache, self.inputs, 0, False, sums)
        found = ParameterGradient(sums, None if operand.is_real else operand.scale, fan_in=self.inputs)
        # The update changes the weights, so the gradient of the input comes first.
        result = None
        if wanted:
            weight = reals.real_weights(step, step.constant(self.weight, "W"), self.precision)
            grad, shape = input_operand(grad, self.precision, stream), (step.batch, self.inputs)
            result = reals.input_gradient(step, grad, weight, shape, self.precision)
        step.gradient("weight", found)
        return result
