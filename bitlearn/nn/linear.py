"""Fully connected layers: what they share, and packed bits or input codes times binary weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn import latents, magnitude, reals
from bitlearn.nn.gradients import input_gradient, input_operand, weight_operand
from bitlearn.nn.gram import gram_of_bits, gram_of_values
from bitlearn.nn.layer import Arrays, Layer, Narrowed, check_tail, chosen, register, uniform_weights, whole
from bitlearn.nn.products import Operand, kept_words, packed
from bitlearn.nn.spec import Spec, sum_type
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Product, Value, Write
from bitlearn.nn.weights import binary_weight_gradient, code_weight_gradient
from bitlearn.ops.packing import pack
from bitlearn.program import Array, counted
from bitlearn.rng import Key
from bitlearn.safetensors import Types


class FullyConnected(Layer):
    """What the fully connected layers share: a matrix of weights (outputs, inputs)."""

    weight: np.ndarray
    mixes = True

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

    def narrowed(self, inputs: np.ndarray | None, outputs: np.ndarray | None) -> Narrowed:
        """Return a layer of some rows and columns of the weights."""
        rows, columns = chosen(outputs, self.outputs), chosen(inputs, self.inputs)
        layer = type(self)(**self.settings() | {"outputs": len(rows)})
        return Narrowed(layer, {"weight": np.ix_(rows, columns)}, outputs)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"outputs": self.outputs}

    def gram(self, x: np.ndarray) -> np.ndarray:
        """Return the sums of products of the inputs, shape (inputs, inputs)."""
        return gram_of_bits(x, self.inputs) if self.spec.kind == "bits" else gram_of_values(x)


@register
class BinaryLinear(FullyConnected):
    """Packed ±1 inputs, or a network's int8 input codes, times the signs of latent weights.

    Parameters
    ----------
    outputs : int
    scaled : bool
        Multiply each output by the mean magnitude of its latent weights (arXiv 1603.05279), which gives real values
        instead of sums. The gradient treats the scale as a constant (arXiv 1808.00278).

    Notes
    -----
    Forward ``Y = X sgn(W)^T``, exact integers. Backward ``dX = dY sgn(W)`` and ``dW = dY^T X``, masked where ``|W| >
    1`` (straight-through estimator). The latent weights are never clipped. A code ``c`` stands for ``c / 128``: the
    result is then in units of 1/128, and the input has no gradient.

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

    def __init__(self, outputs: int, *, scaled: bool = False):
        super().__init__(outputs)
        self.scaled = bool(scaled)
        self.of_signs = () if scaled else ("weight",)  # type: ignore[misc]

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().settings() | ({"scaled": True} if self.scaled else {})

    def infer(self, spec: Spec) -> Spec:
        """Return sums of shape ``(outputs,)``, or real values if they are scaled."""
        if spec.kind not in ("bits", "codes") or len(spec.shape) != 1:
            raise ValueError(f"a binary linear layer must get rows of bits or codes, got {spec}")
        latents.check_scaled(self.scaled, self.precision)
        kind = np.dtype(np.int32) if spec.kind == "codes" else sum_type(spec.shape[0])
        self.sums = Spec((self.outputs,), "sums", kind, spec.unit)
        return Spec.real(self.sums.shape) if self.scaled else self.sums

    def build(self, seed: int) -> None:
        """Draw the latent weights."""
        self.weight = uniform_weights(self.weight_shape, self.precision.latent, Key(seed, stream=self.index))

    def _product(self, step: Step, x: Array, words: Array) -> Value:
        n, codes = self.inputs, self.spec.kind == "codes"

        def prepared() -> Write:
            """Prepare the weights, and return what records the sums of some examples."""
            if codes:
                turned = step.prepared("transpose_bits", "packed W", (n, words_for(self.outputs)), WORD, words, n)
                return lambda some, out: step.run("grad_input", x[some], turned, self.outputs, out)
            operand = Operand(step, words)
            return lambda some, out: operand.matmul(x[some], n, (), out)

        def write_signs(thresholds: Array, out: Array) -> None:
            Operand(step, words).matmul(x, n, (thresholds,), out)

        return Product(step, self.sums, prepared(), None if codes else write_signs, recompute=prepared)

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the product with the signs of the weights."""
        words = packed(step, self.weight, self.outputs)
        inputs = x.array
        y = self._product(step, inputs, words)
        kept = kept_words(step, words)
        if not self.scaled:
            return y, (inputs, kept, None)
        factors = magnitude.scale_factors(step, self.weight)
        return magnitude.scaled(step, y, self.output, factors), (inputs, kept, factors)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record dW, and dX of bits."""
        (x, words, factors), shape, stream, grad = cache, self.weight.shape, 2 * self.index, grad.kept()
        if factors is not None:
            grad = magnitude.gradient_of_sums(step, grad, factors, self.precision)
        operand = weight_operand(grad, self.precision, stream)
        if self.spec.kind == "codes":

            def of_codes(first: int, out: Array) -> None:
                code_product(step, operand.values, x, first, False, out)

            step.gradient(
                "weight", code_weight_gradient(step, operand, shape, self.precision, self.spec.unit, of_codes)
            )
            return None

        if wanted and words is None:  # before the update
            words = packed(step, self.weight, self.outputs)

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
        """Return the packed signs of the weights, and their scales if there are any."""
        return {"words": pack(self.weight)} | (magnitude.scales(self.weight) if self.scaled else {})

    def inference_types(self) -> Types:
        """Return the type of the words, and of the scales."""
        words = {"words": ((self.outputs, words_for(self.inputs)), np.dtype(WORD))}
        return words | (magnitude.scale_types(self.outputs) if self.scaled else {})

    def check(self, arrays: Arrays) -> None:
        """Check numbers, and the tails of words."""
        super().check(arrays)
        if "words" in arrays:
            check_tail("words", arrays["words"], self.inputs)

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the product."""
        y = self._product(step, x.array, step.constant(arrays["words"], "packed W"))
        return magnitude.predicted(step, y, self.output, arrays) if self.scaled else y

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


@counted(lambda grad, codes, first, accumulate, real, more, out: reals.float_operations(grad.shape[0] * out.size))
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
    reals.matmul(grad[:, first : first + len(out)].T, real, more)
    np.add(out, more, out=out) if accumulate else np.copyto(out, more)
