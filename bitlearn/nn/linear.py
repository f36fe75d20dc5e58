"""Fully connected layers: packed bits or first-layer codes times binary weights, and the real-weighted head."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import Bits, words_for
from bitlearn.errors import NonFiniteError
from bitlearn.nn.layer import Gradients, Layer, Value, Variable, uniform_weights
from bitlearn.nn.products import integer_sums, sum_type
from bitlearn.nn.weights import binary_weight_gradient, input_weight_gradient, sum_variables, weight_variables
from bitlearn.ops.codes import code_products
from bitlearn.ops.gradients import grad_input, grad_weight
from bitlearn.ops.matmul import xnor_matmul
from bitlearn.ops.packing import pack, transpose_bits
from bitlearn.ops.quantize import Quantized, quantize
from bitlearn.precision import Precision, policy
from bitlearn.quantizers import (
    Gradient,
    input_gradient_of,
    input_operand,
    integers,
    scaled,
    sums_gradient,
    sums_like,
    weight_operand,
    width,
)
from bitlearn.rng import Key
from bitlearn.workspace import empty


class FullyConnected(Layer):
    """What the fully connected layers share: a matrix of weights (outputs, inputs) and its shape."""

    def __init__(self, inputs: int, outputs: int, *, precision: str | Precision = "standard", key: Key | None = None):
        self.inputs, self.outputs = inputs, outputs
        self.precision = policy(precision)
        self.weight = track("W", self.initial_weight(key or Key(0)))

    def initial_weight(self, key: Key) -> np.ndarray:
        """Return the latent weights to start from."""
        return uniform_weights((self.outputs, self.inputs), self.precision.latent, key)

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the weights, shape (outputs, inputs)."""
        return {"weight": self.weight}

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"inputs": self.inputs, "outputs": self.outputs, "precision": self.precision.setting()}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(outputs,)``."""
        if shape != (self.inputs,):
            raise ValueError(f"a linear layer must get examples of shape ({self.inputs},), got {shape}")
        return (self.outputs,)


class BinaryLinear(FullyConnected):
    """Packed ±1 inputs times the signs of latent weights.

    Parameters
    ----------
    inputs, outputs : int
    precision : str or Precision
        The policy; it names the type of the latent weights and the form of their gradient.
    key : Key
        The stream of random bits from which the weights are drawn.

    Notes
    -----
    Forward ``Y = X sgn(W)^T``, exact integers. Backward ``dX = dY sgn(W)`` and ``dW = dY^T X``, masked where
    ``|W| > 1`` (straight-through estimator). The latent weights are never clipped.

    Examples
    --------
    >>> import bitlearn as bl
    >>> layer = bl.nn.BinaryLinear(3, 2)
    >>> layer.weight[...] = [[0.5, -0.5, 0.1], [-1.0, 1.0, 1.0]]
    >>> y, _ = layer.forward(bl.Bits(bl.pack([[1, 1, -1]]), 3), training=False)
    >>> y
    array([[-1, -1]], dtype=int16)
    """

    kind = "linear"
    binary = ("weight",)

    def forward(self, x: Value, *, training: bool) -> tuple[Value, Any]:
        """Return integer sums, shape (batch, outputs)."""
        assert isinstance(x, Bits)
        words = track("packed W", pack(self.weight))
        y = track("Y", xnor_matmul(x.words, words, x.n, dtype=sum_type(self.inputs)))
        return y, (x, words) if training else None

    def backward(
        self, cache: Any, grad: Gradient, *, input_gradient: bool = True, key: Key | None = None
    ) -> tuple[Gradient | None, Gradients]:
        """Return dX and dW."""
        x, words = cache

        def product(operand: Gradient, **options: Any) -> np.ndarray:
            values = integers(operand)
            if options.get("output") != "sign":
                options["out"] = empty(self.weight.shape, sums_like(values))
            return grad_weight(values, x.words, x.n, bits=width(operand), **options)

        grads: Gradients = {"weight": binary_weight_gradient(product, grad, self.weight, self.precision, key)}
        if not input_gradient:
            return None, grads
        operand = input_operand(grad, self.precision, key)

        def input_product(rows: slice, out: np.ndarray) -> None:
            grad_input(integers(operand)[rows], words, x.n, bits=width(operand), out=out)

        return input_gradient_of(input_product, (len(x), x.n), operand, self.precision), grads

    def variables(self, shape: tuple[int, ...], batch: int) -> list[Variable]:
        """Return what a training step keeps: see `Layer.variables`."""
        return weight_variables(self.weight, self.precision) + [
            Variable("X", "forward to backward", "bool", 8 * batch * words_for(self.inputs)),
            *sum_variables(self.precision, batch, self.inputs, self.outputs, self.inputs),
        ]


class InputLinear(FullyConnected):
    """The first layer: int8 input codes times the signs of latent weights.

    Parameters
    ----------
    inputs, outputs : int
    precision : str or Precision
    key : Key

    Notes
    -----
    A code ``c`` stands for ``c / 128``. The result is in units of 1/128, exact integers; the batch norm that follows is
    told so by its ``input_scale``. No gradient of the input exists.

    Examples
    --------
    >>> import bitlearn as bl
    >>> layer = bl.nn.InputLinear(3, 2)
    >>> layer.weight[...] = [[0.5, -0.5, 0.1], [-1.0, 1.0, 1.0]]
    >>> layer.forward(np.array([[100, -100, 1]], dtype=np.int8), training=False)[0]
    array([[ 201, -199]], dtype=int32)
    """

    kind = "linear"
    binary = ("weight",)

    def forward(self, x: Value, *, training: bool) -> tuple[Value, Any]:
        """Return int32 sums in units of 1/128, shape (batch, outputs)."""
        assert isinstance(x, np.ndarray)
        y = track("Y", integer_sums(x, pack(self.weight)))
        return y, x if training else None

    def backward(
        self, cache: Any, grad: Gradient, *, input_gradient: bool = True, key: Key | None = None
    ) -> tuple[Gradient | None, Gradients]:
        """Return None and dW."""

        def product(operand: Gradient, first: int, total: np.ndarray) -> None:
            code_products(integers(operand), cache, first, total)

        return None, {"weight": input_weight_gradient(product, grad, self.weight, self.precision, key)}

    def variables(self, shape: tuple[int, ...], batch: int) -> list[Variable]:
        """Return what a training step keeps: see `Layer.variables`."""
        return weight_variables(self.weight, self.precision, packed=False) + [
            Variable("X", "forward to backward", "int8", batch * self.inputs),
            Variable("Y", "transient", "int32", 4 * batch * self.outputs),
        ]


class Linear(FullyConnected):
    """A real-weighted classifier on packed ±1 inputs, without bias and starting at zero.

    Parameters
    ----------
    inputs, outputs : int
    precision : str or Precision
        Under an integer policy the weights are quantized for both products, as wide as the gradient between the layers.
    key : Key
        Without use: the weights start at zero.

    Notes
    -----
    The head of arXiv 2308.15308 and 2401.09916, whose rows CWR* consolidates. ``Y = X W^T`` in float32.

    Examples
    --------
    >>> import bitlearn as bl
    >>> layer = bl.nn.Linear(3, 1, precision="low-memory")
    >>> layer.weight[...] = [[1.0, 2.0, 4.0]]
    >>> layer.forward(bl.Bits(bl.pack([[1, 1, -1]]), 3), training=False)[0].round(3)
    array([[-1.]], dtype=float32)
    """

    kind = "head"

    def initial_weight(self, key: Key) -> np.ndarray:
        """Return zeros, float32 under every policy."""
        return np.zeros((self.outputs, self.inputs), dtype=np.float32)

    def forward(self, x: Value, *, training: bool) -> tuple[Value, Any]:
        """Return float32 scores, shape (batch, outputs)."""
        assert isinstance(x, Bits)
        weight: np.ndarray | Quantized = self.weight
        if self.precision.gradient_bits is not None:
            if not np.isfinite(self.weight).all():
                raise NonFiniteError("the weights")
            weight = quantize(self.weight, self.precision.gradient_bits)
        # The bits are packed along the axis that is summed over, so the product is that of the weights with their
        # transpose: (outputs, inputs) times (inputs, batch).
        y = grad_input(weight, transpose_bits(x.words, x.n), len(x)).T
        return track("Y", np.ascontiguousarray(y)), (x, weight) if training else None

    def backward(
        self, cache: Any, grad: Gradient, *, input_gradient: bool = True, key: Key | None = None
    ) -> tuple[Gradient | None, Gradients]:
        """Return dX and the full dW."""
        x, weight = cache
        grads: Gradients = {"weight": track("dW", grad_weight(weight_operand(grad, self.precision, key), x.words, x.n))}
        if not input_gradient:
            return None, grads
        operand = input_operand(grad, self.precision, key)
        if not isinstance(operand, Quantized):
            return operand @ weight, grads
        # Both factors are integers below 2**15: float64 sums of them are exact, in any order.
        sums = operand.values.astype(np.float64) @ weight.values.astype(np.float64)
        operand = scaled(operand, weight.scale)
        return sums_gradient(sums.astype(np.int64), operand, self.precision.gradient_bits), grads

    def variables(self, shape: tuple[int, ...], batch: int) -> list[Variable]:
        """Return what a training step keeps: see `Layer.variables`."""
        size = self.weight.nbytes
        return [
            Variable("W", "persistent", "float32", size),
            Variable("dW", "step", "float32", size),
            Variable("X", "forward to backward", "bool", 8 * batch * words_for(self.inputs)),
            *sum_variables(self.precision, batch, self.inputs, self.outputs, self.inputs, blocks=False),
        ]
