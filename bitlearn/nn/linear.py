"""Fully connected layers: packed bits or input codes times binary weights, and the real-weighted head."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn.gradients import input_gradient, input_operand, quantized, requantized, sums_type, weight_operand
from bitlearn.nn.layer import Arrays, Layer, check_tail, register, uniform_weights, whole
from bitlearn.nn.products import Operand, packed
from bitlearn.nn.spec import Spec, sum_type
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.nn.value import Gradient, Product, Value
from bitlearn.nn.weights import binary_weight_gradient, code_weight_gradient
from bitlearn.ops.packing import pack
from bitlearn.program import Array
from bitlearn.rng import Key
from bitlearn.safetensors import Types


class FullyConnected(Layer):
    """What the fully connected layers share: a matrix of weights (outputs, inputs)."""

    weight: np.ndarray

    def __init__(self, outputs: int):
        self.outputs = whole("outputs", outputs)

    @property
    def inputs(self) -> int:
        """How many values an example has."""
        return self.spec.shape[0]

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``(outputs, inputs)``."""
        return self.outputs, self.inputs

    def parameters(self) -> Arrays:
        """Return the weights, shape (outputs, inputs)."""
        return {"weight": self.weight}

    def state_types(self) -> Types:
        """Return the type of the weights."""
        return {"weight": (self.weight_shape, self.precision.latent if self.binary else np.dtype(np.float32))}

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"outputs": self.outputs}


@register
class BinaryLinear(FullyConnected):
    """Packed ±1 inputs, or the int8 codes of a network's input, times the signs of latent weights.

    Parameters
    ----------
    outputs : int

    Notes
    -----
    Forward ``Y = X sgn(W)^T``, exact integers. Backward ``dX = dY sgn(W)`` and ``dW = dY^T X``, masked where
    ``|W| > 1`` (straight-through estimator). The latent weights are never clipped. A code ``c`` stands for ``c / 128``:
    then the result is in units of 1/128, and no gradient of the input exists.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.BinaryLinear(2)], bl.nn.Spec.bits((3,)))
    >>> model["linear1"].weight[...] = [[0.5, -0.5, 0.1], [-1.0, 1.0, 1.0]]
    >>> model.apply(bl.Bits(bl.pack([[1, 1, -1]]), 3))
    array([[-1, -1]], dtype=int16)
    """

    kind = "linear"
    binary = ("weight",)

    def infer(self, spec: Spec) -> Spec:
        """Return sums of shape ``(outputs,)``."""
        if spec.kind not in ("bits", "codes") or len(spec.shape) != 1:
            raise ValueError(f"a binary linear layer must get rows of bits or codes, got {spec}")
        kind = np.dtype(np.int32) if spec.kind == "codes" else sum_type(spec.shape[0])
        return Spec((self.outputs,), "sums", kind, spec.unit)

    def build(self, seed: int) -> None:
        """Draw the latent weights."""
        self.weight = uniform_weights(self.weight_shape, self.precision.latent, Key(seed, stream=self.index))

    def _product(self, step: Step, x: Array, words: Array) -> tuple[Value, Operand]:
        operand, n = Operand(step, words), self.inputs
        if self.spec.kind == "codes":
            turned = step.prepared("transpose_bits", "packed W", (n, words_for(self.outputs)), WORD, words, n)

            def of_codes(some: slice, out: Array) -> None:
                step.run("grad_input", x[some], turned, self.outputs, out)

            return Product(step, self.output, of_codes), operand

        def write(some: slice, out: Array) -> None:
            operand.matmul(x[some], n, (), out)

        def write_signs(thresholds: Array, out: Array) -> None:
            operand.matmul(x, n, (thresholds,), out)

        return Product(step, self.output, write, write_signs), operand

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the product with the signs of the weights."""
        words = packed(step, self.weight, self.outputs)
        inputs = x.array
        return self._product(step, inputs, words)[0], (inputs, words)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record dW, and dX of bits."""
        (x, words), shape, stream = cache, self.weight.shape, 2 * self.index
        operand = weight_operand(grad, self.precision, stream)
        if self.spec.kind == "codes":

            def of_codes(first: int, out: Array) -> None:
                code_product(step, operand.values, x, first, False, out)

            step.gradient(
                "weight", code_weight_gradient(step, operand, shape, self.precision, self.spec.unit, of_codes)
            )
            return None

        def values(out: Array) -> None:
            step.run("grad_weight", operand.values, x, self.inputs, 0, False, out)

        def signs(thresholds: Array, mask: Array, out: Array) -> None:
            step.run("grad_weight_sign", operand.values, x, self.inputs, 0, thresholds, mask, out)

        step.gradient("weight", binary_weight_gradient(step, operand, shape, self.precision, values, signs))
        if not wanted:
            return None
        operand = input_operand(grad, self.precision, stream)

        def product(some: slice, out: Array) -> None:
            step.run("grad_input", operand.values[some], words, self.inputs, out)

        return input_gradient(operand, (step.batch, self.inputs), self.precision, product)

    def inference(self) -> Arrays:
        """Return the packed signs of the weights."""
        return {"words": pack(self.weight)}

    def inference_types(self) -> Types:
        """Return the type of the words."""
        return {"words": ((self.outputs, words_for(self.inputs)), np.dtype(WORD))}

    def check(self, arrays: Arrays) -> None:
        """Check numbers, and the tails of words."""
        super().check(arrays)
        if "words" in arrays:
            check_tail("words", arrays["words"], self.inputs)

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the product."""
        return self._product(step, x.array, step.constant(arrays["words"], "packed W"))[0]

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example."""
        count = self.outputs * self.inputs
        return (0, count) if self.spec.kind == "codes" else (count, 0)


def code_product(step: Step, grad: Array, codes: Array, first: int, accumulate: bool, out: Array) -> None:
    """Record ``out[o, j] = sum over rows of grad[:, first + o] * codes[:, j]``, or that it is added to `out`."""
    if grad.dtype == np.float32:
        real = step.empty("scratch", codes.shape, np.float32)
        more = step.empty("scratch", out.shape, np.float32)
        step.run(_float_product, grad, codes, first, accumulate, real, more, out)
    else:
        step.run("codes_grad_weight", grad, codes, first, accumulate, out)


def _float_product(
    grad: np.ndarray,
    codes: np.ndarray,
    first: int,
    accumulate: bool,
    real: np.ndarray,
    more: np.ndarray,
    out: np.ndarray,
) -> None:
    """The same in float32, by NumPy's BLAS."""
    real[...] = codes
    _matmul(grad[:, first : first + len(out)].T, real, more)
    np.add(out, more, out=out) if accumulate else np.copyto(out, more)


@register
class Linear(FullyConnected):
    """A real-weighted classifier on packed ±1 inputs, without bias and starting at zero.

    Parameters
    ----------
    outputs : int

    Notes
    -----
    The head of arXiv 2308.15308 and 2401.09916, whose rows CWR* consolidates. ``Y = X W^T`` in float32. Under an
    integer policy the weights are quantized for both products, as wide as the gradient between the layers.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.Linear(1)], bl.nn.Spec.bits((3,)), precision="low-memory")
    >>> model["head1"].weight[...] = [[1.0, 2.0, 4.0]]
    >>> model.apply(bl.Bits(bl.pack([[1, 1, -1]]), 3)).round(3)
    array([[-1.]], dtype=float32)
    """

    kind = "head"

    def infer(self, spec: Spec) -> Spec:
        """Return real values of shape ``(outputs,)``."""
        if spec.kind != "bits" or len(spec.shape) != 1:
            raise ValueError(f"a linear head must get rows of bits, got {spec}")
        return Spec.real((self.outputs,))

    def build(self, seed: int) -> None:
        """Begin at zero, float32 under every policy."""
        self.weight = np.zeros((self.outputs, self.inputs), dtype=np.float32)

    def _forward(self, step: Step, x: Array, weight: Array) -> tuple[Value, Gradient]:
        bits = self.precision.gradient_bits
        if bits is None:
            operand = Gradient(step, weight, None)
        else:
            operand = quantized(step, weight, bits, "the weights")
        # The bits are packed along the axis that is summed over, so the product is that of the weights with their
        # transpose: (outputs, inputs) times (inputs, batch).
        turned = step.empty("scratch", (self.inputs, words_for(step.batch)), WORD)
        sums = step.empty("Y", (self.outputs, step.batch), sums_type(operand.dtype))
        y = step.empty("Y", (step.batch, self.outputs), np.float32)
        step.run("transpose_bits", x, self.inputs, turned)
        step.run("grad_input", operand.values, turned, step.batch, sums)
        step.run("scaled_transpose", sums, operand.scale, y)
        return Value(step, self.output, y), operand

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the scores."""
        y, weight = self._forward(step, x.array, step.constant(self.weight, "W"))
        return y, (x.array, weight)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the full dW, and dX."""
        (x, weight), stream = cache, 2 * self.index
        operand = weight_operand(grad, self.precision, stream)
        sums = step.empty("dW", self.weight.shape, sums_type(operand.dtype))
        step.run("grad_weight", operand.values, x, self.inputs, 0, False, sums)
        scale = None if operand.is_real else operand.scale
        # The update changes the weights, so the gradient of the input comes first.
        result = self._input_gradient(step, input_operand(grad, self.precision, stream), weight) if wanted else None
        step.gradient("weight", ParameterGradient(sums, scale, fan_in=self.inputs))
        return result

    def _input_gradient(self, step: Step, grad: Gradient, weight: Gradient) -> Gradient:
        shape = (step.batch, self.inputs)
        if grad.is_real:
            dx = step.empty("dX", shape, np.float32)
            step.run(_matmul, grad.values, weight.values, dx)
            return Gradient(step, dx, None)
        sums, scale = step.empty("dX sums", shape, np.int64), step.empty("scales", grad.scale.shape, np.float64)
        step.run("integer_product", grad.values, weight.values, sums)
        step.run("multiply_scales", grad.scale, weight.scale, scale)
        return requantized(step, sums, scale, self.precision.code_bits)

    def inference(self) -> Arrays:
        """Return the weights."""
        return {"weight": self.weight.copy()}

    def inference_types(self) -> Types:
        """Return the type of the weights."""
        return {"weight": ((self.outputs, self.inputs), np.dtype(np.float32))}

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the scores."""
        return self._forward(step, x.array, step.constant(arrays["weight"], "W"))[0]

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example."""
        return 0, self.outputs * self.inputs


def _matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found before it can change anything
        np.matmul(a, b, out=out)
