"""What the layers with binary weights share: the gradient of the weights in a policy's form, and its memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import words_for
from bitlearn.errors import NonFiniteError
from bitlearn.nn.layer import Variable, bytes_of
from bitlearn.nn.products import sum_type
from bitlearn.ops.packing import pack
from bitlearn.ops.quantize import Quantized
from bitlearn.precision import Precision
from bitlearn.quantizers import BinaryGradient, Gradient, latent_mask

#: What one input code is worth: codes of -128 to 127 stand for real numbers in [-1, 1).
CODE_SCALE = 2.0**-7


def _passing(weight: np.ndarray) -> np.ndarray:
    """Return the straight-through mask of latent weights; those that are NaN or infinite are beyond it, and raise."""
    passes = latent_mask(weight)
    if not (passes.all() or np.isfinite(weight[~passes]).all()):
        raise NonFiniteError("the latent weights")
    return passes


def _full(values: np.ndarray, scale: float, weight: np.ndarray) -> np.ndarray:
    """Return a full weight gradient: sums times a scale, float32, masked by the straight-through estimator."""
    return track("dW", np.asarray(values * scale, dtype=np.float32) * _passing(weight))


def _scale(grad: Gradient) -> float:
    return float(grad.scale) if isinstance(grad, Quantized) else 1.0


def binary_weight_gradient(
    product: Callable[..., np.ndarray], grad: Gradient, weight: np.ndarray, precision: Precision
) -> np.ndarray | BinaryGradient:
    """Return the gradient of latent weights: full, or its signs alone.

    ``product(**options)`` runs `grad_weight` or `conv2d_grad_weight` on the integers (or floats) of `grad`.
    """
    if precision.sign_weight_gradient:
        words = track("dW", product(output="sign", mask=pack(_passing(weight))))
        return BinaryGradient(words, weight.shape[-1], weight[0].size)
    return _full(product(), _scale(grad), weight)


def input_weight_gradient(
    products: np.ndarray, grad: Gradient, weight: np.ndarray, precision: Precision
) -> np.ndarray | BinaryGradient:
    """Return a first layer's weight gradient from its products with the input codes."""
    products = products.reshape(weight.shape)
    if precision.sign_weight_gradient:
        words = track("dW", pack((products >= 0) & _passing(weight)))
        return BinaryGradient(words, weight.shape[-1], weight[0].size)
    return _full(products, _scale(grad) * CODE_SCALE, weight)


def weight_variables(weight: np.ndarray, precision: Precision, packed: bool = True) -> list[Variable]:
    """Return the memory of latent weights, their packed signs and their gradient."""
    bits = 8 * words_for(weight.shape[-1]) * (weight.size // max(weight.shape[-1], 1))
    gradient = ("bool", bits) if precision.sign_weight_gradient else ("float32", 4 * weight.size)
    found = [
        Variable("W", "persistent", precision.latent.name, weight.nbytes),
        Variable("dW", "step", gradient[0], gradient[1]),
    ]
    if packed:
        found.append(Variable("packed W", "forward to backward", "bool", bits))
    return found


def sum_variables(precision: Precision, inputs: int, outputs: int, n: int) -> list[Variable]:
    """Return the transient memory of a layer's sums and of its input gradient, counted in values."""
    kind = np.dtype(sum_type(n))
    found = [Variable("Y", "transient", kind.name, outputs * kind.itemsize)]
    if precision.gradient_bits is None:
        return [*found, Variable("dX sums", "transient", "float32", 4 * inputs)]
    wide, narrow = (64, 16) if precision.gradient_bits > 8 else (32, 8)
    return [
        *found,
        Variable("dX sums", "transient", f"int{wide}", bytes_of(inputs, wide)),
        Variable("dX", "transient", f"int{narrow}", bytes_of(inputs, narrow)),
    ]
