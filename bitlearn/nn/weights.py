"""What the layers with binary weights share: the gradient of the weights in a policy's form, and its memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import WORD, words_for
from bitlearn.errors import NonFiniteError
from bitlearn.nn.layer import Variable, bytes_of
from bitlearn.nn.products import BLOCK_VALUES, sum_type
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
    return np.asarray(values * scale, dtype=np.float32) * _passing(weight)


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
    return track("dW", _full(product(), _scale(grad), weight))


def input_weight_gradient(
    product: Callable[[slice], np.ndarray], grad: Gradient, weight: np.ndarray, precision: Precision
) -> np.ndarray | BinaryGradient:
    """Return a first layer's weight gradient, a few outputs at a time, so that its wide products are never whole.

    ``product(rows)`` multiplies the gradient of some outputs with the input codes.
    """
    fan_in = weight[0].size
    step = max(1, BLOCK_VALUES // max(fan_in, 1))
    blocks = [slice(start, start + step) for start in range(0, len(weight), step)]
    if precision.sign_weight_gradient:
        words = track("dW", np.empty((*weight.shape[:-1], words_for(weight.shape[-1])), dtype=WORD))
        for rows in blocks:
            pack((product(rows).reshape(weight[rows].shape) >= 0) & _passing(weight[rows]), out=words[rows])
        return BinaryGradient(words, weight.shape[-1], fan_in)
    full = track("dW", np.empty(weight.shape, dtype=np.float32))
    for rows in blocks:
        full[rows] = _full(product(rows).reshape(weight[rows].shape), _scale(grad) * CODE_SCALE, weight[rows])
    return full


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
